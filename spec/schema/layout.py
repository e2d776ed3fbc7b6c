"""What a run has beyond the contract: further columns, keys and files. They are split off, and the rest is judged.

run.py lives on: a later one writes more than that of `BASE`. `LATER` names what its layouts added, by date.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from ..runs.csv_dialect import Table
from ..runs.json_text import layout
from ..runs.listing import DOCUMENT_PART, part_of
from ..runs.places import dotted
from ..runs.run import PURE, RECORDS, Run
from ..runs.values import lookup
from .cells import expected_columns
from .document import CORRECTED_DOCUMENT, DOCUMENT, Items, suite_document
from .rules import Violation
from .validate import validate

BASE = "2025-09-06"
NAMED = 3  # the most names that the line has of each kind
BUILT_IN = frozenset({"pos/orig", "pos/no_filler", "ctl/orig"})
Steps = tuple[str, ...]


@dataclass(frozen=True)
class Additions:
    """Columns by table kind, paths of JSON keys, passes and files that a run has beyond the contract."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.columns or self.keys or self.passes or self.files)

    @property
    def layout(self) -> str:
        """The earliest layout that has every column, key and file of this run; "" where none has, or it has nothing."""
        if not (self.columns or self.keys or self.files):
            return ""
        return next((date for date, known in later_layouts().items() if known.holds(self)), "")

    def __str__(self) -> str:
        """One line: `a later layout: 28 columns, 12 keys, 8 files more than 2025-09-06`."""
        parts = (
            ([name for names in self.columns.values() for name in names], "column"),
            (self.keys, "key"),
            (self.passes, "pass"),
            (self.files, "file"),
        )
        more = ", ".join(counted(names, what) for names, what in parts if names)
        named = f"the layout of {self.layout}" if self.layout else "a later layout"
        return f"{named}: {more} more than {BASE}"


