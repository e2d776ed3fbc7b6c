"""The exception for mistakes that the user can correct."""


class SpecError(Exception):
    """A command, golden/ or a runner's command line is wrong; the message says how to correct it."""
