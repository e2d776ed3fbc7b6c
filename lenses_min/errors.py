"""The one error a person sees: what was received, which rule it breaks, and how to mend it."""


class LensError(Exception):
    """Bad input or an environment that cannot serve it; its text is printed as it stands."""
