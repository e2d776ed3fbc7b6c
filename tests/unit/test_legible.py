"""Tokens for people: nothing stays invisible, nothing turns a line around, and what is visible stays."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenses_min.report.escape import legible, plain, short


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Berlin", "␣Berlin"),
        ("\n\r\t", "⏎␍⇥"),
        ("", "⟨empty⟩"),
        ("\x1b[31m", "⟨U+001B⟩[31m"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u200b\u00a0\u00ad\ufeff", "⟨U+200B⟩⟨U+00A0⟩⟨U+00AD⟩⟨U+FEFF⟩"),
        ("\u3164\ufe0f\U000e0100\u2028", "⟨U+3164⟩⟨U+FE0F⟩⟨U+E0100⟩⟨U+2028⟩"),
        ("a\ufe00\U000e01ef", "a⟨U+FE00⟩⟨U+E01EF⟩"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("\ufffd", "\ufffd"),
        ("شيء 北京 <b>", "شيء␣北京␣<b>"),
        ("|'\\", "|'\\"),
    ],
)
def test_a_token_is_shown(text: str, shown: str) -> None:
    assert legible(text) == shown


@given(st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    shown = legible(text)
    assert shown
    assert not {unicodedata.category(c)[0] for c in shown} & {"C", "Z"}
    assert legible(shown) == shown
    assert plain(text).replace(" ", "␣") == (shown if text else "")


def test_a_short_token_keeps_to_its_cells() -> None:
    assert short(" Berlin", 7) == "␣Berlin"
    assert short(" Berlins", 7) == "␣Berli…"
    assert short("北京北京", 5) == "北京…"
    assert short("北京北京", 4) == "北…"
