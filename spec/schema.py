"""validate(run) → violations: the contract held against one run directory, without a golden to compare with."""

from collections.abc import Mapping
from typing import Any

from .compare_tables import row_names
from .reading import PURE, RECORDS, Run
from .schema_blocks import check_gold, check_prism, check_raw_lens, check_residuals
from .schema_cross import check_summaries
from .schema_csv import Row, check_table
from .schema_json import check_document
from .schema_order import check_order, last_position
from .schema_rows import Facts, check_list, check_metrics, check_ranges
from .schema_rules import RULES, Violation

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
        *(Violation(f, "", "", "file.missing", "no such file") for f in required if f not in run.files),
        *(Violation(f, "", "", "file.stray", "a file of no run") for f in run.strays),
    ]


def lookup(document: Mapping[str, Any] | None, *path: str) -> Any:
    """A value of a document of any shape, None where there is none."""
    found: Any = document
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def facts_of(document: Mapping[str, Any] | None) -> Facts:
    """What the tables need to know of the document; whatever is missing or of another type stays unknown."""
    stats = [lookup(document, "model_stats", name) for name in ("d_vocab", "num_layers")]
    vocabulary, layers = (value if type(value) is int and value > 0 else None for value in stats)
    threshold = lookup(document, "diagnostics", "copy_thresh")
    golds = [lookup(document, "gold_answer"), lookup(document, "control_prompt", "gold_answer")]
    ids = [gold["first_id"] for gold in golds if isinstance(gold, Mapping) and "first_id" in gold]
    known = len(ids) == 2 and all(i is None or type(i) is int for i in ids)
    threshold = threshold if isinstance(threshold, float) else None
    corrected = lookup(document, "contract") == "corrected"
    return Facts(vocabulary, layers, threshold, (ids[0], ids[1]) if known else None, corrected)


def check_rows(run: Run, tables: Mapping[str, list[Row]], facts: Facts) -> list[Violation]:
    """Order and contents of the rows of every table."""
    violations: list[Violation] = []
    last = last_position(dict(tables))
    n = facts.layers if facts.layers is not None else max((r["layer"] for t in tables.values() for r in t), default=0)
    for kind, rows in tables.items():
        if rows and last is not None:
            names = row_names(run.tables[kind])
            violations += check_order(run.table_name(kind), kind, rows, names, n, last, run.corrected)
        pure = kind.startswith(PURE)
        for row in rows:
            violations += check_list(row, None if pure else last, facts)
            violations += check_ranges(row, facts)
            violations += check_metrics(row, facts) if pure else ()
    return violations


def check_across(run: Run, document: Mapping[str, Any], tables: Mapping[str, list[Row]]) -> list[Violation]:
    """Document against rows and files."""
    file, rows = run.document_name, tables.get(PURE, [])
    violations = [*check_gold(file, document), *check_prism(run, document)]
    last = last_position(dict(tables))
    if last is not None:
        violations += check_residuals(run, document, last + 1)
    if rows and len(rows) == len(run.tables[PURE].rows):
        violations += [*check_summaries(file, document, rows), *check_raw_lens(file, document, rows)]
    return violations
