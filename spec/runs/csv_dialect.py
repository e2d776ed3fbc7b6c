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
LINE_FEEDS = 99  # in the cells of one line, as far as the quick reader of a line looks


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
    if "," in cell or '"' in cell or "\n" in cell:
        return quoted(cell)
    return cell.replace("\\", "\\\\") if "\\" in cell else cell


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


def lines(text: str) -> Iterator[tuple[Cells, Cells]]:
    """The decoded cells and the written cells of each line; one tuple twice where a line needs no decoding."""
    at, number = 0, 1
    while at < len(text):
        plain = text[at : line_end(text, at)]
        if '"' not in plain and "\\" not in plain:
            cells = written = tuple(plain.split(","))
            at += len(plain) + 1
        else:
            whole = text[at : quoted_end(text, at)]
            if usual := usual_line(whole):
                cells, written = usual
                at += len(whole) + 1
            else:
                sources, at = quoted_line(text, at, number)
                cells, written = tuple(map(decode, sources)), tuple(sources)
        yield cells, written
        number += 1


def line_end(text: str, at: int) -> int:
    """The index of the next line feed, or of the end."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def quoted_end(text: str, at: int) -> int:
    """The index of the first line feed, or of the end, before which the quotes are even in number."""
    end = line_end(text, at)
    odd = text.count('"', at, end) % 2
    for _ in range(LINE_FEEDS):
        if not odd or end == len(text):
            break
        begin, end = end, line_end(text, end + 1)
        odd ^= text.count('"', begin, end) % 2
    return end


def usual_line(line: str) -> tuple[Cells, Cells] | None:
    """The decoded and the written cells of a line as csv's own reader has it; None where it is written otherwise."""
    try:
        (cells,) = csv.reader([line], escapechar="\\", strict=True)
    except (csv.Error, ValueError):  # no line of csv, or its last cell does not end
        return None
    written = tuple(map(encode, cells))
    return (tuple(cells), written) if ",".join(written) == line else None


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
        read = [tuple(line) for line in csv.reader(io.StringIO(text, newline=""), strict=True)]
    except csv.Error as error:
        raise CsvError(f"not in the dialect of csv: {error}") from error
    if not read:
        raise CsvError("the file is empty; it needs a header line")
    return read


def parse_corrected(text: str) -> Table:
    """Read a file of the corrected contract: the dialect of csv; a cell that begins with a quote is a JSON string.

    Raises CsvError where it is empty, not in that dialect, or such a cell is no JSON string.
    """
    sources = csv_lines(text)
    try:
        decoded = [tuple(json.loads(c) if c[:1] == '"' else c for c in line) for line in sources]
    except ValueError as error:
        raise CsvError(
            f"a cell begins with a quote but is no JSON string: {error}; write it with json.dumps"
        ) from error
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows(sources)
    regular = written.getvalue().rstrip("\n") == text.rstrip("\n")
    complete = text.endswith("\n")
    rows = tuple(decoded[1:])
    return Table(decoded[0], rows, tuple(sources[1:]), complete, True, sources[0], regular)


def parse_any(text: str) -> Table:
    """Read a file in the dialect of csv, cells as they are; raises CsvError where it is empty or in another dialect."""
    header, *rows = csv_lines(text)
    return Table(header, tuple(rows), tuple(rows), text.endswith("\n"), head=header)


def parse(text: str) -> Table:
    """Read a whole file; raises CsvError where it is empty, cut off inside a cell, or not in the dialect."""
    if not text:
        raise CsvError("the file is empty; it needs a header line")
    (header, *rows), (head, *sources) = zip(*lines(text), strict=True)
    return Table(header, tuple(rows), tuple(sources), text.endswith("\n"), head=head)
