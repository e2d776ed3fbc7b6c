"""Two runs side by side: the same layers, layers at the same depth, what only one of them has."""

from dataclasses import replace
from pathlib import Path

import pandas
import pytest

import lenses_min as lm
from lenses_min.output.run import Run
from lenses_min.output.side_by_side import QUANTITIES, layers

FACT = Path(__file__).parents[2] / "golden" / "outputs" / "fact"


def test_a_run_beside_itself_changes_nothing(fact_run: Run) -> None:
    frame = lm.compare(fact_run, fact_run)
    pure = fact_run.frame("pure")
    assert len(frame) == len(pure)
    assert (frame["layer_a"] == frame["layer_b"]).all()
    assert frame["entropy_a"].tolist() == pure["entropy"].tolist()
    for name in QUANTITIES:
        assert (frame[f"{name}_change"].dropna() == 0).all()


def test_a_change_is_the_second_minus_the_first(fact_run: Run) -> None:
    rows = [replace(row, entropy=row.entropy + 1, p_answer=None) for row in fact_run.pure()]
    other = replace(fact_run, tables={("pure", "norm"): rows})
    frame = lm.compare(fact_run, other)
    assert frame["entropy_change"].tolist() == pytest.approx([1] * len(rows))
    assert frame["p_answer_b"].isna().all()
    assert frame["p_answer_change"].isna().all()


def test_layers_of_another_depth_stand_at_the_nearest_depth(fact_run: Run) -> None:
    """A run with a layer behind each of its own has all of them at even places."""
    rows = fact_run.passes()["pos/orig"]
    deeper = [replace(row, layer=2 * row.layer + odd) for row in rows for odd in (0, 1)][:-1]
    other = replace(fact_run, tables={("pure", "norm"): deeper})
    frame = lm.compare(fact_run, other)
    assert frame["layer_b"].tolist() == [2 * layer for layer in frame["layer_a"]]
    assert frame["entropy_change"].eq(0).all()
    assert set(frame["pass"]) == {"pos/orig"}


def test_runs_without_a_common_pass_are_refused(fact_run: Run) -> None:
    rows = [replace(row, prompt_id="other") for row in fact_run.pure()]
    other = replace(fact_run, tables={("pure", "norm"): rows})
    with pytest.raises(
        lm.LensError, match=r"share no pass under a lens; passes of the first: pos/orig"
    ):
        lm.compare(fact_run, other)


def test_the_columns(fact_run: Run) -> None:
    frame = lm.compare(fact_run, fact_run)
    assert isinstance(frame, pandas.DataFrame)
    heads = ["lens", "pass", "layer_a", "layer_b", "top1_a", "top1_b"]
    ends = [f"{name}_{end}" for name in QUANTITIES for end in ("a", "b", "change")]
    assert frame.columns.tolist() == heads + ends


def test_the_passes_of_runs_that_share_none_are_listed() -> None:
    run = lm.load(FACT)
    rows = [replace(row, prompt_id=f"my-{row.prompt_id}") for row in run.pure()]
    with pytest.raises(lm.LensError) as refused:
        lm.compare(run, replace(run, name="B", tables={("pure", "norm"): rows}))
    assert str(refused.value) == (
        "the runs Fact and B share no pass under a lens; "
        "passes of the first: pos/orig, pos/no_filler, ctl/orig; "
        "of the second: my-pos/orig, my-pos/no_filler, my-ctl/orig"
    )


def test_a_layer_that_the_second_run_lacks_is_left_out() -> None:
    rows = lm.load(FACT).passes()["pos/orig"]
    places = [row.layer for row in rows]
    lines = list(layers(rows, [row for row in rows if row.layer != 2]))
    assert [line["layer_a"] for line in lines] == [place for place in places if place != 2]


def test_the_likeliest_tokens_stand_side_by_side() -> None:
    row = lm.load(FACT).pure()[0]
    listed, bare = replace(row, top=((" a", 0.5), (" b", 0.25))), replace(row, top=())
    (line,) = layers([listed], [bare])
    assert (line["top1_a"], line["top1_b"]) == (" a", None)
