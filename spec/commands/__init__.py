"""A module per command of `python -m spec`: its arguments and what it calls. Nothing is computed here."""

from . import (
    accept,
    audit,
    bisect,
    capture,
    check,
    conform,
    diff,
    forensics,
    history,
    new_case,
    promote,
    validate,
)

COMMANDS = (
    *(check, diff, validate, forensics, audit, conform),
    *(history, bisect, accept),
    *(capture, new_case, promote),
)
