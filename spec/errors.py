"""The one exception for what a person can mend."""


class SpecError(Exception):
    """A command, golden/ or a runner's command line is wrong; the text says what was received and how to mend it."""
