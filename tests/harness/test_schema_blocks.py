"""The blocks of a document by themselves: what follows from their own fields, and which sentence a broken one gets."""

import json
from dataclasses import replace
from importlib import resources
from itertools import pairwise
from math import inf, log2, nan, nextafter
from pathlib import Path
from typing import Any

import pytest

from spec.runs import columns, csv_dialect
from spec.runs.places import Place, TableRow
from spec.schema.blocks import check_gold_of, prism_fields, rank_of, raw_summary, sampled_layers
from spec.schema.cells import Row, check_form, expected_columns, typed
from spec.schema.document import Items, Leaf, TopK
from spec.schema.further_tables import rows_difference
from spec.schema.json_values import check_leaf, check_object, check_topk, number_rule
from spec.schema.layout import Additions, known_keys, later_layouts
from spec.schema.row_order import ends_of, expected_keys, last_positions
from spec.schema.rows import KEYWORDS, TINY, DocumentContext, Pass
from spec.schema.rule_sources import checks_of
from spec.schema.rules import Rule
from spec.schema.suite import built_in_passes, check_suite, first_id, own_passes
from spec.schema.summaries import (
    ablation,
    agree,
    check_last_layer,
    check_last_layer_alone,
    control,
    milestones,
)
from spec.schema.validate import facts_of
from spec.schema.validating import Validation

POS, NO_FILLER, CTL = ("pos", "orig"), ("pos", "no_filler"), ("ctl", "orig")
GOLD: dict[str, Any] = {
    "string": "Berlin",
    "pieces": [" Ber", "lin"],
    "first_id": 7,
    "answer_ids": [7, 8],
    "variant": "with_space",
}
NO_GOLD: dict[str, Any] = {
    "string": "Berlin",
    "pieces": [],
    "first_id": None,
    "answer_ids": [],
    "variant": "unknown",
}


def texts(violations: Any) -> list[str]:
    return [f"{v.place} {v.rule}: {v.value}".partition(", ")[2] for v in violations]


@pytest.mark.parametrize(
    ("gold", "changes", "text", "broken"),
    [
        (GOLD, {}, "Berlin", []),
        (GOLD, {}, None, []),
        (GOLD, {"variant": "no_space"}, None, []),
        (NO_GOLD, {}, "Berlin", []),
        (GOLD, {"answer_ids": [7, 8, 9, 10, 11], "pieces": list("abcd")}, None, []),
        (GOLD, {}, "Paris", ["g.string gold: Berlin where Paris follows"]),
        (GOLD, {"first_id": 8}, None, ["g.first_id gold: 8 where 7 follows"]),
        (GOLD, {"first_id": None}, None, ["g.first_id gold: None where 7 follows"]),
        (GOLD, {"pieces": ["a"]}, None, ["g.pieces gold: 1 where 2 follows"]),
        (
            GOLD,
            {"answer_ids": [7, 8, 9, 10, 11], "pieces": list("abcde")},
            None,
            ["g.pieces gold: 5 where 4 follows"],
        ),
        (GOLD, {"variant": "unknown"}, None, ["g.variant gold: unknown where a spelling follows"]),
        (NO_GOLD, {"first_id": 7}, None, ["g.first_id gold: 7 where None follows"]),
        (
            NO_GOLD,
            {"variant": "no_space"},
            None,
            ["g.variant gold: no_space where unknown follows"],
        ),
    ],
)
def test_a_gold_answer(
    gold: dict[str, Any], changes: dict[str, Any], text: str | None, broken: list[str]
) -> None:
    assert texts(check_gold_of("x.json", ("g",), gold | changes, text)) == broken


@pytest.mark.parametrize(
    ("mode", "n", "layers"),
    [
        ("sample", 12, [0, 4, 7, 10]),
        ("sample", 7, [0, 2, 4, 6]),
        ("sample", 2, [0, 1, 2]),
        ("sample", 1, [0, 1]),
        ("full", 3, [0, 1, 2, 3]),
        ("off", 3, []),
    ],
)
def test_the_layers_of_a_raw_lens_check(mode: str, n: int, layers: list[int]) -> None:
    assert sampled_layers(mode, n) == layers


def sample(layer: int, kl: float, norm: bool = False, raw: bool = False) -> dict[str, Any]:
    return {
        "layer": layer,
        "kl_norm_vs_raw_bits": kl,
        "is_answer_norm": norm,
        "is_answer_raw": raw,
    }


