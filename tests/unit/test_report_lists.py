"""The heatmap of a report, the tokens in its lists, its sections and further tables, of rows written by hand."""

from collections.abc import Sequence
from math import nan
from typing import Any

import pytest
from stub_passes import row

from lenses_min.core.rows import AgreementRow, PureRow, RecordRow
from lenses_min.output.run import Run
from lenses_min.report.columns import counted, packed
from lenses_min.report.curves import ALL
from lenses_min.report.heatmap import MONO, entropies, heatmap, layout
from lenses_min.report.listed import Listed, lists_of, peaks
from lenses_min.report.sections import gaps, quoted, sections
from lenses_min.report.tables import further_tables

Top = tuple[tuple[str, float], ...]
WIDE = "w" * 90


def record(prompt_id: str, layer: int, pos: int, token: str, top: Top, entropy: float) -> RecordRow:
    return RecordRow(prompt_id, "orig", layer, pos, token, entropy, top, 0.25)


def pure_of(*tops: Top) -> list[PureRow]:
    """A pass with a row a layer."""
    return [row(layer, top=top) for layer, top in enumerate(tops)]


def two_lenses() -> Run:
    """Three layers and two positions; the raw lens has records of a pass that the norm lens lacks."""
    records = [
        record("a", 0, 0, "x", ((" y", 0.5), (WIDE, 0.25)), 1.0),
        record("a", 1, 0, "x", (), nan),
        record("a", 0, 1, "z", ((" y", 0.75),), 0.5),
        record("a", 1, 1, "z", (("x", 0.5),), 0.5),
    ]
    pure = pure_of((), (), ())
    tables: dict[tuple[str, str], Sequence[Any]] = {
        ("records", "norm"): records,
        ("pure", "norm"): pure,
        ("records", "raw"): [record("b", 2, 0, "q", (), 2.0)],
        ("pure", "raw"): pure,
    }
    return Run("m", tables, {})


def test_a_heatmap_has_the_columns_of_each_pass_and_names_what_is_missing() -> None:
    both = ["norm", ALL]
    assert heatmap(two_lenses(), ["norm", "raw", "tuned"], ["a/orig", "c/orig"]) == {
        "layout": layout(2, 2, 540.0, 2.0),
        "layers": 3,
        "positions": 2,
        "colours": ["entropy, bits", "p(top-1)"],
        "tokens": ["x", "z", "␣y", WIDE, "q"],
        "brief": {3: "w" * 83 + "…"},
        "parts": [
            {
                "layer": counted([0, 1, 0, 1]),
                "pos": counted([0, 0, 1, 1]),
                "token": counted([0, 0, 1, 1]),
                "entropy": packed([1.0, nan, 0.5, 0.5]),
                "rest": packed([0.25] * 4),
                "count": counted([2, 0, 1, 1]),
                "top": counted([2, 3, 2, 0]),
                "p": packed([0.5, 0.25, 0.75, 0.5]),
                "input": {"pos": counted([0, 1]), "token": counted([0, 1])},
                "show": {"lens": both, "prompt": ["a/orig"]},
            },
            {
                "layer": counted([2]),
                "pos": counted([0]),
                "token": counted([4]),
                "entropy": packed([2.0]),
                "rest": packed([0.25]),
                "count": counted([0]),
                "top": counted([]),
                "p": packed([]),
                "input": {"pos": counted([]), "token": counted([])},
                "show": {"lens": ["raw"], "prompt": ["b/orig"]},
            },
        ],
        "notes": [
            {"text": "no records of c/orig", "show": {"lens": both, "prompt": ["c/orig"]}},
            {"text": "no records of a/orig", "show": {"lens": ["raw"], "prompt": ["a/orig"]}},
            {"text": "no records of c/orig", "show": {"lens": ["raw"], "prompt": ["c/orig"]}},
            {"text": "no records under the tuned lens", "show": {"lens": ["tuned"]}},
        ],
    }


def test_a_heatmap_without_records_has_one_position() -> None:
    made = heatmap(Run("m", {("pure", "norm"): pure_of(())}, {}), ["norm"])
    assert (made["layers"], made["positions"], made["parts"]) == (1, 1, [])
    assert made["layout"] == layout(0, 1, 1080.0, 1.0)
    assert [note["text"] for note in made["notes"]] == ["no records under the norm lens"]


def test_the_scale_of_colours_ends_at_the_largest_finite_entropy() -> None:
    pure = pure_of(())
    for values, most in (([0.25, nan], 0.25), ([nan], 0.0), ([], 1.0)):
        records = [record("a", 0, pos, "x", (), entropy) for pos, entropy in enumerate(values)]
        run = Run("m", {("records", "norm"): records, ("pure", "norm"): pure}, {})
        assert entropies(run) == most


def test_the_layout_of_a_heatmap() -> None:
    bar = {"thickness": 10, "len": 1, "outlinewidth": 0}
    still = {"showgrid": False, "zeroline": False}

    def scale(top: float, title: str) -> dict[str, Any]:
        of_bar = {**bar, "title": {"text": title, "side": "right"}}
        return {"cmin": 0, "cmax": top, "colorbar": of_bar}

    made = layout(20, 3, 100.0, 1.5)
    labels = made["yaxis"].pop("ticktext")
    assert labels == ["input  ", "0  ", "1  ", *(f"{layer}  " for layer in range(2, 21))]
    assert made == {
        "coloraxis": scale(1.5, "entropy, bits"),
        "coloraxis2": scale(1, "p(top-1)"),
        "showlegend": False,
        "width": 450.0,
        "height": 500,
        "margin": {"l": 60, "r": 90, "t": 40, "b": 20},
        "hoverlabel": {"align": "left", "font": {"family": MONO}},
        "xaxis": {
            **still,
            "side": "top",
            "title": {"text": "position"},
            "range": [-0.5, 2.5],
            "dtick": 1,
        },
        "yaxis": {
            **still,
            "title": {"text": "layer"},
            "range": [-1.5, 20.5],
            "tickvals": list(range(-1, 21)),
        },
    }
    assert layout(2, 3, 100.0, 1.5)["height"] == 460


