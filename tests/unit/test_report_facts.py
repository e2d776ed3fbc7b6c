"""What a report holds besides curves: columns of numbers, warnings, boxes and selects, and facts of a run."""

import math
import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lenses_min.core.rows import RecordRow
from lenses_min.output.battery.rows import BatteryRow
from lenses_min.output.run import Run
from lenses_min.report import facts
from lenses_min.report.columns import counted, packed
from lenses_min.report.concerns import Concern, concerns
from lenses_min.report.controls import choices, models, passes
from lenses_min.report.curves import ALL, COLOURS, MEAN

INF, NAN = math.inf, math.nan
MARGINS = ("answer_rank", "p_answer", "control_margin")


def row(prompt_id: str, top: tuple[tuple[str, float], ...] = ()) -> RecordRow:
    return RecordRow(prompt_id, "orig", 0, 4, "t", 1.0, top, 0.5)


def run_of(*prompt_ids: str, name: str = "m", lenses: Sequence[str] = ("norm",)) -> Run:
    """A run with a row a pass in every table."""
    rows = [row(prompt_id) for prompt_id in prompt_ids]
    return Run(name, {(table, lens): rows for table in ("pure", "records") for lens in lenses}, {})


def test_numbers_are_in_single_precision_and_nan_where_they_are_none() -> None:
    content = struct.pack("<7f", 1.5, -0.1, *[NAN] * 5)
    values = [1.5, -0.1, None, NAN, -INF, True, "x"]
    assert packed(values) == {"dtype": "f4", "bdata": b64encode(content).decode()}


@pytest.mark.parametrize(
    ("most", "dtype", "form"),
    [
        (0, "u1", "B"),
        (2**8 - 1, "u1", "B"),
        (2**8, "u2", "H"),
        (2**16 - 1, "u2", "H"),
        (2**16, "u4", "I"),
        (2**32 - 1, "u4", "I"),
    ],
)
def test_whole_numbers_take_the_smallest_type_that_holds_them(
    most: int, dtype: str, form: str
) -> None:
    content = struct.pack(f"<2{form}", most, 0)
    assert counted([most, 0]) == {"dtype": dtype, "bdata": b64encode(content).decode()}
    assert counted([]) == {"dtype": "u1", "bdata": ""}


@pytest.mark.parametrize("number", [-1, 2**32, 10**18])
def test_whole_numbers_of_no_unsigned_type_are_floats(number: int) -> None:
    assert counted([number, 3]) == packed([number, 3])


def test_warnings_concern_the_panels_of_their_defect() -> None:
    proof = {"holds": False, "kl_bits": 0.5, "bound_bits": 1e-6}
    texts = ["R1: a", "R15: b", "something else"]
    run = Run("m", {}, {}, {"warnings": texts, "last_layer_proof": proof})
    every, margins, none, last = concerns(run)
    assert (every.text, every.defect, every.panels) == ("R1: a", "R1", "every panel")
    assert margins == Concern("R15: b", "R15", MARGINS)
    assert margins.panels == "rank of the answer; p(answer); control margin"
    assert none == Concern("something else", "", ())
    assert last == Concern(
        "the last layer is 0.5 bits from the model's own output, where rounding accounts for 1e-06 bits",
        "last layer",
        ("kl_to_final_bits", "cos_to_final"),
    )
    assert last.panels == "KL to the final output, bits; cosine to the final logits"


def test_a_distance_that_is_no_number_is_some_bits() -> None:
    (last,) = concerns(Run("m", {}, {}, {"last_layer_proof": {"holds": False}}))
    assert last.text == "the last layer is some bits from the model's own output"


def test_the_selects_of_a_page() -> None:
    """All lenses are a choice where there are several, and groups where there is a battery."""
    colours = ["entropy, bits", "p(top-1)"]
    one, two = run_of("a\nb"), run_of("c", lenses=("norm", "raw"))
    assert choices([one]) == {"lens": ["norm"], "prompt": ["a⏎b/orig"], "colour": colours}
    battery = [
        BatteryRow("norm", group, 0, "entropy", None, "median", 7, 5, 1.0, 0.5, 1.5)
        for group in ("all", "language=de", "language=en")
    ]
    two = replace(two, tables={**two.tables, ("battery", "norm"): battery})
    assert choices([one, two]) == {
        "lens": ["norm", "raw", ALL],
        "prompt": ["a⏎b/orig", "c/orig"],
        "colour": colours,
        "group": ["all", "language"],
    }


def test_a_box_a_run_is_marked_where_warnings_concern_its_curves() -> None:
    warned = [[Concern("a", "", ())], [Concern("a", "", ()), Concern("R15: b", "R15", MARGINS)]]
    boxes = models([run_of("a", name="m"), run_of("a", name="n")], warned)
    common = {"checked": True, "dash": "", "show": {}}
    assert boxes == [
        {"value": "0", "label": "m", "colour": COLOURS[0], "warned": False, **common},
        {"value": "1", "label": "n", "colour": COLOURS[1], "warned": True, **common},
    ]


def box(name: str, checked: bool, colour: str, dash: str, *lenses: str) -> dict[str, Any]:
    head = {"value": name, "label": name, "checked": checked, "colour": colour, "dash": dash}
    return {**head, "show": {"lens": list(lenses)}, "warned": False}


def test_passes_of_one_run_have_boxes_with_colours() -> None:
    a, b, c = COLOURS[:3]
    lenses = ("norm", "raw")
    assert passes([run_of("a", "b", lenses=lenses)]) == [
        box("a/orig", True, a, "", *lenses),
        box("b/orig", True, b, "", *lenses),
        box(MEAN, False, c, "", *lenses),
    ]
    assert passes([run_of("a")]) == [box("a/orig", True, a, "", "norm")], "no mean of one pass"
    assert passes([]) == []