@pytest.mark.parametrize(
    ("samples", "mode", "summary"),
    [
        ([], "off", (None, None, None)),
        ([], "full", (None, None, "low")),
        ([sample(0, 0.25), sample(1, 0.125)], "full", (None, 0.25, "low")),
        ([sample(0, nextafter(0.5, 0))], "full", (None, nextafter(0.5, 0), "low")),
        ([sample(0, 0.5)], "full", (None, 0.5, "medium")),
        ([sample(0, nextafter(1.0, 0))], "full", (None, nextafter(1.0, 0), "medium")),
        ([sample(0, 1.0)], "full", (None, 1.0, "high")),
        ([sample(0, 0.0, norm=True, raw=True)], "full", (None, 0.0, "low")),
        ([sample(0, 0.0, raw=True)], "full", (None, 0.0, "low")),
        ([sample(4, 0.0, norm=True), sample(2, 0.0, norm=True)], "full", (2, 0.0, "high")),
    ],
)
def test_the_summary_of_a_raw_lens_check(
    samples: list[dict[str, Any]], mode: str, summary: tuple[Any, ...]
) -> None:
    names = "first_norm_only_semantic_layer", "max_kl_norm_vs_raw_bits", "lens_artifact_risk"
    assert raw_summary(samples, mode) == dict(zip(names, summary, strict=True))


def test_the_fields_of_a_prism_summary() -> None:
    usable = {"mode": "auto", "compatible": True, "k": 4, "layers": [1], "error": None}
    absent = {
        "mode": "auto",
        "compatible": False,
        "present": False,
        "k": 4,
        "layers": [1],
        "error": "it has no provenance",
    }
    assert prism_fields(usable, 8) == {"present": True, "k": 4, "layers": [1], "error": None}
    assert prism_fields(usable | {"layers": None}, 8)["layers"] == ["…"]
    assert prism_fields(absent, 8) == {
        "present": False,
        "k": None,
        "layers": None,
        "error": "it has no provenance",
    }
    assert prism_fields(absent | {"error": None}, 8)["error"] == "a reason"
    assert prism_fields(absent | {"mode": "off"}, 8)["error"] is None
    assert [rank_of(k, 8) for k in (0, 1, 8, 9, True, 1.0, None)] == [8, 1, 8, 8, 8, 8, 8]


LOG = log2(8) + TINY


@pytest.mark.parametrize(
    ("quantity", "accepted", "refused"),
    [
        (columns.PROBABILITY, (0, 1), {-(2.0**-30): "probability.range", 1.5: "probability.range"}),
        (columns.ENTROPY, (0, 3), {-(2.0**-10): "entropy.range", LOG + 2**-10: "entropy.range"}),
        (columns.KL, (0, -TINY, 99.1), {nextafter(-TINY, -1): "kl.range", inf: "cell.type"}),
        (columns.RANK, (1, 8), {0: "rank.range", 9: "rank.range"}),
        (columns.TEMPERATURE, (0.5,), {0.1: "float32", nan: "cell.type"}),
        (columns.PROBABILITY, (), {0.1: "float32", 1 + TINY: "float32"}),
        (columns.ENTROPY, (), {0.1: "float32", -TINY: "float32", LOG: "float32"}),
        (columns.INTEGER, (-5, 10**6), {-inf: "cell.type"}),
    ],
)
def test_numbers_by_what_they_measure(
    quantity: str, accepted: tuple[float, ...], refused: dict[float, str]
) -> None:
    facts = DocumentContext(vocabulary=8)
    assert [number_rule(quantity, value, facts) for value in accepted] == [None] * len(accepted)
    assert {value: number_rule(quantity, value, facts) for value in refused} == refused


def test_without_a_vocabulary_entropy_and_rank_have_no_upper_bound() -> None:
    facts = DocumentContext()
    assert number_rule(columns.ENTROPY, 2.0**100, facts) is None
    assert number_rule(columns.RANK, 10**9, facts) is None
    assert number_rule(columns.RANK, 0, facts) == "rank.range"


