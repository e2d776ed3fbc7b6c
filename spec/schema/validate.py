"""validate(run) → violations: the contract held against one run directory, without a golden to compare with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..runs.run import AGREEMENT, ANSWERS, PURE, RECORDS, Run
from ..runs.values import row_names
from .blocks import check_gold, check_prism, check_raw_lens, check_residuals
from .cells import Row, check_table
from .further_tables import check_further
from .json_values import check_document
from .row_order import check_order, last_positions
from .rows import DocumentContext, check_list, check_metrics, check_ranges
from .rules import RULES, Violation
from .suite import built_in_passes, check_suite, own_passes
from .summaries import check_summaries

__all__ = ["RULES", "Violation", "validate"]


def validate(run: Run) -> list[Violation]:
    """Every rule that the run breaks, and where. Cross-file rules apply once the document has its shape."""
    facts = facts_of(run.document)
    violations = check_files(run)
    tables: dict[str, list[Row]] = {}
    for kind, table in run.tables.items():
        found, tables[kind] = check_table(run.table_name(kind), kind, table)
        violations += found
    violations += check_rows(run, tables, facts)
    if run.document is not None:
        shape = check_document(run, run.document, facts)
        violations += shape
        if all(violation.rule == "json.layout" for violation in shape):
            violations += check_across(run, run.document, tables)
    return violations


def check_files(run: Run) -> list[Violation]:
    """Files that must exist, that cannot be read, that belong to no run."""
    required = (run.document_name, run.table_name(RECORDS), run.table_name(PURE))
    return [
        *(Violation(f.file, "", "", "file.readable", f.sentence) for f in run.findings),
        *(
            Violation(f, "", "", "file.missing", "no such file")
            for f in required
            if f not in run.files
        ),
        *(
            Violation(f, "", "", "file.stray", "a file of no run")
            for f in run.strays
            if not f.startswith(".") and "/" not in f
        ),
    ]


def lookup(document: Mapping[str, Any] | None, *path: str) -> Any:
    """A value of a document of any shape, None where there is none."""
    found: Any = document
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def facts_of(document: Mapping[str, Any] | None) -> DocumentContext:
    """What the tables need to know of the document; whatever is missing or of another type stays unknown."""
    own = isinstance(lookup(document, "passes"), list)
    stats = [lookup(document, "model_stats", name) for name in ("d_vocab", "num_layers")]
    vocabulary, layers = (value if type(value) is int and value > 0 else None for value in stats)
    threshold = lookup(document, "diagnostics", "copy_thresh")
    threshold = threshold if isinstance(threshold, float) else None
    passes = own_passes(document) if own else built_in_passes(document)
    found = DocumentContext(
        vocabulary, layers, threshold, passes, lookup(document, "contract") == "corrected", own=own
    )
    return (
        replace(found, keywords=tuple(map(str, lookup(document, "keywords") or ())))
        if own
        else found
    )


def check_rows(
    run: Run, tables: Mapping[str, list[Row]], facts: DocumentContext
) -> list[Violation]:
    """Order and contents of the rows of every table."""
    violations: list[Violation] = []
    ends = last_positions(tables)
    n = (
        facts.layers
        if facts.layers is not None
        else max((r["layer"] for t in tables.values() for r in t), default=0)
    )
    for kind, rows in tables.items():
        if kind in (AGREEMENT, ANSWERS):
            violations += check_further(run, kind, tables, facts, n)
            continue
        if ends and (rows or (facts.own and kind in tables)):
            names = row_names(run.tables[kind])
            violations += check_order(run.table_name(kind), kind, rows, names, n, facts, ends)
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
        first = next((w for w, told in own_passes(document).items() if told.detailed), None)
        violations = [*check_prism(run, document), *check_suite(file, document, rows)]
        return violations + (
            list(check_residuals(run, document, ends[first] + 1)) if first in ends else []
        )
    violations = [*check_gold(file, document), *check_prism(run, document)]
    if ("pos", "orig") in ends:
        violations += check_residuals(run, document, ends["pos", "orig"] + 1)
    if rows and len(rows) == len(run.tables[PURE].rows):
        violations += [
            *check_summaries(file, document, rows),
            *check_raw_lens(file, document, rows),
        ]
    return violations
