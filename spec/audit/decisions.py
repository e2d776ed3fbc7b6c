"""Audit the captures: every discrete decision has a margin over its tolerance, except those reviewed and listed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compare.tolerance import Tolerance, by_name
from ..errors import SpecError
from ..golden import GOLDEN, Case, load_cases
from ..runners.command import DEFAULTS
from ..runs.run import PURE, RECORDS, Run, read_run
from ..schema.cells import Row, check_table
from ..schema.summaries import POS, control, milestones
from .document import document_decisions
from .margins import Decision, Place
from .rows import (
    Rules,
    collapse_decisions,
    is_rank_unseen,
    membership_decision,
    milestone_decisions,
    order_decisions,
    rank_decisions,
    row_distances,
)

KNOWN = Path(__file__).with_name("fragile.json")
Key = tuple[str, str, str, str]  # case, kind of file, row, decision


@dataclass(frozen=True)
class CaseAudit:
    """The decisions of one case, the number of ranks whose neighbours no file lists, and two smallest distances.

    `gap` is the smallest relative gap of neighbours in a list, `distance` the smallest distance from a KL, entropy or
    copy threshold in its own unit, each with its place. The seeds of the models were chosen to make both large.
    """

    case: str
    tolerance: str
    decisions: tuple[Decision, ...]
    unseen: int
    gap: tuple[float, str]
    distance: tuple[float, str]

    @property
    def fragile(self) -> list[Decision]:
        return [decision for decision in self.decisions if decision.fragile]


@dataclass(frozen=True)
class Audit:
    """The audits of all cases, and the list of known fragile decisions: reasons by key."""

    cases: tuple[CaseAudit, ...]
    known: Mapping[Key, str]

    def __post_init__(self) -> None:
        if not self.cases:
            raise ValueError(
                "an audit needs at least one case, got none; an empty audit proves nothing"
            )

    @property
    def fragile(self) -> list[Decision]:
        return [decision for case in self.cases for decision in case.fragile]

    @property
    def new(self) -> list[Decision]:
        return [decision for decision in self.fragile if decision.key not in self.known]

    @property
    def stale(self) -> list[Key]:
        fragile_keys = {decision.key for decision in self.fragile}
        return [key for key in self.known if key not in fragile_keys]

    @property
    def passes(self) -> bool:
        return not self.new and not self.stale


def audit(golden: Path = GOLDEN, known: Path = KNOWN) -> Audit:
    """Audit every case of golden/ against the list in `known`."""
    cases = tuple(audit_case(case, golden) for case in load_cases(golden).values())
    return Audit(cases, read_known(known))


def read_known(path: Path) -> dict[Key, str]:
    """Read the listed decisions with their reasons.

    Raises SpecError where the file is unreadable or an entry occurs twice.
    """
    reasons: dict[Key, str] = {}
    try:
        for group in json.loads(path.read_text(encoding="utf-8")):
            for file, row, name in group["decisions"]:
                for key in ((case, file, row, name) for case in group["cases"]):
                    if key in reasons:
                        raise ValueError(f"{', '.join(key)} is listed twice")
                    reasons[key] = group["reason"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"cannot read {path}: {error}; it is a list of groups of reason, cases, decisions"
        ) from error
    return reasons


def audit_case(case: Case, golden: Path = GOLDEN) -> CaseAudit:
    """Audit every decision of one capture; raises SpecError where a file is missing or malformed."""
    run = read_run(case.expected_dir(golden), case.model_id.split("/")[-1])
    tolerance = by_name(case.tolerance)
    document, rows = checked_rows(case, run)
    rules = make_rules(case, rows[PURE])
    last_row = [row for row in rows[PURE] if row.where == POS][-1]
    decisions = [*row_decisions(case.name, tolerance, rows, rules)]
    decisions += document_decisions(case.name, tolerance, document, last_row)
    return CaseAudit(
        case.name,
        case.tolerance,
        tuple(decisions),
        sum(unseen_ranks(document, tolerance, rows)),
        min(order_gaps(decisions), default=(1.0, "")),
        min(threshold_distances(rows, rules)),
    )


def checked_rows(case: Case, run: Run) -> tuple[Mapping[str, Any], dict[str, Sequence[Row]]]:
    """Return the document and the typed rows by kind; raises SpecError where a file is missing or malformed."""
    problems: list[Any] = [*run.findings]
    rows: dict[str, Sequence[Row]] = {}
    for kind, table in run.tables.items():
        violations, rows[kind] = check_table(run.table_name(kind), kind, table)
        problems += violations
    if run.document is None or PURE not in run.tables or problems:
        raise SpecError(
            f"cannot audit case {case.name}: {next(iter(problems), 'a file is missing')}; see spec validate"
        )
    return run.document, rows


def make_rules(case: Case, rows: Sequence[Row]) -> Rules:
    """Return the copy threshold and margin of a case and the layers of its milestones."""
    options = {**DEFAULTS, **case.args}
    return Rules(
        options["copy_threshold"],
        options["copy_margin"],
        {**milestones(rows), **control_layer(rows)},
    )


def control_layer(rows: Sequence[Row]) -> dict[str, int | None]:
    layer: Any = control(rows)["first_control_margin_pos"]
    return {"first_control_margin_pos": layer}


def pure_kinds(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    return [kind for kind in rows if kind.startswith(PURE)]


def wide_lists(kind: str, rows: Mapping[str, Sequence[Row]]) -> dict[tuple[Any, ...], list[float]]:
    """Return the longer lists that the records have for rows of a pure-next-token table, by the row's key."""
    records = rows.get(kind.replace(PURE, RECORDS), [])
    return {(*row.where, row["layer"], row["pos"]): row.probabilities for row in records}


