"""Runs to look at: in the terminal, in a notebook, and as a page."""
