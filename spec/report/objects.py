"""Mismatches, violations and what else a report lists, as JSON objects; a float that is not finite becomes null."""

from math import isfinite
from typing import Any

from ..compare.diff import FileDiff
from ..compare.diff_columns import ColumnDiff, FirstDivergence, Note
from ..compare.diff_facts import Change
from ..compare.runs import Mismatch, Statistic
from ..runs.places import dotted
from ..schema.validate import Violation

Object = dict[str, Any]


def finite(value: float) -> float | None:
    """The value, None where it is not finite."""
    return value if isfinite(value) else None


def mismatch_object(mismatch: Mismatch) -> Object:
    return {
        **mismatch.place.texts(),
        "expected": mismatch.expected,
        "obtained": mismatch.obtained,
        "kind": mismatch.kind,
    }


def violation_object(violation: Violation) -> Object:
    return {
        **violation.place.texts(),
        "rule": violation.rule,
        "value": violation.value,
        "sentence": violation.sentence,
    }


def statistic_object(statistic: Statistic) -> Object:
    return {
        "file": statistic.file,
        "column": statistic.column,
        "compared": statistic.compared,
        "differing": statistic.differing,
        "worst_error": finite(statistic.worst_error),
        "worst_fraction": finite(statistic.worst_fraction),
        "worst_row": statistic.worst_row,
    }


def column_object(column: ColumnDiff) -> Object:
    return {
        "name": column.name,
        "compared": column.compared,
        "differing": column.differing,
        "beyond": column.beyond,
        "median_error": finite(column.median_error),
        "worst_error": finite(column.worst_error),
        "worst_fraction": finite(column.worst_fraction),
        "worst_row": column.worst_row,
        "layer": column.layer,
    }


def divergence_object(divergence: FirstDivergence) -> Object:
    return {
        "table": divergence.table,
        "where": divergence.pass_name,
        "first_difference": divergence.first_difference,
        "first_beyond": divergence.first_beyond,
        "column": divergence.column,
    }


def change_object(change: Change) -> Object:
    return {"name": change.name, "a": change.a, "b": change.b, "moved": change.moved}


def note_object(note: Note) -> Object:
    return {"file": note.file, "place": dotted(note.path), "a": note.a, "b": note.b}


def file_object(file: FileDiff) -> Object:
    return {
        "file": file.file,
        "verdict": file.verdict,
        "values": file.values,
        "mismatches": file.mismatches,
        "judged": file.judged,
        "notes": file.notes,
    }
