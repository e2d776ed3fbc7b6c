"""A stream that calls itself a terminal, so that bars and spinners are drawn on it."""

import io


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