def test_passes_of_several_runs_have_boxes_with_dashes_and_the_first_of_each_is_shown() -> None:
    solid, dot, dash = "", "2 3", "7 4"
    assert passes([run_of("a", "b"), run_of("c", "b")]) == [
        box("a/orig", True, "", solid, "norm"),
        box("b/orig", False, "", dot, "norm"),
        box("c/orig", True, "", solid, "norm"),
        box(MEAN, False, "", dash, "norm"),
    ]


@pytest.mark.parametrize(
    ("names", "checked"),
    [("abcdef", [True] * 6 + [False]), ("abcdefg", [True] + [False] * 6 + [True])],
)
def test_six_passes_are_shown_at_first_and_of_more_the_first_and_the_mean(
    names: str, checked: list[bool]
) -> None:
    assert [one["checked"] for one in passes([run_of(*names)])] == checked


def test_runs_of_one_name_are_labelled_by_where_their_folders_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the command is called."""
    monkeypatch.chdir(tmp_path)
    folders = {"runs/one/out": "m", "runs/two/out": "m", "runs/three": "n"}
    runs = [Run(name, {}, {}, folder=str(tmp_path / part)) for part, name in folders.items()]
    assert facts.labels(runs) == ["m · one/out", "m · two/out", "n"]


def test_the_heading_of_a_run() -> None:
    manifest = {"device": "cpu", "dtype": "float32"}
    stats = {"num_layers": 6, "d_model": 64, "d_vocab": 300}
    assert [facts.heading(Run("m", {}, d, manifest)) for d in ({"model_stats": stats}, {})] == [
        "m: 6 blocks, width 64, vocabulary 300, cpu float32",
        "m: ? blocks, width ?, vocabulary ?, cpu float32",
    ]


@pytest.mark.parametrize(
    ("manifest", "diagnostics", "expected"),
    [
        ({"device": "cuda", "dtype": "bfloat16"}, {"device": "cpu"}, "cuda bfloat16"),
        ({"dtype": "bfloat16"}, {"device": "cpu"}, "cpu bfloat16"),
        ({"dtype": "bfloat16"}, {}, "bfloat16"),
        ({}, {"device": "cpu"}, "cpu"),
        ({}, {}, ""),
    ],
)
def test_what_a_run_was_computed_on(
    manifest: dict[str, Any], diagnostics: dict[str, Any], expected: str
) -> None:
    assert facts.computed_on(Run("m", {}, {"diagnostics": diagnostics}, manifest)) == expected


def test_layernorm_accounts_for_a_last_layer_that_is_far_from_the_output() -> None:
    far = {"last_layer_consistency": {"warn_high_last_layer_kl": True}}
    norms = {"first_block_ln1_type": "LayerNorm"}
    warnings = [
        list(facts.warnings(Run("m", {}, {"diagnostics": diagnostics})))
        for diagnostics in (far, norms, far | norms)
    ]
    of_norms = ["R1: LayerNorm is read through the RMS formula: every lens column is off"]
    of_output = (
        "R3: the last layer is some bits from the model's own output, "
        "probably for a soft cap or logit scale that was left out"
    )
    assert warnings == [[of_output], of_norms, of_norms]


def test_only_finite_numbers_are_drawn() -> None:
    assert list(map(facts.finite, (0, -1.5, NAN, INF, True, "1", None))) == [0, -1.5, *[None] * 5]


def test_the_first_token_of_a_row_is_empty_where_it_lists_none() -> None:
    assert facts.top_one(row("a", (("x", 0.5), ("y", 0.25)))) == ("x", 0.5)
    assert facts.top_one(row("a")) == ("", None)


def test_a_lens_without_rows_has_no_milestones() -> None:
    cells = facts.milestone_cells(Run("m", {("pure", "norm"): []}, {}))
    assert cells == dict.fromkeys(("copy", "semantic", "KL ≤ 1", "rank ≤ 10"), "-")


def test_a_raw_lens_check_is_of_the_pass_of_its_prompt_and_variant() -> None:
    """A sample has a layer; a pass without a check is left out."""
    blocks = [
        {"prompt_id": "a", "raw_lens_check": {"samples": [{"layer": 1}, {"layer": "2"}, 3]}},
        {"prompt_id": "a", "prompt_variant": "x", "raw_lens_check": {"summary": {"risk": "low"}}},
        {"prompt_id": "b", "prompt_variant": "x", "raw_lens_check": None},
    ]
    assert facts.raw_checks(Run("m", {}, {"passes": blocks})) == {
        "a/orig": {"samples": [{"layer": 1}], "summary": {}},
        "a/x": {"samples": [], "summary": {"risk": "low"}},
    }


@pytest.mark.parametrize(
    ("places", "layers"),
    [
        ([(0, 0), (1, 0)], ""),
        ([(0, 0), (0, 1), (1, 1)], "layers 1 to 1"),
        ([(0, 0), (0, 2), (3, 2), (1, 2)], "layers 1 to 3"),
        ([(0, 0), (0, 2), (1, 1), (1, 2)], ""),
    ],
)
def test_layers_of_the_last_position_only_are_named(
    places: list[tuple[int, int]], layers: str
) -> None:
    """A prompt of one position lacks none."""
    rows = [replace(row("a"), layer=layer, pos=pos) for layer, pos in places]
    sentence = f"{layers}: the run has rows of the last position only"
    assert facts.last_only(rows) == (sentence if layers else "")