def counted(names: Sequence[str], noun: str) -> str:
    """How many there are, and which where they are few."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    count = f"{len(names)} {noun if len(names) == 1 else plural}"
    return f"{count} ({', '.join(names)})" if len(names) <= NAMED else count


@dataclass(frozen=True)
class Layout:
    """What run.py wrote on a date beyond `BASE`: columns of both table kinds, upper keys, the endings of files.

    `replaced` are rules that it keeps no longer: the rule, and the table kind or the JSON key.
    """

    columns: Mapping[str, frozenset[str]]
    keys: frozenset[str]
    files: frozenset[str]
    replaced: frozenset[tuple[str, str]]

    def holds(self, additions: Additions) -> bool:
        """Whether the layout has all that a run has beyond the contract."""
        columns = all(
            self.columns.get(PURE if kind.startswith(PURE) else RECORDS, frozenset()) >= set(names)
            for kind, names in additions.columns.items()
        )
        keys = all(
            any(key == k or key.startswith(f"{k}.") for k in self.keys) for key in additions.keys
        )
        files = all(any(file.endswith(end) for end in self.files) for file in additions.files)
        return columns and keys and files


@cache
def later_layouts() -> dict[str, Layout]:
    """The layouts of layouts.json by date, each with all that the earlier ones added."""
    added = json.loads(resources.files(__package__).joinpath("layouts.json").read_text("utf-8"))
    layouts: dict[str, Layout] = {}
    columns: dict[str, frozenset[str]] = {}
    keys: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    replaced: frozenset[tuple[str, str]] = frozenset()
    for date, delta in added.items():
        for kind, names in delta.get("columns", {}).items():
            columns = {**columns, kind: columns.get(kind, frozenset()) | set(names)}
        keys |= set(delta.get("keys", ()))
        files |= set(delta.get("files", ()))
        replaced |= {(rule, what) for rule, what in delta.get("replaced", ())}
        layouts[date] = Layout(columns, keys, files, replaced)
    return layouts


@dataclass(frozen=True)
class Judged:
    """A run by the schema: the rules that it breaks, and what it has beyond the contract.

    `replaced` counts the places where it keeps a later layout instead of a rule.
    """

    violations: tuple[Violation, ...]
    additions: Additions
    replaced: int

    @property
    def sentence(self) -> str:
        """What the run has beyond the contract, in one line; "" where it has nothing."""
        if not self.additions:
            return ""
        places = f", {self.replaced:,} places by its own rules" if self.replaced else ""
        return f"{self.additions}{places}"


def judge_run(run: Run) -> Judged:
    """Judge what the contract knows of a run, and by the rules that its layout keeps."""
    known, additions = split_additions(run)
    violations = validate(known)
    layouts = later_layouts()
    if additions.layout not in layouts:
        return Judged(tuple(violations), additions, 0)
    replaced = layouts[additions.layout].replaced
    left = tuple(v for v in violations if (v.rule.value, subject(v)) not in replaced)
    return Judged(left, additions, len(violations) - len(left))


def subject(violation: Violation) -> str:
    """The table kind of a violation, or its JSON key."""
    part = part_of(violation.place.file)
    return dotted(violation.place.path) if part == DOCUMENT_PART else part


def split_additions(run: Run) -> tuple[Run, Additions]:
    """The run without what the contract does not know, and that."""
    columns, tables = {}, {}
    own = isinstance(lookup(run.document, "passes"), list)
    passes: dict[str, None] = {}
    for kind, table in run.tables.items():
        known_rows, names = (table, ()) if own else known_passes(table)
        passes |= dict.fromkeys(names)
        tables[kind], further = known_columns(known_rows, expected_columns(kind))
        if further:
            columns[kind] = further
    document = run.document
    keys: list[str] = []
    if document is not None:
        document = known_keys((), document, shape_of(document), keys)
    same = run.document is not None and layout(run.document) == run.document_text
    text = layout(document) if same and keys else run.document_text
    files = tuple(file for file in run.strays if not file.startswith("."))
    known = replace(run, tables=tables, document=document, document_text=text, strays=())
    return known, Additions(columns, tuple(keys), tuple(passes), files)


def shape_of(document: Mapping[str, Any]) -> Any:
    """The shape of a document of its contract."""
    corrected = lookup(document, "contract") == "corrected"
    if isinstance(lookup(document, "passes"), list):
        return suite_document(corrected)
    return CORRECTED_DOCUMENT if corrected else DOCUMENT


def known_passes(table: Table) -> tuple[Table, list[str]]:
    """The table without the rows of passes that the contract does not know, and the names of these passes.

    Where a table has facts, the contract's passes are those of the first.
    """
    if not {"prompt_id", "prompt_variant"} <= table.places.keys():
        return table, []
    names = [pass_of(table, row) for row in range(len(table.rows))]
    kept = [row for row, name in enumerate(names) if name in BUILT_IN]
    if len(kept) == len(names):
        return table, []
    further = dict.fromkeys(name for name in names if name not in BUILT_IN)
    rows, sources = (tuple(cells[row] for row in kept) for cells in (table.rows, table.sources))
    return replace(table, rows=rows, sources=sources), list(further)


def pass_of(table: Table, row: int) -> str:
    """Prompt and variant of a row, before them the fact where it is not the first."""
    name = "/".join(table.column(column, row) for column in ("prompt_id", "prompt_variant"))
    fact = table.column("fact_index", row)
    return name if fact in ("", "0") else f"fact {fact} {name}"


def known_columns(table: Table, expected: Sequence[str]) -> tuple[Table, tuple[str, ...]]:
    """The table without the columns that the contract does not know, and their names."""
    further = tuple(name for name in table.header if name not in expected)
    if not further:
        return table, ()
    kept = [i for i, name in enumerate(table.header) if name in expected]

    def cells(row: Sequence[str]) -> tuple[str, ...]:
        return (*(row[i] for i in kept if i < len(row)), *row[len(table.header) :])

    reduced = replace(
        table,
        header=cells(table.header),
        rows=tuple(map(cells, table.rows)),
        sources=tuple(map(cells, table.sources)),
        head=cells(table.head) if table.head else (),
    )
    return reduced, further


def known_keys(path: Steps, value: Any, shape: Any, further: list[str]) -> Any:
    """The value without keys that its shape does not have; their paths go to `further`."""
    if isinstance(shape, tuple):
        holds_list = isinstance(shape[0], Items) == isinstance(value, list)
        shape = shape[0] if holds_list else shape[1]
    if isinstance(shape, Items) and isinstance(value, list):
        return [known_keys((*path, "[]"), item, shape.item, further) for item in value]
    if not (isinstance(shape, Mapping) and isinstance(value, Mapping)):
        return value
    names = [dotted((*path, name)) for name in value if name not in shape]
    further += [name for name in names if name not in further]
    return {
        name: known_keys((*path, name), inner, shape[name], further)
        for name, inner in value.items()
        if name in shape
    }
