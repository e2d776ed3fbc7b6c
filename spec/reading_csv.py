"""CSV text ↔ cells, in the one dialect that run.py writes.

`,` separates, `"` quotes minimally and doubles inside quotes, a backslash is doubled everywhere, `\\n` ends a line.
Minimal means: only a cell with `,` `"` or a line feed is quoted; a bare carriage return is not (R5), so lines are split
on line feeds outside quotes only. Python's csv module splits on the carriage return too, hence this parser.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

Cells = tuple[str, ...]


class CsvError(ValueError):
    """The text is not in the dialect; the message names the line and what is wrong."""


@dataclass(frozen=True)
class Table:
    """A CSV file: header, rows of decoded cells, and the same rows as written. Rows may be ragged."""

    header: Cells
    rows: tuple[Cells, ...]
    sources: tuple[Cells, ...]
    complete: bool  # the last line ends with a line feed
    corrected: bool = False  # the dialect of the corrected contract

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.sources):
            raise ValueError(
                f"a table needs one source per row, got {len(self.rows)} rows and {len(self.sources)} "
                "sources; build it with parse()"
            )

    def column(self, name: str, row: int) -> str:
        """The cell of a named column, empty where the row is too short or the header lacks the column."""
        index = self.header.index(name) if name in self.header else len(self.rows[row])
        return self.rows[row][index] if index < len(self.rows[row]) else ""


def encode(cell: str) -> str:
    """A decoded cell as the dialect writes it."""
    return quoted(cell) if any(c in cell for c in ',"\n') else cell.replace("\\", "\\\\")


def quoted(cell: str) -> str:
    """A decoded cell in quotes."""
    return '"' + cell.replace("\\", "\\\\").replace('"', '""') + '"'


def decode(source: str) -> str:
    """The text of one written cell."""
    quoted = source.startswith('"')
    body = source[1:-1].replace('""', '"') if quoted else source
    parts = body.split("\\\\")
    return "\\".join(part.replace("\\", "") for part in parts)


def cell_end(text: str, start: int, line: int) -> int:
    """Index just behind the cell that starts at `start`: of a `,`, a line feed or the end of the text."""
    quoted = text.startswith('"', start)
    at = start + quoted
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 2
        elif quoted and char == '"':
            if text.startswith('"', at + 1):
                at += 2
                continue
            if at + 1 < len(text) and text[at + 1] not in ",\n":
                raise CsvError(
                    f"line {line}: text follows a closing quote; quote the whole cell or double the quote"
                )
            return at + 1
        elif not quoted and char in ",\n":
            return at
        else:
            at += 1
    if quoted or at > len(text):
        raise CsvError(
            f"line {line}: the file ends inside a quoted or escaped cell; it was cut off"
        )
    return at


def source_lines(text: str) -> Iterator[Cells]:
    """The written cells of each line."""
    at, line = 0, 1
    while at < len(text):
        cells = []
        while True:
            end = cell_end(text, at, line)
            cells.append(text[at:end])
            at = end + 1
            if end == len(text) or text[end] == "\n":
                break
        yield tuple(cells)
        line += 1


def parse_corrected(text: str) -> Table:
    """Read a file of the corrected contract: the dialect of csv; what begins with a quote is a JSON string.

    Raises CsvError where it is empty or such a cell is no JSON string.
    """
    lines = [tuple(line) for line in csv.reader(io.StringIO(text, newline=""), strict=True)]
    if not lines:
        raise CsvError("the file is empty; it needs a header line")
    try:
        decoded = [tuple(json.loads(c) if c.startswith('"') else c for c in line) for line in lines]
    except ValueError as error:
        raise CsvError(
            f"a cell begins with a quote but is no JSON string: {error}; write it with json.dumps"
        ) from error
    return Table(
        decoded[0], tuple(decoded[1:]), tuple(lines[1:]), text.endswith("\n"), corrected=True
    )


def parse(text: str) -> Table:
    """Read a whole file; raises CsvError where it is empty, cut off inside a cell, or not in the dialect."""
    lines = tuple(source_lines(text))
    if not lines:
        raise CsvError("the file is empty; it needs a header line")
    decoded = tuple(tuple(decode(source) for source in line) for line in lines)
    return Table(decoded[0], decoded[1:], lines[1:], text.endswith("\n"))
