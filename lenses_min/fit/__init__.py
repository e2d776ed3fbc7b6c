"""Fitting lenses to a model: `lenses-min fit tuned` and `lenses-min fit prism`."""