def test_of_equally_likely_layers_the_first_is_the_best() -> None:
    one = Listed(0, "norm", "a", "t", {1: 0.5, 2: 0.75, 3: 0.75}, range(5))
    assert (one.best, one.peak, one.last) == (2, 0.75, None)


def test_the_longer_list_of_a_layer_is_taken() -> None:
    """Of the records at the last position of a pass, here of one layer, and of the layers that the pass has."""
    pure = [row(0, top=(("x", 0.5), ("y", 0.25), ("odd", nan)))]
    longer = tuple((token, 0.125) for token in "xyzw")
    for of_record, expected in (
        ((("z", 0.5),), {"x": 0.5, "y": 0.25}),
        (longer, dict(longer)),
    ):
        records = [
            record("a", 0, 1, "t", of_record, 1.0),
            record("a", 0, 0, "t", (*longer, ("v", 0.125)), 1.0),
            record("a", 7, 1, "t", longer, 1.0),
        ]
        run = Run("m", {("records", "norm"): records, ("pure", "norm"): pure}, {})
        assert lists_of(run, "norm") == {"a/orig": {0: expected}}


@pytest.mark.parametrize(("names", "few"), [("m", "abcde"), ("mn", "abc")])
def test_of_one_run_five_tokens_of_a_pass_are_drawn_and_of_several_three_of_each(
    names: str, few: str
) -> None:
    middle = tuple((token, 0.5 - i / 16) for i, token in enumerate("abcdef"))
    pure = pure_of((("x", 0.5),), middle, (("z", 0.75),))
    listed = peaks([Run(name, {("pure", "norm"): pure}, {}) for name in names])
    expected = [(number, token) for number in range(len(names)) for token in few]
    assert [(one.run, one.token) for one in listed] == expected


def test_tokens_are_quoted_legibly() -> None:
    assert quoted([" a", "b"]) == "“␣a”, “b”"


def test_the_sections_of_a_page() -> None:
    agreement = [AgreementRow("a", "orig", 1, 1, "norm", "final", 0.75, 0.5, 0.25, True)]
    run = Run("m", {("pure", "norm"): pure_of(()), ("agreement", "norm"): agreement}, {})
    listed = {
        "peaks": [Listed(0, "raw", "a/orig", " x", {1: 0.5, 2: 0.25}, (0, 1, 2))],
        "tracked": [Listed(0, "norm", "a/orig", "y", {0: 0.125}, (0, 1, 2))],
    }
    heads = ("run", "lens", "pass", "token", "largest p", "at layer", "at the last layer")

    def cells(lens: str, *more: Any) -> list[Any]:
        return ["m", lens, "a/orig", *more]

    def show(*lenses: str) -> dict[str, list[str]]:
        return {"model": ["0"], "pass": ["a/orig"], "lens": list(lenses)}

    assert sections([run], listed, ["y", "z"]) == [
        {
            "id": "peaks",
            "title": "Tokens that peak in mid-stack",
            "lead": "Tokens of the last position whose listed probability is largest at a layer between the "
            "first and the last, and that are not the last layer's first: at most 5 a pass and lens. "
            + gaps(),
            "heads": (*heads, "listed at"),
            "rows": [
                {
                    "show": show("raw"),
                    "cells": cells("raw", "␣x", "0.5", 1, "0.25", "2 of 3 layers"),
                }
            ],
        },
        {
            "id": "tracked",
            "title": "Tokens of interest",
            "lead": "Followed at the last position, with or without a space before: “y”, “z”. "
            "No list of the runs has “z”. " + gaps(),
            "heads": (*heads, "listed at"),
            "rows": [
                {
                    "show": show("norm", ALL),
                    "cells": cells("norm", "y", "0.125", 0, "not listed", "1 of 3 layers"),
                }
            ],
        },
        {
            "id": "agreement",
            "title": "Agreement between lenses",
            "lead": "How far two lenses, or a lens and the model, are apart at the last position, from the run's "
            "agreement table; pairs of the chosen lens are shown.",
            "heads": ("run", "pass", "lenses", "same top-1 at", "largest KL"),
            "rows": [
                {
                    "show": show("norm", "final", ALL),
                    "cells": ["m", "a/orig", "norm, final", "1 of 1", "0.75 bits at layer 1"],
                }
            ],
        },
    ]
    assert "at most 3 a pass" in sections([run, run], listed, [])[0]["lead"]


def test_further_tables_have_their_file_and_their_first_forty_rows() -> None:
    tables: dict[tuple[str, str], Sequence[Any]] = {
        ("pure", "norm"): pure_of(()),
        ("notes", "norm"): [{"a": 1, "b": 0.12345678}, {"a": None, "b": True}],
        ("long", "norm"): [{"a": i} for i in range(42)],
    }
    notes, long = further_tables(Run("m", tables, {}, table_format="parquet"))
    assert notes == {
        "name": "notes",
        "file": "output-m-notes.parquet",
        "columns": ["a", "b"],
        "rows": [[1, "0.123457"], ["", True]],
        "size": 2,
        "rest": 0,
    }
    assert (long["size"], long["rest"], long["rows"]) == (42, 2, [[i] for i in range(40)])