@pytest.mark.parametrize(
    ("path", "value", "leaf", "broken"),
    [
        (("a", "entropy"), 1.5, Leaf(("float",)), []),
        (("a", "entropy", 3), 9.0, Leaf(("float",)), ["a.entropy[3] entropy.range: 9.0"]),
        (("p_top1_norm",), 1, Leaf(("float",)), ["p_top1_norm json.type: 1 (int)"]),
        (("mode",), "x", Leaf(("string",), ("off",)), ["mode json.value: x"]),
        (("mode",), "off", Leaf(("string",), ("off",)), []),
        (("answer_rank_norm",), 9, Leaf(("int",)), ["answer_rank_norm rank.range: 9"]),
    ],
)
def test_a_leaf(path: tuple[str | int, ...], value: Any, leaf: Leaf, broken: list[str]) -> None:
    assert texts(check_leaf("x.json", path, value, leaf, DocumentContext(vocabulary=8))) == broken


@pytest.mark.parametrize(
    ("pairs", "vocabulary", "broken"),
    [
        ([["a", 1.0], ["b", 0.0]], 8, []),
        ([["a", 0.5], ["b", 0.5]], None, []),
        ([["a", 0.5]], 1, []),
        ([["a", 0.5]], 8, ["t topk.list: 1 pairs where k is 2"]),
        ([["a", 0.5], ["b", 0.5], ["c", 0.0]], 8, ["t topk.list: 3 pairs where k is 2"]),
        ([["a", 0.25], ["b", 0.5]], 8, ["t[1], p topk.list: 0.5"]),
        ([["a", 1.5], ["b", 0.5]], 8, ["t[0], p topk.list: 1.5"]),
        ([["a", 0.5], ["b", -0.5]], 8, ["t[1], p topk.list: -0.5"]),
        ([["a", 0.1], ["b", 0.0]], 8, ["t[0], p topk.list: 0.1"]),
        ([["a", 1], ["b", 0.5]], 8, ["t[0] topk.list: no pair of token and probability"]),
        ([{}, ["b", 0.5]], 8, ["t[0] topk.list: no pair of token and probability"]),
        ([["a", 0.25], ["b"]], 8, ["t[1] topk.list: no pair of token and probability"]),
    ],
)
def test_a_list_of_pairs(pairs: list[Any], vocabulary: int | None, broken: list[str]) -> None:
    facts = DocumentContext(vocabulary=vocabulary)
    assert texts(check_topk("x.json", ("t",), pairs, TopK(2), facts)) == broken


def rows(pass_key: tuple[str, str], *cells: dict[str, Any]) -> list[Row]:
    """Rows of one pass, layer by layer."""
    empty = {
        "copy_collapse": False,
        "entropy_collapse": False,
        "is_answer": False,
        "answer_rank": None,
        "kl_to_final_bits": 9.0,
        "control_margin": None,
        "pos": 3,
    }
    named = {"prompt_id": pass_key[0], "prompt_variant": pass_key[1]}
    return [
        Row("x.csv", TableRow(*pass_key, str(layer)), empty | named | {"layer": layer} | own)
        for layer, own in enumerate(cells)
    ]


def test_milestones_are_first_layers() -> None:
    table = [
        *rows(CTL, {"copy_collapse": True, "is_answer": True, "entropy_collapse": True}),
        *rows(
            POS,
            {"answer_rank": 11, "kl_to_final_bits": 1.001},
            {"copy_collapse": True, "answer_rank": 10, "kl_to_final_bits": 1.0},
            {"entropy_collapse": True, "answer_rank": 5, "kl_to_final_bits": 0.501},
            {"is_answer": True, "answer_rank": 1, "kl_to_final_bits": 0.5},
            {"is_answer": True, "copy_collapse": True, "answer_rank": 1, "kl_to_final_bits": 0.0},
        ),
        *rows(NO_FILLER, {}, {}, {"is_answer": True}, {"copy_collapse": True}),
    ]
    assert milestones(table) == {
        "L_copy": 1,
        "L_copy_H": 2,
        "L_semantic": 3,
        "delta_layers": 2,
        "first_kl_below_0.5": 3,
        "first_kl_below_1.0": 1,
        "first_rank_le_1": 3,
        "first_rank_le_5": 2,
        "first_rank_le_10": 1,
    }
    assert ablation(table) == {
        "L_copy_orig": 1,
        "L_sem_orig": 3,
        "L_copy_nf": 3,
        "L_sem_nf": 2,
        "delta_L_copy": 2,
        "delta_L_sem": -1,
    }
    assert set(milestones(rows(POS, {})).values()) == {None}
    assert set(ablation(rows(POS, {})).values()) == {None}


