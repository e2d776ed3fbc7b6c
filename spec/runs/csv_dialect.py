"""CSV text ↔ cells, in the one dialect that run.py writes.

`,` separates, `"` quotes minimally and doubles inside quotes, a backslash is doubled everywhere, `\\n` ends a line.
Minimal means: only a cell with `,` `"` or a line feed is quoted; a bare carriage return is not (R5), so lines are split
on line feeds outside quotes only. Python's csv module splits on the carriage return too, hence this parser.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

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
    head: Cells = ()  # the header as written
    regular: bool = True  # corrected: line ends and quotes are those that csv writes

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.sources):
            raise ValueError(
                f"a table needs one source per row, got {len(self.rows)} rows and {len(self.sources)} "
                "sources; build it with parse()"
            )

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each column, the first where several have one name."""
        return {name: i for i, name in reversed([*enumerate(self.header)])}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The header with each name once."""
        return tuple(numbered(self.header))

    def column(self, name: str, row: int) -> str:
        """The cell of a named column, empty where the row is too short or the header lacks the column."""
        index, cells = self.places.get(name, -1), self.rows[row]
        return cells[index] if 0 <= index < len(cells) else ""


def numbered(names: Iterable[str]) -> list[str]:
    """The names, each only once: a repeated name gets a number."""
    times: Counter[str] = Counter()
    unique: dict[str, None] = {}
    for name in names:
        times[name] += 1
        candidate = name if times[name] == 1 else f"{name} #{times[name]}"
        while candidate in unique:
            times[name] += 1
            candidate = f"{name} #{times[name]}"
        unique[candidate] = None
    return list(unique)


def encode(cell: str) -> str:
    """A decoded cell as the dialect writes it."""
    return quoted(cell) if any(c in cell for c in ',"\n') else cell.replace("\\", "\\\\")


def quoted(cell: str) -> str:
    """A decoded cell in quotes."""
    return '"' + cell.replace("\\", "\\\\").replace('"', '""') + '"'


def decode(source: str) -> str:
    """The text of one written cell."""
    quoted = source.startswith('"')
    if not quoted and "\\" not in source:
        return source
    body = source[1:-1].replace('""', '"') if quoted else source
    parts = body.split("\\\\")
    return "\\".join(part.replace("\\", "") for part in parts)


def cell_end(text: str, start: int, line: int) -> int:
    """The index after the cell that starts at `start`: of a `,`, a line feed or the end of the text."""
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
        end = text.find("\n", at)
        plain = text[at : len(text) if end < 0 else end]
        if '"' in plain or "\\" in plain:
            cells, at = quoted_line(text, at, line)
        else:
            cells, at = plain.split(","), at + len(plain) + 1
        yield tuple(cells)
        line += 1


def quoted_line(text: str, at: int, line: int) -> tuple[list[str], int]:
    """The written cells of a line with quotes or backslashes in it, and where the next line begins."""
    cells = []
    while True:
        end = cell_end(text, at, line)
        cells.append(text[at:end])
        at = end + 1
        if end == len(text) or text[end] == "\n":
            return cells, at


def csv_lines(text: str) -> list[Cells]:
    """The cells of each line as csv reads them; raises CsvError where the text is empty or not in that dialect."""
    try:
        lines = [tuple(line) for line in csv.reader(io.StringIO(text, newline=""), strict=True)]
    except csv.Error as error:
        raise CsvError(f"not in the dialect of csv: {error}") from error
    if not lines:
        raise CsvError("the file is empty; it needs a header line")
    return lines


def parse_corrected(text: str) -> Table:
    """Read a file of the corrected contract: the dialect of csv; a cell that begins with a quote is a JSON string.

    Raises CsvError where it is empty, not in that dialect, or such a cell is no JSON string.
    """
    lines = csv_lines(text)
    try:
        decoded = [tuple(json.loads(c) if c.startswith('"') else c for c in line) for line in lines]
    except ValueError as error:
        raise CsvError(
            f"a cell begins with a quote but is no JSON string: {error}; write it with json.dumps"
        ) from error
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows(lines)
    regular = written.getvalue().rstrip("\n") == text.rstrip("\n")
    complete = text.endswith("\n")
    rows, sources = tuple(decoded[1:]), tuple(lines[1:])
    return Table(decoded[0], rows, sources, complete, True, lines[0], regular)


def parse_any(text: str) -> Table:
    """Read a file in the dialect of csv, cells as they are; raises CsvError where it is empty or in another dialect."""
    lines = csv_lines(text)
    return Table(lines[0], tuple(lines[1:]), tuple(lines[1:]), text.endswith("\n"), head=lines[0])


def parse(text: str) -> Table:
    """Read a whole file; raises CsvError where it is empty, cut off inside a cell, or not in the dialect."""
    lines = tuple(source_lines(text))
    if not lines:
        raise CsvError("the file is empty; it needs a header line")
    decoded = tuple(tuple(decode(source) for source in line) for line in lines)
    return Table(decoded[0], decoded[1:], lines[1:], text.endswith("\n"), head=lines[0])
