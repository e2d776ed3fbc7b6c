"""Documents and rows that no run writes: `show` and `report` show what they have."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import published
import pytest
from published import shown

import lenses_min as lm
from lenses_min.output.run import Run
from lenses_min.report import facts
from lenses_min.report.page import page, raw_lines

FACT = Path(__file__).parents[2] / "golden" / "outputs" / "fact"


GONE = object()
ODD: tuple[Any, ...] = (GONE, None, "x", ["x"], [{}], {"layer": "x"}, 5)


def places(value: Any, depth: int) -> list[tuple[Any, ...]]:
    """The paths to everything inside, of lists to their first entry."""
    if depth == 0 or not isinstance(value, (dict, list)):
        return [()]
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1])
    return [(), *((key, *path) for key, inner in entries for path in places(inner, depth - 1))]


def with_odd(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """A copy of a document with something else at a place, or nothing."""
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    if odd is GONE and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = with_odd(value[path[0]], path[1:], odd)
    return copy


READ = ("prompt", "passes", "control_prompt", "control_summary", "diagnostics", "model_stats")


@pytest.mark.parametrize("case", ["fact", "suite"])
def test_a_document_that_is_none_of_a_run_s_is_shown(case: str, own_run: Run) -> None:
    """Whatever is missing in a document, or is another thing than a run writes."""
    run = lm.load(FACT) if case == "fact" else replace(own_run, manifest={})
    whole = json.loads(json.dumps(run.document))
    document = {key: whole[key] for key in (*READ, "raw_lens_check") if key in whole}
    for path in places(document, 4)[1:]:
        for value in ODD:
            odd = replace(run, document=with_odd(document, path, value))
            checks = facts.raw_checks(odd)
            assert all(isinstance(s["layer"], int) for c in checks.values() for s in c["samples"])
            lines = [facts.heading(odd), *facts.warnings(odd), *raw_lines(odd, "x")]
            assert all(
                isinstance(text, str) for text in (*lines, *next(iter(odd.prompts.values())))
            )


@pytest.mark.parametrize(
    "odd",
    [
        {},
        *(dict.fromkeys((*READ, "raw_lens_check"), value) for value in ODD[1:]),
        {"raw_lens_check": {"samples": [{"layer": 1, "p_top1_raw": "x"}], "summary": 5}},
    ],
)
def test_a_document_of_almost_nothing_is_a_page(odd: dict[str, Any]) -> None:
    run = replace(lm.load(FACT), document=odd)
    assert "L_semantic = 4" in shown(run)
    assert page([run]).endswith("</html>")


def test_numbers_that_are_none_are_not_drawn(tmp_path: Path) -> None:
    """A model that overflows leaves nan and inf in every column."""
    run = lm.load(FACT)
    for bad in (float("nan"), float("inf")):
        numbers: dict[str, Any] = dict.fromkeys(
            ("entropy", "kl_to_final_bits", "cos_to_final", "p_top1"), bad
        )
        pure = [replace(row, **numbers) for row in run.pure()]
        records = [replace(row, entropy=bad, top=(("x", bad),)) for row in run.records()]
        tables: dict[tuple[str, str], Sequence[Any]] = {
            ("records", "norm"): records,
            ("pure", "norm"): pure,
        }
        replace(run, tables=tables).save(tmp_path)
        again = lm.load(tmp_path)
        assert repr(bad) in shown(again)
        figure = json.loads(page([again]).split('id="figures">')[1].split("</script>")[0])
        assert "NaN" not in (text := json.dumps(figure))
        assert "Infinity" not in text


def test_a_row_without_a_top_is_shown() -> None:
    run = lm.load(FACT)
    tables = {key: [replace(row, top=()) for row in rows] for key, rows in run.tables.items()}
    assert "L_semantic = 4" in shown(bare := replace(run, tables=tables))
    assert page([bare]).endswith("</html>")


def test_a_prompt_that_a_run_lacks_is_reported_as_missing(tmp_path: Path) -> None:
    folders = [published.write(tmp_path / date, date) for date in ("2025-06-29", "2025-10-13")]
    text = page(list(map(lm.load, folders)))
    figures = json.loads(text.split('id="figures">')[1].split("</script>")[0])
    notes = [{note["text"] for note in figures[f"heatmap{i}"]["notes"]} for i in range(2)]
    assert "no records of Germany→Berlin/pos/orig" in notes[0]
    assert "no records of pos/orig" in notes[1]


def test_a_lens_without_rows_is_shown_as_empty(tmp_path: Path) -> None:
    folder = published.write(tmp_path, "2025-09-28", "Fact")
    for path in folder.glob("*-tuned.csv"):
        path.write_text(path.read_text(encoding="utf-8").split("\n")[0] + "\n")
    run = lm.load(folder)
    assert run.lenses == ["norm", "prism", "tuned"]
    assert run.passes("tuned") == {}
    assert "no records under the tuned lens" in page([run])
