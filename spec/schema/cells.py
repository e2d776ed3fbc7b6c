"""The cells of a CSV table: header, width, dialect, types. Yields violations and the rows it could type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any

from ..runs import columns
from ..runs.csv_dialect import Table, encode, quoted
from ..runs.run import AGREEMENT, ANSWERS, PURE
from ..runs.values import is_float, is_integer, row_names
from .rules import Violation

NEXT = "⟨NEXT⟩"
OPTIONAL = frozenset({"p_answer", "answer_rank", "control_margin", *columns.PAIR_COLUMNS})


@dataclass(frozen=True)
class Row:
    """A row whose cells all have their type: str, int, bool, float, or None where an optional cell is empty."""

    file: str
    name: str
    cells: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", MappingProxyType(dict(self.cells)))

    def __getitem__(self, column: str) -> Any:
        return self.cells[column]

    def broken(self, column: str, rule: str) -> Violation:
        value = self.cells.get(column)
        return Violation(
            self.file, self.name, column, rule, "an empty cell" if value is None else repr(value)
        )

    @property
    def where(self) -> tuple[str, str]:
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
    violations = (
        [] if table.complete else [Violation(file, "last line", "", "csv.end", "no line feed")]
    )
    if not table.regular:
        told = "line ends or quotes that csv does not write"
        violations.append(Violation(file, "", "", "csv.dialect", told))
    wanted = expected_columns(kind)
    if table.header != wanted:
        at = next(
            (i for i, (a, b) in enumerate(zip(wanted, table.header)) if a != b),
            min(len(wanted), len(table.header)),
        )
        names = [header[at] if at < len(header) else "nothing" for header in (wanted, table.header)]
        return [*violations, Violation(file, "header", names[0], "csv.header", names[1])], []
    rows = []
    for name, index in row_names(table).items():
        found, cells = check_row(file, name, table, index)
        violations += found
        if not found:
            rows.append(Row(file, name, cells))
    if kind.startswith(PURE):
        violations += [row.broken("token", "cell.fixed") for row in rows if row["token"] != NEXT]
    return violations, rows


def check_row(
    file: str, name: str, table: Table, index: int
) -> tuple[list[Violation], dict[str, Any]]:
    """The typed cells of one row, and what is wrong with their form.

    A carriage return may stand bare, as csv of Python ≤ 3.12 writes it (R5), or quoted, as from 3.13 on.
    """
    texts, sources = table.rows[index], table.sources[index]
    if len(texts) != len(table.header):
        return [
            Violation(
                file, name, "", "csv.width", f"{len(texts)} cells for {len(table.header)} columns"
            )
        ], {}
    violations, cells = [], {}
    for column, text, source in zip(table.header, texts, sources):
        if (
            not table.corrected
            and source != encode(text)
            and not ("\r" in text and source == quoted(text))
        ):
            violations.append(Violation(file, name, column, "csv.dialect", repr(source)))
        try:
            cells[column] = typed(column, text)
        except ValueError:
            violations.append(
                Violation(file, name, column, "cell.type", repr(text) if text else "an empty cell")
            )
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
        return int(text)
    if kind in columns.FLOATS and is_float(text) and isfinite(float(text)):
        return float(text)
    raise ValueError(f"{column} holds a {kind}, got {text!r}; write it as Python does")
