"""The cells of a CSV table: header, width, dialect, types. Yields violations and the rows it could type."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from types import MappingProxyType
from typing import Any

from ..runs import columns
from ..runs.csv_dialect import Table, encode, quoted
from ..runs.places import FilePart, Place, TableRow
from ..runs.run import AGREEMENT, ANSWERS, PURE
from ..runs.values import is_float, is_integer, table_rows
from .rules import Rule, Violation

NEXT = "⟨NEXT⟩"
PassKey = tuple[str, str]  # prompt id and variant
OPTIONAL = frozenset({"p_answer", "answer_rank", "control_margin", *columns.PAIR_COLUMNS})


@dataclass(frozen=True)
class Row:
    """A row whose cells all have their type: str, int, bool, float, or None where an optional cell is empty."""

    file: str
    key: TableRow
    cells: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", MappingProxyType(dict(self.cells)))

    def __getitem__(self, column: str) -> Any:
        return self.cells[column]

    def broken(self, column: str, rule: Rule) -> Violation:
        """The violation of a rule by one of the row's cells."""
        value = self.cells.get(column)
        text = "an empty cell" if value is None else repr(value)
        return Violation(Place(self.file, self.key, column), rule, text)

    @property
    def name(self) -> str:
        """The row's key as printed."""
        return str(self.key)

    @property
    def where(self) -> PassKey:
        """Prompt id and variant."""
        return self["prompt_id"], self["prompt_variant"]

    @property
    def probabilities(self) -> list[float]:
        """The listed probabilities, without padding."""
        listed = [self[f"prob{i}"] for i in range(1, columns.TOP_PAIRS + 1)]
        return [p for p in listed if p is not None]


def expected_columns(kind: str) -> tuple[str, ...]:
    further = {AGREEMENT: columns.AGREEMENT_COLUMNS, ANSWERS: columns.ANSWER_COLUMNS}
    return further.get(
        kind, columns.PURE_COLUMNS if kind.startswith(PURE) else columns.RECORD_COLUMNS
    )


def check_table(file: str, kind: str, table: Table) -> tuple[list[Violation], list[Row]]:
    """Violations of form, and the rows that could be typed. A wrong header leaves no rows to judge."""
    violations = check_form(file, table)
    columns_of_kind = expected_columns(kind)
    if table.header != columns_of_kind:
        return [*violations, header_violation(file, columns_of_kind, table.header)], []
    rows = []
    for key, index in table_rows(table).items():
        row_violations, cells = check_row(Place(file, key), table, index)
        violations += row_violations
        if not row_violations:
            rows.append(Row(file, key, cells))
    if kind.startswith(PURE):
        violations += [row.broken("token", Rule.CELL_FIXED) for row in rows if row["token"] != NEXT]
    return violations, rows


def check_form(file: str, table: Table) -> list[Violation]:
    """The end of the last line, and the line ends and quotes of the whole file."""
    violations = []
    if not table.complete:
        place = Place(file, FilePart.LAST_LINE)
        violations.append(Violation(place, Rule.CSV_END, "no line feed"))
    if not table.regular:
        text = "line ends or quotes that csv does not write"
        violations.append(Violation(Place(file), Rule.CSV_DIALECT, text))
    return violations


def header_violation(file: str, expected: tuple[str, ...], header: tuple[str, ...]) -> Violation:
    """The first column that is not the expected one."""
    # strict=False: one header may be longer
    pairs = enumerate(zip(expected, header, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(header)))
    names = [names[at] if at < len(names) else "nothing" for names in (expected, header)]
    return Violation(Place(file, FilePart.HEADER, names[0]), Rule.CSV_HEADER, names[1])


def check_row(place: Place, table: Table, index: int) -> tuple[list[Violation], dict[str, Any]]:
    """The violations of form of the row at a place, and its typed cells.

    A carriage return may stand bare, as csv of Python ≤ 3.12 writes it (R5), or quoted, as from 3.13 on.
    """
    texts, sources = table.rows[index], table.sources[index]
    if len(texts) != len(table.header):
        widths = f"{len(texts)} cells for {len(table.header)} columns"
        return [Violation(place, Rule.CSV_WIDTH, widths)], {}
    violations, cells = [], {}
    for column, text, source in zip(table.header, texts, sources, strict=True):
        cell = replace(place, column=column)
        either = "\r" in text and source == quoted(text)
        if not table.corrected and source != encode(text) and not either:
            violations.append(Violation(cell, Rule.CSV_DIALECT, repr(source)))
        try:
            cells[column] = typed(column, text)
        except ValueError:
            written = repr(text) if text else "an empty cell"
            violations.append(Violation(cell, Rule.CELL_TYPE, written))
    return violations, cells


def typed(column: str, text: str) -> Any:
    """The value of a cell; raises ValueError where the text is not of the column's type."""
    kind = columns.quantity(column)
    if kind == columns.TEXT:
        return text
    if not text:
        if column not in OPTIONAL:
            raise ValueError(f"{column} must not be empty; write a value")
        return None
    if kind == columns.FLAG and text in ("True", "False"):
        return text == "True"
    if kind in (columns.INTEGER, columns.RANK) and is_integer(text):
        number = int(text)
        if column == "layer" and number > columns.MOST_LAYERS:
            raise ValueError(f"layers are at most {columns.MOST_LAYERS}, got {text}; correct it")
        return number
    if kind in columns.FLOATS and is_float(text) and isfinite(float(text)):
        return float(text)
    raise ValueError(f"{column} holds a {kind}, got {text!r}; write it as Python does")
