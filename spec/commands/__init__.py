"""A module per command of `python -m spec`: its arguments and what it calls. Nothing is computed here."""

from . import audit, capture, check, diff, history, new_case, promote, validate

COMMANDS = (check, diff, validate, audit, capture, history, new_case, promote)
