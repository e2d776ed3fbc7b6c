"""Every fragile decision of the captures is listed; a new one fails, and so does a listed one that is not fragile."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corrupting import PURE, csv_path, lines

from spec.__main__ import main
from spec.audit.decisions import KNOWN, Audit, audit, audit_case, read_known
from spec.audit.margins import Place
from spec.compare.tolerance import BF16, FP32
from spec.errors import SpecError
from spec.golden import GOLDEN, load_cases
from spec.report import audit as render_audit

Edit = Callable[[list[dict[str, Any]]], object]
STABLE_DECISION = ["pure-next-token", "pos/orig layer 6 pos 16", "entropy_collapse"]


@pytest.fixture(scope="module")
def result() -> Audit:
    return audit()


def known(tmp_path: Path, edit: Edit) -> Path:
    """The list of known decisions, edited."""
    groups = json.loads(KNOWN.read_text(encoding="utf-8"))
    edit(groups)
    path = tmp_path / "fragile.json"
    path.write_text(json.dumps(groups), encoding="utf-8")
    return path


def test_every_fragile_decision_is_known_with_its_reason(result: Audit) -> None:
    assert result.passes
    assert render_audit.verdict(result).endswith(
        "known to be fragile, 0 new, 0 listed but not fragile"
    )
    assert len(result.cases) == len(load_cases())
    assert all(len(reason) > 40 for reason in result.known.values())


def test_every_kind_of_decision_occurs(result: Audit) -> None:
    names = {decision.name for case in result.cases for decision in case.decisions}
    kinds = {
        "order of 1 and 2",
        "last of 5 listed",
        "answer_rank",
        "entropy_collapse",
        "copy_collapse",
        "top1_agree",
    }
    kinds |= {
        "first_kl_below_0.5",
        "first_kl_below_1.0",
        "first_control_margin_pos",
        "lens_artifact_risk",
    }
    assert kinds <= names, kinds - names
    assert all(len(case.decisions) > 300 for case in result.cases)


def test_a_fragile_decision_that_is_not_listed_is_named(result: Audit, tmp_path: Path) -> None:
    removed: list[dict[str, Any]] = []
    listed = read_known(known(tmp_path, lambda groups: removed.append(groups.pop())))
    changed = Audit(result.cases, listed)
    assert not changed.passes
    assert [d.row for d in changed.new] == [row for _, row, _ in removed[0]["decisions"]]
    text = render_audit.text(changed)
    assert all(row in text for _, row, _ in removed[0]["decisions"])
    assert (
        f"{len(changed.new)} new, 0 listed but not fragile; review the list in spec/audit/fragile.json"
        in text
    )


def test_a_listed_decision_that_holds_is_named(result: Audit, tmp_path: Path) -> None:
    path = known(
        tmp_path,
        lambda groups: groups.append(
            {"reason": "x", "cases": ["fact"], "decisions": [STABLE_DECISION]}
        ),
    )
    changed = Audit(result.cases, read_known(path))
    assert changed.stale == [("fact", *STABLE_DECISION)]
    assert not changed.passes
    assert json.loads(render_audit.machine(changed))["stale"][0]["decision"] == "entropy_collapse"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda groups: groups.append(groups[0]), "is listed twice"),
        (lambda groups: groups.append({"cases": []}), "decisions"),
        (lambda groups: groups.append(3), "not subscriptable"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_clear_error(
    edit: Edit, message: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SpecError, match=rf"cannot read .*fragile\.json: .*{message}.*; it is a list of groups"
    ):
        read_known(known(tmp_path, edit))
    with pytest.raises(SpecError, match="cannot read"):
        read_known(tmp_path / "none.json")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A folder of captures that holds `fact` alone, to be changed."""
    (tmp_path / "golden" / "outputs").mkdir(parents=True)
    shutil.copytree(GOLDEN / "outputs" / "fact", tmp_path / "golden" / "outputs" / "fact")
    return tmp_path / "golden"


def test_an_entropy_near_its_bound_is_fragile(golden: Path) -> None:
    def near(content: list[list[str]]) -> None:
        at = content[0].index("entropy")
        row = next(line for line in content[1:] if line[0:4] == ["pos", "orig", "6", "16"])
        row[at] = repr(float(np.float32(0.99995)))

    before = audit_case(load_cases()["fact"])
    lines(PURE, near)(golden / "outputs" / "fact")
    after = audit_case(load_cases()["fact"], golden)
    added = {d.key for d in after.fragile} - {d.key for d in before.fragile}
    assert added == {("fact", *STABLE_DECISION)}
    assert next(
        d for d in after.fragile if d.key == ("fact", *STABLE_DECISION)
    ).margin == pytest.approx(5e-5 / 1.02e-4, rel=1e-2)


def test_an_incomplete_capture_is_one_clear_error(golden: Path) -> None:
    csv_path(golden / "outputs" / "fact", PURE).write_text("layer\n")
    with pytest.raises(SpecError, match=r"cannot audit case fact: .*; see spec validate"):
        audit_case(load_cases()["fact"], golden)


def test_margins_by_hand() -> None:
    """A single number moves by its own tolerance, two numbers by both; a tie of listed tokens is forgiven."""
    place = Place("c", "f", "r", FP32)
    single = place.threshold("t", "entropy", 1.1, 1.0)
    assert single.margin == pytest.approx(0.1 / (2e-6 + 1.1e-4))
    assert single.fragile is False
    pair = place.order("o", 0.5, 0.4999, forgivable=True)
    assert pair.margin == pytest.approx(1e-4 / (4e-6 + 0.9999e-4), rel=1e-6)
    assert (pair.fragile, pair.forgiven) == (True, False)
    tie = place.order("o", 0.5, 0.49999, forgivable=True)
    assert (tie.fragile, tie.forgiven) == (False, True)
    assert place.order("o", 0.5, 0.49999).fragile
    assert Place("c", "f", "r", BF16).threshold("t", "entropy", 1.09, 1.0).fragile


def test_an_audit_of_nothing_proves_nothing() -> None:
    with pytest.raises(ValueError, match="at least one case, got none"):
        Audit((), {})


def test_the_command_prints_tables_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 0
    assert "known to be fragile, 0 new" in capsys.readouterr().out
    assert main(["audit", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passes"]
    assert len(report["cases"]) == len(load_cases())
