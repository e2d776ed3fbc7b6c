"""One module per command of `python -m spec`: what it takes, and what it calls. Nothing is computed here."""

from . import check

COMMANDS = (check,)