def test_the_control_summary() -> None:
    margins = [{"control_margin": m} for m in (None, -0.5, 0.0, 0.25, 0.75, 0.5)]
    table = [*rows(POS, {"control_margin": 0.875}), *rows(CTL, *margins)]
    assert control(table) == {"first_control_margin_pos": 3, "max_control_margin": 0.75}
    assert control(rows(CTL, {})) == {
        "first_control_margin_pos": None,
        "max_control_margin": None,
    }


LAST = {
    "temp_est": 0.1,
    "kl_after_temp_bits": 0.5,
    "kl_to_final_bits": 0.5,
    "warn_high_last_layer_kl": False,
}


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, []),
        ({"temp_est": 10.0}, []),
        ({"temp_est": 1.0}, []),
        ({"temp_est": 10 ** (-1 + 2 / 24)}, []),
        ({"temp_est": 0.09}, ["l.temp_est last-layer: 0.09, which is not on the grid"]),
        ({"temp_est": 12.1}, ["l.temp_est last-layer: 12.1, which is not on the grid"]),
        ({"temp_est": 1.1}, ["l.temp_est last-layer: 1.1, which is not on the grid"]),
        ({"kl_to_final_bits": 0.0, "kl_after_temp_bits": 1e-5}, []),
        (
            {"kl_to_final_bits": 0.0, "kl_after_temp_bits": 2e-5},
            ["l.kl_after_temp_bits last-layer: 2e-05, worse than no temperature"],
        ),
        ({"warn_high_last_layer_kl": True}, ["l.warn_high_last_layer_kl last-layer: True"]),
        (
            {"kl_to_final_bits": nextafter(0.5, 1)},
            ["l.warn_high_last_layer_kl last-layer: False"],
        ),
        ({"kl_to_final_bits": 0.75, "warn_high_last_layer_kl": True}, []),
    ],
)
def test_the_last_layer_by_itself(changes: dict[str, Any], broken: list[str]) -> None:
    place = Place("x.json", key=("l",))
    assert texts(check_last_layer_alone(place, LAST | changes)) == broken


def test_what_agrees() -> None:
    assert agree(1.0, 1.00001)
    assert not agree(1.0, 1.001)
    assert agree(None, None)
    assert agree(3, 3)
    assert not agree(3, 4)
    assert not agree(None, 0.0)
    assert not agree(0.0, None)


@pytest.mark.parametrize(
    ("gold", "known"),
    [
        (None, (False, None)),
        ([], (False, None)),
        ({}, (False, None)),
        ({"first_id": 0}, (True, 0)),
        ({"first_id": None}, (True, None)),
        ({"first_id": True}, (False, None)),
        ({"first_id": "7"}, (False, None)),
    ],
)
def test_the_id_of_a_gold_answer(gold: Any, known: tuple[bool, int | None]) -> None:
    assert first_id(gold) == known


def test_the_passes_of_a_document() -> None:
    berlin, paris = {"first_id": 7, "string": "Berlin"}, {"first_id": 9, "string": "Paris"}
    document = {"gold_answer": berlin, "control_prompt": {"gold_answer": paris}}
    assert built_in_passes(document) == {
        POS: Pass("Berlin", 7, ids_known=True, has_records=True),
        NO_FILLER: Pass("Berlin", 7, ids_known=True),
        CTL: Pass("Paris", 9, 7, ids_known=True, control=True),
    }
    for partial in (None, {"gold_answer": berlin}, {"control_prompt": {"gold_answer": paris}}):
        assert [one.ids_known for one in built_in_passes(partial).values()] == [False] * 3

    blocks = [
        {
            "prompt_id": "be",
            "prompt_variant": "orig",
            "gold_answer": berlin,
            "final_prediction": {},
        },
        {"prompt_id": "pa", "prompt_variant": "x", "gold_answer": paris, "control": "be/orig"},
        {"prompt_id": "no", "prompt_variant": "x", "gold_answer": paris, "control": "be/none"},
        "no block",
        {"prompt_id": 3, "prompt_variant": None, "gold_answer": None},
    ]
    assert own_passes({"passes": blocks}) == {
        ("be", "orig"): Pass("Berlin", 7, None, ids_known=True, has_records=True),
        ("pa", "x"): Pass("Paris", 9, 7, ids_known=True, control=True),
        ("no", "x"): Pass("Paris", 9, None, ids_known=False, control=True),
        ("3", "None"): Pass("", None, None, ids_known=False),
    }
    assert own_passes(None) == own_passes({}) == {}


