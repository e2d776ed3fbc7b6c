"""validate(run) → violations: one run directory against the contract, without a golden to compare with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..runs.columns import MOST_LAYERS
from ..runs.places import Place
from ..runs.run import AGREEMENT, ANSWERS, PURE, RECORDS, Run
from ..runs.values import lookup, table_rows
from .battery import check_battery
from .blocks import check_gold, check_prism, check_raw_lens, check_residuals
from .cells import Row, check_table
from .further_tables import check_further
from .json_values import check_document
from .row_order import check_order, last_positions
from .rows import DocumentContext, check_list, check_metrics, check_ranges
from .rules import RULES, Rule, Violation
from .suite import built_in_passes, check_suite, own_passes
from .summaries import check_summaries

__all__ = ["RULES", "Rule", "Violation", "validate"]


def validate(run: Run) -> list[Violation]:
    """Every rule that the run breaks, and where. Cross-file rules apply once the document has its shape."""
    facts = facts_of(run.document)
    violations = check_files(run)
    tables: dict[str, list[Row]] = {}
    for kind, table in run.tables.items():
        form, tables[kind] = check_table(run.table_name(kind), kind, table)
        violations += form
    violations += check_rows(run, tables, facts)
    if run.document is not None:
        shape = check_document(run, run.document, facts)
        violations += shape
        if all(violation.rule == Rule.JSON_LAYOUT for violation in shape):
            violations += check_across(run, run.document, tables)
    return violations


def check_files(run: Run) -> list[Violation]:
    """Files that must exist, that cannot be read, that belong to no run."""
    required = (run.document_name, run.table_name(RECORDS), run.table_name(PURE))
    strays = [file for file in run.strays if not file.startswith(".") and "/" not in file]
    return [
        *(Violation(Place(f.file), Rule.FILE_READABLE, f.sentence) for f in run.findings),
        *(
            Violation(Place(file), Rule.FILE_MISSING, "no such file")
            for file in required
            if file not in run.files
        ),
        *(Violation(Place(file), Rule.FILE_STRAY, "a file of no run") for file in strays),
    ]


def facts_of(document: Mapping[str, Any] | None) -> DocumentContext:
    """The facts of the document that the tables need; a value that is missing or of another type stays unknown."""
    own = isinstance(lookup(document, "passes"), list)
    threshold = lookup(document, "diagnostics", "copy_thresh")
    layers = positive(lookup(document, "model_stats", "num_layers"))
    facts = DocumentContext(
        positive(lookup(document, "model_stats", "d_vocab")),
        layers if layers is not None and layers <= MOST_LAYERS else None,
        threshold if isinstance(threshold, float) else None,
        own_passes(document) if own else built_in_passes(document),
        lookup(document, "contract") == "corrected",
        own=own,
    )
    if not own:
        return facts
    return replace(facts, keywords=tuple(map(str, lookup(document, "keywords") or ())))


def positive(value: Any) -> int | None:
    """The value where it is an integer over 0."""
    return value if type(value) is int and value > 0 else None


def check_rows(
    run: Run, tables: Mapping[str, list[Row]], facts: DocumentContext
) -> list[Violation]:
    """Order and contents of the rows of every table."""
    violations: list[Violation] = []
    ends = last_positions(tables)
    n = facts.layers
    if n is None:
        n = max((row["layer"] for rows in tables.values() for row in rows), default=0)
    for kind, rows in tables.items():
        if kind in (AGREEMENT, ANSWERS):
            violations += check_further(run, kind, tables, facts, n)
            continue
        if ends and (rows or (facts.own and kind in tables)):
            written = table_rows(run.tables[kind])
            table = run.table_name(kind), kind
            violations += check_order(table, rows, written, n, facts, ends)
        pure = kind.startswith(PURE)
        for row in rows:
            violations += check_list(row, None if pure else ends.get(row.where), facts)
            violations += check_ranges(row, facts)
            violations += check_metrics(row, facts) if pure else ()
    return violations


def check_across(
    run: Run, document: Mapping[str, Any], tables: Mapping[str, list[Row]]
) -> list[Violation]:
    """Document against rows and files."""
    file, rows = run.document_name, tables.get(PURE, [])
    ends = last_positions(tables)
    if "passes" in document:
        violations = [*check_prism(run, document), *check_suite(file, document, rows)]
        violations += check_battery(run, document, tables)
        passes = own_passes(document).items()
        first = next((pass_key for pass_key, known in passes if known.has_records), None)
        if first in ends:
            violations += check_residuals(run, document, ends[first] + 1)
        return violations
    violations = [*check_gold(file, document), *check_prism(run, document)]
    if ("pos", "orig") in ends:
        violations += check_residuals(run, document, ends["pos", "orig"] + 1)
    if rows and len(rows) == len(run.tables[PURE].rows):
        violations += [
            *check_summaries(file, document, rows),
            *check_raw_lens(file, document, rows),
        ]
    return violations
