"""The place of a value in a run: one frozen Place for table cells, JSON values, tensor elements, lines and bytes.

Comparison, schema and report pass Places; their text is made here, for printing only, and no code parses it.
"""

from dataclasses import dataclass
from enum import StrEnum

Path = tuple[str | int, ...]  # of a JSON value: keys and list indices
ITEM = "[]"  # any list index, in the steps of a column


def dotted(path: Path) -> str:
    """A path as text: `passes[2].control`."""
    return "".join(
        part if part == ITEM else f"[{part}]" if isinstance(part, int) else f".{part}"
        for part in path
    ).lstrip(".")


def steps_of(path: Path) -> tuple[str, ...]:
    """The path with ITEM in place of each list index: the column that statistics are counted for."""
    return tuple(ITEM if isinstance(part, int) else part for part in path)


@dataclass(frozen=True, slots=True)
class TableRow:
    """The key of a table's row, cells as written. `repetition` counts rows of one key from 1.

    `pos`, `lens`, `against` and `fact_index` are None where the table has no such column.
    """

    prompt_id: str
    prompt_variant: str
    layer: str
    pos: str | None = None
    lens: str | None = None
    against: str | None = None
    fact_index: str | None = None
    repetition: int = 1

    @property
    def pass_name(self) -> str:
        """Prompt and variant, such as `pos/orig`."""
        return f"{self.prompt_id}/{self.prompt_variant}"

    @property
    def layer_index(self) -> int | None:
        """The layer as a number, None where the cell holds no index."""
        return int(self.layer) if self.layer.isdecimal() else None

    def __str__(self) -> str:
        further = (
            ("pos", self.pos),
            ("lens", self.lens),
            ("against", self.against),
            ("fact_index", self.fact_index),
        )
        cells = "".join(f" {name} {cell}" for name, cell in further if cell is not None)
        repeated = f" #{self.repetition}" if self.repetition > 1 else ""
        return f"{self.pass_name} layer {self.layer}{cells}{repeated}"


@dataclass(frozen=True, slots=True)
class NamedRow:
    """The row of a table that the contract does not know: its key cells by column; rows without a key come by order.

    `repetition` counts rows of one key from 1.
    """

    cells: tuple[tuple[str, str], ...] = ()
    repetition: int = 1

    @property
    def pass_name(self) -> str:
        """Prompt and variant as far as the table has them, such as `pos/orig`."""
        cells = dict(self.cells)
        named = (cells.get(name, "") for name in ("prompt_id", "prompt_variant"))
        return "/".join(filter(None, named))

    @property
    def layer_index(self) -> int | None:
        """The layer as a number, None where the table has none or the cell holds no index."""
        layer = dict(self.cells).get("layer", "")
        return int(layer) if layer.isdecimal() else None

    def __str__(self) -> str:
        named = " ".join(f"{name} {cell}" for name, cell in self.cells)
        number = f"row {self.repetition}" if not named else f"#{self.repetition}"
        return f"{named} {number}".strip() if self.repetition > 1 or not named else named


@dataclass(frozen=True, slots=True)
class PassRows:
    """All rows of a pass."""

    name: str

    def __str__(self) -> str:
        return f"pass {self.name}"


@dataclass(frozen=True, slots=True)
class JsonItem:
    """An object or list item of a document."""

    path: Path

    def __str__(self) -> str:
        return dotted(self.path) or "top level"


@dataclass(frozen=True, slots=True)
class Element:
    """A component of the residual at a position."""

    pos: int
    component: int

    def __str__(self) -> str:
        return f"pos {self.pos} component {self.component}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a text file, from 1."""

    number: int

    def __str__(self) -> str:
        return f"line {self.number}"


@dataclass(frozen=True, slots=True)
class Byte:
    """A byte of a file, from 0."""

    offset: int

    def __str__(self) -> str:
        return f"byte {self.offset}"


class FilePart(StrEnum):
    """A line of a table that is no row."""

    HEADER = "header"
    LAST_LINE = "last line"


Row = TableRow | NamedRow
Spot = Row | PassRows | JsonItem | Element | Line | Byte | FilePart


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a value in a run. Without a file it is the run as a whole, without a spot the file.

    `column` is the column of a table, or a property of a file: layout, end, dtype, shape, value.
    `key` is the path of a JSON value from `spot`, or from the top of the document where there is no spot.
    """

    file: str = ""
    spot: Spot | None = None
    column: str = ""
    key: Path = ()

    def __post_init__(self) -> None:
        if self.column and self.key:
            raise ValueError(
                f"a place has a column or a JSON key, got {self.column!r} and {self.key}; give one"
            )

    @property
    def path(self) -> Path:
        """The whole path of a JSON value, empty in any other file."""
        return (*self.spot.path, *self.key) if isinstance(self.spot, JsonItem) else self.key

    @property
    def name(self) -> str:
        """The column or the last key: the name by which the quantity is known."""
        last = self.key[-1] if self.key else self.column
        return last if isinstance(last, str) else ""

    @property
    def row_text(self) -> str:
        """The spot as printed."""
        return "" if self.spot is None else str(self.spot)

    @property
    def column_text(self) -> str:
        """The column or key as printed."""
        return dotted(self.key) if self.key else self.column

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.file, self.row_text, self.column_text)))

    def texts(self) -> dict[str, str]:
        """File, row and column as text: the keys that JSON reports have."""
        return {"file": self.file, "row": self.row_text, "column": self.column_text}


def at_path(file: str, path: Path) -> Place:
    """The place of a JSON value: its spot is the last list item on the way to it, if there is one."""
    last = max((i for i, part in enumerate(path) if isinstance(part, int)), default=-1)
    spot = JsonItem(path[: last + 1]) if last >= 0 else None
    return Place(file, spot, key=path[last + 1 :])