FACTS = DocumentContext(
    passes={POS: Pass("Berlin", has_records=True), CTL: Pass("Paris", control=True)}
)


def test_the_rows_that_a_table_must_have() -> None:
    ends = {POS: 1, CTL: 2}
    assert list(expected_keys("pure-next-token", FACTS, 1, ends)) == [
        (*POS, 0, 1),
        (*POS, 1, 1),
        (*CTL, 0, 2),
        (*CTL, 1, 2),
    ]
    assert list(expected_keys("pure-next-token", FACTS, 0, {})) == [(*POS, 0, 0), (*CTL, 0, 0)]
    first, later = [(*POS, 0, 0), (*POS, 0, 1)], [(*POS, 1, 1), (*POS, 2, 1)]
    assert list(expected_keys("records", FACTS, 2, ends)) == first + later
    assert list(expected_keys("records-prism", FACTS, 2, ends)) == later
    assert list(expected_keys("records", FACTS, 0, {})) == [(*POS, 0, 0)]
    corrected = DocumentContext(passes=FACTS.passes, corrected=True)
    full = [(*POS, layer, pos) for layer in (0, 1, 2) for pos in (0, 1)]
    assert list(expected_keys("records", corrected, 2, ends)) == full
    assert list(expected_keys("records-prism", corrected, 2, ends)) == full


def at(pass_key: tuple[str, str], *positions: int) -> list[Row]:
    return rows(pass_key, *({"pos": pos} for pos in positions))


def test_the_last_positions_of_the_passes() -> None:
    tables = {
        "pure-next-token": at(CTL, 5, 6),
        "pure-next-token-prism": [*at(POS, 4), *at(CTL, 7)],
        "records": [*at(POS, 1, 9, 2), *at(CTL, 99)],
    }
    assert last_positions(tables) == {CTL: 5, POS: 4}
    del tables["pure-next-token-prism"]
    assert last_positions(tables) == {CTL: 5, POS: 9}
    del tables["records"]
    assert last_positions(tables) == {CTL: 5}
    assert last_positions({}) == {}


def test_the_last_positions_in_one_table() -> None:
    ends = {POS: 3, CTL: 4}
    table = [*at(POS, 8), *at(CTL, 6, 7), *at(NO_FILLER, 5)]
    pure = "pure-next-token-prism"
    assert ends_of(pure, table, FACTS, ends) == {POS: 3, CTL: 6, NO_FILLER: 5}
    assert ends_of("records-prism", table, FACTS, ends) == ends
    assert ends_of(pure, table, DocumentContext(own=True), ends) == ends


def test_cells_by_the_type_of_their_column() -> None:
    assert typed("token", "") == ""
    assert typed("p_answer", "") is None
    assert typed("is_answer", "True") is True
    assert typed("is_answer", "False") is False
    assert typed("layer", "10000") == 10_000
    assert typed("pos", "10001") == typed("answer_rank", "10001") == 10_001
    assert type(typed("entropy", "12.0")) is float
    for column, text, message in (
        ("entropy", "", "entropy must not be empty; write a value"),
        ("is_answer", "true", "is_answer holds a flag, got 'true'; write it as Python does"),
        ("layer", "1.0", "layer holds a"),
        ("layer", "10001", "layers are at most 10000, got 10001; correct it"),
        ("answer_rank", "x", "got 'x'"),
        ("entropy", "inf", "got 'inf'"),
        ("entropy", "True", "got 'True'"),
    ):
        with pytest.raises(ValueError, match=message):
            typed(column, text)
    assert [expected_columns(kind) for kind in ("records", "records-prism", "answers")] == [
        columns.RECORD_COLUMNS,
        columns.RECORD_COLUMNS,
        columns.ANSWER_COLUMNS,
    ]
    kinds = "pure-next-token", "pure-next-token-prism", "agreement"
    assert [expected_columns(kind) for kind in kinds] == [
        columns.PURE_COLUMNS,
        columns.PURE_COLUMNS,
        columns.AGREEMENT_COLUMNS,
    ]


def test_a_broken_cell_names_its_value() -> None:
    (row,) = rows(POS, {"token": "x"})
    assert texts(
        [row.broken("token", Rule.CELL_FIXED), row.broken("answer_rank", Rule.RANK_LIST)]
    ) == [
        "pos/orig layer 0, token cell.fixed: 'x'",
        "pos/orig layer 0, answer_rank rank.list: an empty cell",
    ]
    assert row.name == "pos/orig layer 0"


