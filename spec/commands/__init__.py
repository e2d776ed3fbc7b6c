"""One module per command of `python -m spec`: what it takes, and what it calls. Nothing is computed here."""

from . import capture, check, diff, new_case, promote, validate

COMMANDS = (check, diff, validate, capture, new_case, promote)
