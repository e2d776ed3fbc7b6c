"""Verdicts of the files of two runs, given how the runs differ."""

from pathlib import Path

from spec.compare.kinds import Kind
from spec.compare.recorder import Comparison, Mismatch
from spec.compare.verdicts import BROKEN, CHANGED, EQUAL, EXTENDED, file_verdicts
from spec.runs.places import Place
from spec.runs.run import Run


def test_the_verdict_of_a_file_is_that_of_the_kinds_of_its_mismatches() -> None:
    kinds = {
        "a.csv": (Kind.EXTRA_COLUMN,),
        "b.csv": (Kind.EXTRA_COLUMN, Kind.TEXT),
        "c.csv": (Kind.EXTRA_COLUMN, Kind.OBTAINED_RUN),
        "d.csv": (),
    }
    run = Run("x", files=frozenset(kinds), paths={file: Path("none") / file for file in kinds})
    mismatches = tuple(
        Mismatch(Place(file), "", "1", kind) for file, several in kinds.items() for kind in several
    )
    assert file_verdicts(run, run, Comparison(mismatches, ())) == {
        "a.csv": EXTENDED,
        "b.csv": CHANGED,
        "c.csv": BROKEN,
        "d.csv": EQUAL,
    }
