"""The column that a mismatch or a statistic counts for, over all files of one kind."""

from typing import NamedTuple

from ..runs.columns import without_numbers
from ..runs.listing import part_of
from ..runs.places import dotted, steps_of
from .kinds import BYTEWISE, WHOLE_ROW
from .recorder import Mismatch

Steps = tuple[
    str, ...
]  # of a JSON value: its keys, and ITEM for a list index; of a table: the column
CONTENT = "content"  # the column of a file that is compared by its bytes
ROW = "row"  # the column of a row as a whole


class Column(NamedTuple):
    """A column of a kind of file: a table kind, `json`, `residual`, the name of another file, or `run`.

    It has no steps where it is the file as a whole.
    """

    part: str
    steps: Steps = ()

    @property
    def name(self) -> str:
        return dotted(self.steps)

    def __str__(self) -> str:
        return f"{self.part}: {self.name}" if self.steps else self.part


def column_of(mismatch: Mismatch) -> Column:
    """The column that a mismatch counts for, a JSON value by its whole path."""
    place, part = mismatch.place, part_of(mismatch.place.file)
    if mismatch.kind in BYTEWISE:
        return Column(part, (CONTENT,))
    if place.path:
        return Column(part, steps_of(place.path))
    if mismatch.kind in WHOLE_ROW:
        return Column(part, (ROW,))
    return Column(part, (without_numbers(place.column),) if place.column else ())