def longest_list(row: Row, lists: Mapping[tuple[Any, ...], list[float]]) -> list[float]:
    """Return the longest list of probabilities that the files have for a row."""
    return lists.get((*row.where, row["layer"], row["pos"]), row.probabilities)


def row_decisions(
    case: str, tolerance: Tolerance, rows: Mapping[str, Sequence[Row]], rules: Rules
) -> Iterator[Decision]:
    """Yield the decisions of all tables; milestones only for the table of the norm lens."""
    for kind, table_rows in rows.items():
        lists = wide_lists(kind, rows) if kind in pure_kinds(rows) else {}
        for row in table_rows:
            place = Place(case, kind, row.name, tolerance)
            yield from order_decisions(place, row.probabilities)
            if kind in pure_kinds(rows):
                wide = longest_list(row, lists)
                yield from membership_decision(place, row.probabilities, wide)
                yield from collapse_decisions(place, row, rules)
                yield from rank_decisions(place, row, wide, rules)
            if kind == PURE:
                yield from milestone_decisions(place, row, rules)


def unseen_ranks(
    document: Mapping[str, Any], tolerance: Tolerance, rows: Mapping[str, Sequence[Row]]
) -> Iterator[bool]:
    """Yield for each answer rank whether a neighbour that determines it is in no list."""
    vocabulary = int(document["model_stats"]["d_vocab"])
    for kind in pure_kinds(rows):
        lists = wide_lists(kind, rows)
        for row in rows[kind]:
            moves = tolerance.rank_moves(row["answer_rank"] or 1)
            yield is_rank_unseen(row, longest_list(row, lists), moves, vocabulary)


def order_gaps(decisions: Sequence[Decision]) -> Iterator[tuple[float, str]]:
    """Yield the relative gaps of listed neighbours, also of forgiven ties, with their places."""
    for d in decisions:
        if d.name.startswith("order of ") and d.value > 0:
            yield (d.value - d.threshold) / d.value, f"{d.file}, {d.row}, {d.name}"


def threshold_distances(
    rows: Mapping[str, Sequence[Row]], rules: Rules
) -> Iterator[tuple[float, str]]:
    """Yield the distances from every threshold in the pure-next-token tables, with their places."""
    for kind in pure_kinds(rows):
        for row in rows[kind]:
            for distance in row_distances(row, rules):
                yield distance, f"{kind}, {row.name}"
