"""Fitting lenses to a model: `lenses-min fit tuned`."""