def test_a_table_that_is_written_otherwise() -> None:
    table = csv_dialect.parse("a,b\n1,2\n")
    assert texts(check_form("x.csv", table)) == []
    end, other = replace(table, complete=False), replace(table, regular=False)
    assert texts(check_form("x.csv", end)) == ["last line csv.end: no line feed"]
    (violation,) = check_form("x.csv", other)
    assert violation.place == Place("x.csv")
    assert violation.rule == Rule.CSV_DIALECT
    assert violation.value == "line ends or quotes that csv does not write"


def test_shapes_say_what_they_allow() -> None:
    with pytest.raises(ValueError, match="a leaf allows at least one JSON type, got none"):
        Leaf(())
    with pytest.raises(ValueError, match="a top-k list has k ≥ 1, got 0; say how many pairs"):
        TopK(0)
    with pytest.raises(ValueError, match="a run has ≥ 0 files, got -1; count what was read"):
        Validation(Path(), "x", -1, ())
    assert Validation(Path(), "x", 0, ()).valid
    assert TopK(1).k == 1


def test_the_first_row_that_differs_is_named() -> None:
    assert rows_difference([1, 2], [1, 3]) == "2 rows for 2, first at 2"
    assert rows_difference([1], [1, 4, 3]) == "3 rows for 1, first at 4"
    assert rows_difference([1, 2], [2, 1]) == "2 rows for 2"
    assert rows_difference([1, 2], []) == "0 rows for 2, first at 1"


def test_what_a_run_has_beyond_the_contract() -> None:
    assert not Additions()
    for one in (
        Additions({"records": ("x",)}),
        Additions(keys=("x",)),
        Additions(passes=("x",)),
        Additions(files=("x",)),
    ):
        assert one
    many = Additions({"records": ("a", "b"), "answers": ("c", "d")}, ("k",), ("p", "q"), ())
    assert str(many) == "a later layout: 4 columns, 1 key (k), 2 passes (p, q) more than 2025-09-06"
    assert many.layout == Additions(passes=("x",)).layout == ""


def test_keys_that_a_shape_does_not_have_are_split_off() -> None:
    either = (Items({"a": Leaf(("int",))}), Leaf(("null",)))
    shape = {
        "list": either,
        "object": ({"b": Leaf(("int",))}, Leaf(("null",))),
        "x": Leaf(("int",)),
    }
    value = {
        "list": [{"a": 1, "n": 2}, {"n": 3, "m": 4}],
        "object": {"b": 1, "c": 2},
        "y": {"z": 1},
        "x": {"w": 1},
    }
    further: list[str] = []
    assert known_keys((), value, shape, further) == {
        "list": [{"a": 1}, {}],
        "object": {"b": 1},
        "x": {"w": 1},
    }
    assert further == ["y", "list[].n", "list[].m", "object.c"]
    nothing: list[str] = []
    empty = {"list": None, "object": None}
    assert known_keys((), empty, shape, nothing) == empty
    assert nothing == []


def test_the_code_of_a_rule() -> None:
    assert checks_of(Rule.ENTROPY_RANGE) == (
        "json_values.py: number_rule",
        "rows.py: check_ranges",
    )
    assert checks_of(Rule.ROWS_ORDER) == ("row_order.py: check_order",)
    assert all(map(checks_of, Rule))


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        (None, (None, None, None, False, False)),
        ({"model_stats": {"d_vocab": 8, "num_layers": 2}}, (8, 2, None, False, False)),
        ({"model_stats": {"d_vocab": 0, "num_layers": True}}, (None, None, None, False, False)),
        ({"model_stats": {"d_vocab": 1, "num_layers": "2"}}, (1, None, None, False, False)),
        ({"diagnostics": {"copy_thresh": 0.5}}, (None, None, 0.5, False, False)),
        ({"diagnostics": {"copy_thresh": 1}}, (None, None, None, False, False)),
        ({"contract": "corrected", "passes": []}, (None, None, None, True, True)),
        ({"contract": "reference", "passes": {}}, (None, None, None, False, False)),
    ],
)
def test_the_facts_of_a_document(document: Any, facts: tuple[Any, ...]) -> None:
    known = facts_of(document)
    assert facts == (
        known.vocabulary,
        known.layers,
        known.copy_threshold,
        known.corrected,
        known.own,
    )
    words = facts_of({"passes": [], "keywords": ["a", 3]}).keywords
    assert words == ("a", "3")
    assert facts_of({"keywords": ["a"]}).keywords == KEYWORDS
    assert facts_of({"passes": []}).keywords == ()
    block = {"prompt_id": "a", "prompt_variant": "b"}
    assert [*facts_of({"passes": [block]}).passes] == [("a", "b")]
    assert [*facts_of({"passes": {}}).passes] == [POS, NO_FILLER, CTL]


