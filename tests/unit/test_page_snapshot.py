"""The page of a report, whole: its tags and texts, and the data of its figures. Its scripts are tested in a browser.

The runs are captures and what is made of them by hand, so that every processor has the same numbers.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_regressions.file_regression import FileRegressionFixture

import lenses_min as lm
from lenses_min.output.battery.rows import BatteryRow
from lenses_min.output.run import Run
from lenses_min.report.page import page

OUTPUTS = Path(__file__).parents[2] / "golden" / "outputs"
DIGITS = 5  # of a number; the last ones depend on the processor
SCRIPT = re.compile(r"(<script[^>]*>)(.*?)(</script>)", re.DOTALL)
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
HASH = re.compile("sha256-[^&]*")


def estimates() -> Iterator[BatteryRow]:
    """A battery of all passes and two languages: estimates of two layers, and a milestone that some reach."""
    for i, group in enumerate(("all", "language=de", "language=en")):
        for quantity, estimate in (("entropy", "median"), ("p_answer", "mean")):
            for answer in ("own", "control") if quantity == "p_answer" else (None,):
                for layer in (0, 1):
                    value = 0.25 + i + layer / 8
                    ends = (value - 0.125, value + 0.125)
                    head = ("norm", group, layer, quantity, answer, estimate)
                    yield BatteryRow(*head, 7, 5, value, *ends)
        for answer, share in (("own", 0.375), ("control", 0.0)):
            head_of = ("norm", group, None, "L_semantic", answer)
            yield BatteryRow(*head_of, "share", 7, 5, share, 0.125, 0.625)
            for kind, layer_of in (
                ("median", 3.0),
                ("lower quartile", 2.0),
                ("upper quartile", 4.5),
            ):
                reached = layer_of if share else None
                ends_of = (1.0, 4.25) if share and kind == "median" else (None, None)
                yield BatteryRow(*head_of, kind, 3, 3, reached, *ends_of)


def with_battery(run: Run) -> Run:
    return replace(run, tables={**run.tables, ("battery", "norm"): list(estimates())})


def legible(value: Any) -> Any:
    """The same content, its arrays as lists, and numbers with DIGITS digits."""
    if isinstance(value, dict) and "bdata" in value:
        return legible(np.frombuffer(b64decode(value["bdata"]), value["dtype"]).tolist())
    if isinstance(value, dict):
        return {key: legible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [legible(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def content(runs: Sequence[Run], track: Sequence[str] = ()) -> str:
    """The page without the text of its scripts and styles, and its data, a field of a figure a line."""
    text = page(runs, track).replace(str(OUTPUTS), "OUTPUTS")
    data = next(body for head, body, _ in SCRIPT.findall(text) if "application/json" in head)
    markup = HASH.sub("", STYLE.sub("", SCRIPT.sub(r"\1\3", text)))
    lines = [line.rstrip() for line in markup.splitlines()]
    for place, figure in json.loads(data).items():
        lines.append(f"{place}:")
        lines += [
            f"  {key}: {json.dumps(legible(field), ensure_ascii=False)}"
            for key, field in figure.items()
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("names", ["fact-prism", "fact layernorm-prism", "battery"])
def test_a_page_is_what_it_was(names: str, file_regression: FileRegressionFixture) -> None:
    if names == "battery":
        runs = [with_battery(lm.load(OUTPUTS / "fact"))]
    else:
        runs = [lm.load(OUTPUTS / name) for name in names.split()]
    file_regression.check(content(runs, ["Berlin"]), extension=".html")
