"""Rows ↔ a Parquet file: typed columns with the names of the CSV's, nothing rounded, absent values null."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..core.rows import Row
from ..errors import require
from ..options import PARQUET
from .store import cells, encoded, written_through
from .tables import KINDS, NOT_CELLS, check_names, rows_of

if TYPE_CHECKING:
    import pyarrow

COMPRESSION = "zstd"


def require_pyarrow(table_format: str, what: str = "the table format parquet") -> None:
    """Raises LensError where a format needs pyarrow, and it is not installed."""
    if table_format == PARQUET:
        require(what, "parquet", ("pyarrow",))


def write(path: Path, table: str, rows: Sequence[Any], columns: Sequence[str]) -> None:
    """Write the rows of a table, whose kind gives the types of its columns; those of other columns are inferred."""
    require_pyarrow(PARQUET)
    import pyarrow
    import pyarrow.parquet

    types = column_types(table, columns)
    lines = [cells(row, columns) for row in rows]
    values = zip(*lines, strict=True) if lines else [()] * len(columns)
    arrays = [
        pyarrow.array(map(text, column), types[name])
        for name, column in zip(columns, values, strict=True)
    ]
    content = pyarrow.Table.from_arrays(arrays, names=list(columns))
    with written_through(path) as stream:
        pyarrow.parquet.write_table(content, stream, compression=COMPRESSION)


def text(value: Any) -> Any:
    """A text as UTF-8 can hold it, as in CSV: a lone surrogate is written as JSON escapes it."""
    return encoded(value).decode() if isinstance(value, str) else value


def column_types(table: str, columns: Sequence[str]) -> dict[str, Any]:
    """The Arrow type of each column, None where no field gives one."""
    kind = KINDS.get(table)
    types = {f.name: f.type for f in fields(kind) if f.name not in NOT_CELLS} if kind else {}
    if "rest_mass" in types:  # a table with pairs
        types |= {name: str for name in columns if re.fullmatch(r"top\d+", name)}
        types |= {name: float for name in columns if re.fullmatch(r"prob\d+", name)}
    return {name: arrow_type(types[name]) if name in types else None for name in columns}


def arrow_type(kind: Any) -> Any:
    """The Arrow type of a field's type, with or without None."""
    import pyarrow

    arrow = {str: pyarrow.string, int: pyarrow.int64, float: pyarrow.float64, bool: pyarrow.bool_}
    return next(arrow[one]() for one in (kind, *get_args(kind)) if one in arrow)


def join(path: Path, parts: Sequence[Path]) -> None:
    """Write the rows of some files, one behind the other, with one of their row groups in memory at a time."""
    import pyarrow.parquet

    with written_through(path) as stream:
        schema = pyarrow.parquet.read_schema(parts[0])
        with pyarrow.parquet.ParquetWriter(stream, schema, compression=COMPRESSION) as writer:
            for part in parts:
                with pyarrow.parquet.ParquetFile(part) as file:
                    for group in range(file.num_row_groups):
                        writer.write_table(file.read_row_group(group))


def read(path: Path) -> "pyarrow.Table":
    """The content of a file; raises ValueError where it is no Parquet, or names a column twice."""
    require_pyarrow(PARQUET, f"reading {path}")
    import pyarrow.parquet

    with arrow_errors():
        content = pyarrow.parquet.ParquetFile(io.BytesIO(path.read_bytes())).read()
    check_names(content.column_names)
    return content


def read_rows(content: "pyarrow.Table", kind: type[Row] | None) -> list[Any]:
    """The rows of a table: of a dataclass, or mappings by column where `kind` is None.

    Raises ValueError where a column is missing, or not of its field's type.
    """
    columns = dict(zip(content.column_names, content.columns, strict=True))
    return rows_of(columns, kind, content.num_rows, read_values)


def read_values(name: str, values: "pyarrow.ChunkedArray", kind: Any) -> list[Any]:
    """The values of a column: of the type of a field, or as they are where `kind` is None."""
    if kind is None:
        return values.to_pylist()
    try:
        with arrow_errors():
            read_back = values.cast(arrow_type(kind)).to_pylist()
    except ValueError as error:
        raise ValueError(f"column {name}: {error}") from error
    if kind in (int, float, bool) and None in read_back:
        raise ValueError(f"column {name}, row {read_back.index(None) + 1}: it is null")
    return ["" if value is None and kind is str else value for value in read_back]


@contextmanager
def arrow_errors() -> Iterator[None]:
    """Whatever Arrow raises becomes a ValueError with the first line of its text."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from error
