"""The command `lenses-min`: its parser, its commands, and what each prints."""

from .command_line import main

__all__ = ["main"]
