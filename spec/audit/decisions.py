"""audit: every discrete decision of the captures keeps a margin over its tolerance, save those reviewed and listed."""

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
from .rows import Rules, collapses, distances, first_layers, membership, orders, rank_unseen, ranks

KNOWN = Path(__file__).with_name("fragile.json")
Key = tuple[str, str, str, str]  # case, kind of file, row, decision


@dataclass(frozen=True)
class CaseAudit:
    """One case: its decisions, the ranks whose neighbours no file lists, and what its seed was chosen for.

    `gap` is the least relative gap of listed neighbours, `distance` the least distance from a KL, entropy or copy
    threshold in its own unit, each with its place.
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
    """All cases against the list of known fragile decisions, reasons by key."""

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
        found = {decision.key for decision in self.fragile}
        return [key for key in self.known if key not in found]

    @property
    def passes(self) -> bool:
        return not self.new and not self.stale


def audit(golden: Path = GOLDEN, known: Path = KNOWN) -> Audit:
    """Audit every case of golden/ against the list in `known`."""
    cases = tuple(audit_case(case, golden) for case in load_cases(golden).values())
    return Audit(cases, read_known(known))


def read_known(path: Path) -> dict[Key, str]:
    """The listed decisions → reasons; raises SpecError where the file is unreadable or an entry comes twice."""
    found: dict[Key, str] = {}
    try:
        for group in json.loads(path.read_text(encoding="utf-8")):
            for file, row, name in group["decisions"]:
                for key in ((case, file, row, name) for case in group["cases"]):
                    if key in found:
                        raise ValueError(f"{', '.join(key)} is listed twice")
                    found[key] = group["reason"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"cannot read {path}: {error}; it is a list of groups of reason, cases, decisions"
        ) from error
    return found


def audit_case(case: Case, golden: Path = GOLDEN) -> CaseAudit:
    """Every decision of one capture; raises SpecError where it cannot be read whole."""
    run, tolerance = (
        read_run(case.expected_dir(golden), case.model_id.split("/")[-1]),
        by_name(case.tolerance),
    )
    tables = {
        kind: check_table(run.table_name(kind), kind, table) for kind, table in run.tables.items()
    }
    broken = [*run.findings, *(violation for found, _ in tables.values() for violation in found)]
    if run.document is None or PURE not in run.tables or broken:
        raise SpecError(
            f"cannot audit case {case.name}: {next(iter(broken), 'a file is missing')}; see spec validate"
        )
    rows = {kind: typed for kind, (_, typed) in tables.items()}
    rules = rules_of(case, rows[PURE])
    last = [row for row in rows[PURE] if row.where == POS][-1]
    decisions = [*row_decisions(case.name, tolerance, rows, rules)]
    decisions += document_decisions(case.name, tolerance, run.document, last)
    return CaseAudit(
        case.name,
        case.tolerance,
        tuple(decisions),
        sum(unseen(run, tolerance, rows)),
        min(gaps(decisions), default=(1.0, "")),
        min(
            (d, f"{kind}, {row.name}")
            for kind in pure(rows)
            for row in rows[kind]
            for d in distances(row, rules)
        ),
    )


def rules_of(case: Case, rows: Sequence[Row]) -> Rules:
    options = {**DEFAULTS, **case.args}
    return Rules(
        options["copy_threshold"],
        options["copy_margin"],
        {**milestones(rows), **layers_of_control(rows)},
    )


def layers_of_control(rows: Sequence[Row]) -> dict[str, int | None]:
    layer: Any = control(rows)["first_control_margin_pos"]
    return {"first_control_margin_pos": layer}


def pure(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    return [kind for kind in rows if kind.startswith(PURE)]


def wide_lists(kind: str, rows: Mapping[str, Sequence[Row]]) -> dict[tuple[Any, ...], list[float]]:
    """The longer lists that the records hold of rows of a pure-next-token table, by the row's key."""
    records = rows.get(kind.replace(PURE, RECORDS), [])
    return {(*row.where, row["layer"], row["pos"]): row.probabilities for row in records}


def wide_of(row: Row, lists: Mapping[tuple[Any, ...], list[float]]) -> list[float]:
    return lists.get((*row.where, row["layer"], row["pos"]), row.probabilities)


def row_decisions(
    case: str, tolerance: Tolerance, rows: Mapping[str, Sequence[Row]], rules: Rules
) -> Iterator[Decision]:
    """The decisions of all tables. Milestones are read off the norm lens's table only."""
    for kind, found in rows.items():
        lists = wide_lists(kind, rows) if kind in pure(rows) else {}
        for row in found:
            place = Place(case, kind, row.name, tolerance)
            yield from orders(place, row.probabilities)
            if kind in pure(rows):
                wide = wide_of(row, lists)
                yield from membership(place, row.probabilities, wide)
                yield from collapses(place, row, rules)
                yield from ranks(place, row, wide, rules)
            if kind == PURE:
                yield from first_layers(place, row, rules)


def unseen(run: Run, tolerance: Tolerance, rows: Mapping[str, Sequence[Row]]) -> Iterator[bool]:
    """For each answer rank, whether a neighbour that makes it is not listed anywhere."""
    vocabulary = int((run.document or {})["model_stats"]["d_vocab"])
    for kind in pure(rows):
        lists = wide_lists(kind, rows)
        for row in rows[kind]:
            moves = tolerance.rank_moves(row["answer_rank"] or 1)
            yield rank_unseen(row, wide_of(row, lists), moves, vocabulary)


def gaps(decisions: Sequence[Decision]) -> Iterator[tuple[float, str]]:
    """Relative gaps of listed neighbours, forgiven ties included."""
    for d in decisions:
        if d.name.startswith("order of ") and d.value > 0:
            yield (d.value - d.threshold) / d.value, f"{d.file}, {d.row}, {d.name}"
