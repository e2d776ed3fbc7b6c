"""Text for display: characters that are invisible, or that change the direction of a line, are shown as signs."""

import unicodedata

from rich.cells import cell_len, set_cell_size

SPACE = "␣"
SIGNS = {"\n": "⏎", "\r": "␍", "\t": "⇥"}
INKLESS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
)  # letters, marks and symbols that are blank


def legible(text: str, space: str = SPACE) -> str:
    """A token; every space is `space`, line ends and tabs have signs, other invisible characters their code point.

    A combining mark at the beginning is shown on a dotted circle. U+FFFD (bytes that are no UTF-8) is unchanged.
    """
    shown = "".join(space if c == " " else sign(c) for c in text)
    return "◌" + shown if shown and unicodedata.category(shown[0])[0] == "M" else shown or "⟨empty⟩"


def sign(c: str) -> str:
    """One character as it can be seen: the categories C (control, format, unassigned …) and Z (separators) cannot."""
    selector = "\ufe00" <= c <= "\ufe0f" or "\U000e0100" <= c <= "\U000e01ef"
    unseen = unicodedata.category(c)[0] in "CZ" or c in INKLESS or selector
    return SIGNS.get(c) or (f"⟨U+{ord(c):04X}⟩" if unseen else c)


def plain(text: object) -> str:
    """Running text: as `legible`, with spaces as they are."""
    return legible(str(text), " ") if str(text) else ""


def short(text: str, width: int) -> str:
    """A token in at most `width` cells of a terminal, where a Chinese character takes two."""
    shown = legible(text)
    return shown if cell_len(shown) <= width else set_cell_size(shown, width - 1).rstrip() + "…"