def test_a_later_layout_has_all_of_the_earlier_ones() -> None:
    written = resources.files("spec.schema").joinpath("layouts.json").read_text("utf-8")
    for date, delta in json.loads(written).items():
        assert set(delta.get("keys", ())) <= later_layouts()[date].keys
        assert set(delta.get("files", ())) <= later_layouts()[date].files
    assert any(layout.keys for layout in later_layouts().values())
    for before, after in pairwise(later_layouts().values()):
        assert before.keys <= after.keys
        assert before.files <= after.files
        assert before.replaced <= after.replaced
        assert before.columns.keys() <= after.columns.keys()
        assert all(names <= after.columns[kind] for kind, names in before.columns.items())


@pytest.mark.parametrize(
    ("value", "text"),
    [([1], "list (list)"), (1.5, "1.5 (float)"), ("a", "a (string)"), (None, "null (null)")],
)
def test_what_is_no_object_is_named(value: Any, text: str) -> None:
    shape = {"a": Leaf(("int",))}
    assert texts(check_object("x.json", ("o",), value, shape, DocumentContext())) == [
        f"o json.type: {text}"
    ]


def test_the_last_layer_of_an_own_pass() -> None:
    """Its block against the last row of the pass."""
    row: dict[str, Any] = {
        "prompt_id": "a",
        "prompt_variant": "b",
        "layer": 2,
        "kl_to_final_bits": 0.25,
        "p_top1": 0.5,
        "answer_rank": 3,
        "control_margin": None,
        **dict.fromkeys(("copy_collapse", "entropy_collapse", "is_answer"), False),
    }
    rows = [Row("f", TableRow("a", "b", "2", "0"), row)]
    last = {"kl_to_final_bits": 0.25, "p_top1_lens": 0.5, "answer_rank_lens": 3}
    block: dict[str, Any] = {
        "prompt_id": "a",
        "prompt_variant": "b",
        "gold_answer": GOLD,
        "gold_alignment": "ok",
        "control": None,
        **milestones(rows, ("a", "b")),
    }

    def broken(**changes: Any) -> list[str]:
        blocks = [block | {"last_layer_consistency": last | changes}]
        document = {"model_stats": {"num_layers": 2}, "passes": blocks}
        return texts(check_suite("x.json", document, rows))

    assert broken() == []
    place = "passes[0].last_layer_consistency"
    assert broken(p_top1_lens=0.25) == [
        f"{place}.p_top1_lens last-layer: 0.25 where layer 2 has 0.5"
    ]
    assert broken(answer_rank_lens=4) == [
        f"{place}.answer_rank_lens last-layer: 4 where layer 2 has 3"
    ]


@pytest.mark.parametrize(
    ("half", "own", "broken"),
    [
        (False, [["a", 0.5]], []),
        (False, [["a", 0.25]], ["p_top1_model last-layer: 0.5 where layer 2 has 0.25"]),
        (True, [["a", 0.25]], []),
        (False, [], []),
    ],
)
def test_the_last_layer_against_the_model_s_own_prediction(
    half: bool, own: list[Any], broken: list[str]
) -> None:
    """In half precision the prediction is rounded further, and not compared."""
    numbers = {"kl_to_final_bits": 0.0, "p_top1": 0.5, "p_answer": 0.5, "answer_rank": 1}
    row = Row("f", TableRow("pos", "orig", "2", "0"), numbers | {"layer": 2})
    values = LAST | {
        "kl_to_final_bits": 0.0,
        "kl_after_temp_bits": 0.0,
        "p_top1_lens": 0.5,
        "p_answer_lens": 0.5,
        "answer_rank_lens": 1,
        "p_top1_model": 0.5,
    }
    document = {
        "diagnostics": {"last_layer_consistency": values, "use_fp32_unembed": half},
        "final_prediction": {"topk": own},
    }
    place = "diagnostics.last_layer_consistency."
    assert texts(check_last_layer("x.json", document, row)) == [place + text for text in broken]
