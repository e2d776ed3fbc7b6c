"""A digit, a row, a column or two rows changed in every file of a run: found and located, in every layout there is."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from random import Random, randrange
from shutil import copytree
from typing import Any

import pytest
import torch

from lenses_min.output.run import Run
from spec.compare.diff import diff
from spec.compare.runs import Mismatch
from spec.compare.tolerance import EXACT, Tolerance
from spec.compare.verdicts import IDENTICAL
from spec.golden import GOLDEN
from spec.runs import csv_dialect
from spec.runs.listing import part_of
from spec.runs.run import PURE, RECORDS
from spec.runs.values import KEYS, key_columns, named_rows, table_rows
from spec.schema.layout import later_layouts

EVERY_DIGIT = Tolerance("every digit", EXACT)
CASES = ("fact-prism", "keep-residuals", "odd-tokens", "dropped-answer", "raw-off", "raw-full")
CORRECTED = ("fact-prism", "odd-tokens")
LAYOUTS = (*CASES, *(f"corrected {name}" for name in CORRECTED), "own prompts", *later_layouts())
UNJUDGED = ("model_stats", "n_ctx")  # no runner is held to it: it is printed, and no mismatch
KEYED, BY_ORDER = "layer,kl\n0,1.25\n1,2.5\n2,3.75\n", "name,value\na,1.25\nb,2.5\nc,3.75\n"
Steps = tuple[str | int, ...]
Holds = Callable[[list[Mismatch]], bool]  # whether the mismatches of a file name the change
Tampered = tuple[bytes, Holds]
Tamper = Callable[[Path, Random], Tampered]


def write_later(folder: Path, date: str) -> None:
    """What run.py wrote at a later date, as far as the layouts know it: a run with further columns, keys and files."""
    layout = later_layouts()[date]
    for path in sorted(folder.glob("output-*.csv")):
        kind = PURE if part_of(path.name).startswith(PURE) else RECORDS
        names = sorted(layout.columns.get(kind, ()), key=lambda name: (name not in KEYS, name))
        keys = sum(name in KEYS for name in names)
        written = path.read_text(encoding="utf-8").split("\n")[:-1]
        table = [[*names[:keys]], *(["0"] * keys for _ in written[1:])]
        values = [
            [*names[keys:]],
            *([f"{i}.5"] * len(names[keys:]) for i in range(1, len(written))),
        ]
        lines = [
            ",".join([*a, line, *b]) for a, line, b in zip(table, written, values, strict=True)
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (path,) = folder.glob("output-*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    for number, key in enumerate(sorted(layout.keys)):
        block = document
        *outer, name = key.split(".")
        for part in outer:
            block = block.setdefault(part, {})
        block[name] = block.get(name, {"a": [number, 2.5, {"b": "1"}], "c": 0.125})
    path.write_text(written_document(document), encoding="utf-8")
    for i, end in enumerate(sorted(layout.files)):
        (folder / f"{path.stem}{end}").write_text((KEYED, BY_ORDER)[i % 2], encoding="utf-8")


def written_document(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory, own_run: Run) -> dict[str, tuple[Path, Path]]:
    """A run of each layout and its copy, which a test changes."""
    pairs = {}
    for number, name in enumerate(LAYOUTS):
        a, b = (tmp_path_factory.mktemp(f"layout{number}") / side for side in "ab")
        if name == "own prompts":
            own_run.save(a)
        elif name in later_layouts():
            copytree(GOLDEN / "outputs" / "fact-prism", a)
            write_later(a, name)
        else:
            kind, _, case = name.rpartition(" ")
            copytree(GOLDEN / (kind or "outputs") / case, a)
        for manifest in a.glob("run-*.manifest.json"):
            manifest.unlink()
        pairs[name] = a, Path(copytree(a, b))
    return pairs


def digit_changed(text: str, random: Random) -> str:
    """The text with one digit replaced by another one."""
    at = random.choice([i for i, c in enumerate(text) if c.isascii() and c.isdigit()])
    return text[:at] + random.choice([d for d in "123456789" if d != text[at]]) + text[at + 1 :]


# Tables.


def table_of(path: Path) -> tuple[csv_dialect.Table, list[str]]:
    """A table, and the text of each row's key."""
    text = path.read_bytes().decode("utf-8")
    table = csv_dialect.parse_corrected(text) if is_corrected(path) else csv_dialect.parse(text)
    known = part_of(path.name).startswith((PURE, RECORDS, "agreement", "answers"))
    known = known and {"prompt_id", "layer"} <= table.places.keys()
    rows = table_rows(table) if known else named_rows(table, key_columns(table))
    return table, [str(row) for row in rows]


def is_corrected(path: Path) -> bool:
    (document,) = path.parent.glob("output-*.json")
    return '"contract": "corrected"' in document.read_text(encoding="utf-8")


def written_table(lines: Sequence[Sequence[str]], corrected: bool) -> bytes:
    if not corrected:
        return "".join(",".join(line) + "\n" for line in lines).encode()
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue().encode()


def lines_of(table: csv_dialect.Table) -> list[list[str]]:
    """The cells as written, header first."""
    return [list(table.head), *map(list, table.sources)]


def table_digit(path: Path, random: Random) -> Tampered:
    table, rows = table_of(path)
    lines = lines_of(table)
    cells = [
        (row, at)
        for row, line in enumerate(table.sources)
        for at, cell in enumerate(line)
        if any(c.isascii() and c.isdigit() for c in cell)
    ]
    row, at = random.choice(cells)
    lines[row + 1][at] = digit_changed(lines[row + 1][at], random)
    name = table.header[at]

    def holds(mismatches: list[Mismatch]) -> bool:
        named = {(m.place.row_text, m.place.column) for m in mismatches}
        if name in KEYS:  # the row goes, and another one comes
            return rows[row] in {place for place, _ in named}
        return (rows[row], name) in named and {place for place, _ in named} == {rows[row]}

    return written_table(lines, table.corrected), holds


def table_row(path: Path, random: Random) -> Tampered:
    table, rows = table_of(path)
    lines = lines_of(table)
    row = random.randrange(len(rows))
    del lines[row + 1]
    by_order = not key_columns(table)

    def holds(mismatches: list[Mismatch]) -> bool:
        missing = [m.place.row_text for m in mismatches if m.kind == "missing row"]
        named = {m.place.row_text for m in mismatches}
        if by_order:  # those behind it move up, and the last one is missing
            return missing == [rows[-1]] and named == set(rows[row:])
        return missing == [rows[row]] == list(named)

    return written_table(lines, table.corrected), holds


def table_column(path: Path, random: Random) -> Tampered:
    table, _ = table_of(path)
    at = random.randrange(len(table.header))
    lines = [[*line[:at], *line[at + 1 :]] for line in lines_of(table)]

    def holds(mismatches: list[Mismatch]) -> bool:
        return (table.header[at], "missing column") in {
            (m.place.column, m.kind) for m in mismatches
        }

    return written_table(lines, table.corrected), holds


def table_pair(path: Path, random: Random) -> Tampered:
    table, rows = table_of(path)
    lines = lines_of(table)
    pairs = [(i, j) for j in range(len(rows)) for i in range(j) if lines[i + 1] != lines[j + 1]]
    i, j = random.choice(pairs)
    lines[i + 1], lines[j + 1] = lines[j + 1], lines[i + 1]

    def holds(mismatches: list[Mismatch]) -> bool:
        named = {m.place.row_text for m in mismatches}
        return bool(named) and named <= {rows[i], rows[j]}

    return written_table(lines, table.corrected), holds


# Documents.


def nodes(value: Any, path: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    yield path, value
    parts: Iterable[Any] = ()
    if isinstance(value, (dict, list)):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in parts:
        yield from nodes(inner, (*path, name))


def inside(value: Any, path: Steps) -> Any:
    for part in path:
        value = value[part]
    return value


def under(path: Steps) -> Holds:
    """Something is found, and all of it at the path, inside it, or as the list or object around it.

    A pair of a top-k list is compared by the names of its parts.
    """
    path = path[: path.index("topk") + 2] if "topk" in path else path

    def holds(mismatches: list[Mismatch]) -> bool:
        places = [m.place.path for m in mismatches]
        return bool(places) and all(
            place[: len(path)] == path or (place and path[: len(place)] == place)
            for place in places
        )

    return holds


def document_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def document_digit(path: Path, random: Random) -> Tampered:
    document = document_of(path)
    numbers = [(at, v) for at, v in nodes(document) if at and type(v) in (int, float)]
    at, value = random.choice([(at, v) for at, v in numbers if at != UNJUDGED])
    changed = value
    while changed == value or not isfinite(changed):
        with suppress(ValueError):
            changed = json.loads(digit_changed(repr(value), random))
    inside(document, at[:-1])[at[-1]] = changed
    return written_document(document).encode(), under(at)


def document_item(path: Path, random: Random) -> Tampered:
    document = document_of(path)
    lists = [at for at, value in nodes(document) if isinstance(value, list) and value]
    at = random.choice(lists)
    inside(document, at).pop(random.randrange(len(inside(document, at))))
    return written_document(document).encode(), under(at)


def document_key(path: Path, random: Random) -> Tampered:
    document = document_of(path)
    at = random.choice([at for at, _ in nodes(document) if at and isinstance(at[-1], str)])
    del inside(document, at[:-1])[at[-1]]

    def holds(mismatches: list[Mismatch]) -> bool:
        return (at, "missing key") in {(m.place.path, m.kind) for m in mismatches}

    return written_document(document).encode(), holds


def document_pair(path: Path, random: Random) -> Tampered:
    document = document_of(path)
    pairs = [
        (at, i, j)
        for at, value in nodes(document)
        if isinstance(value, list)
        for j in range(len(value))
        for i in range(j)
        if value[i] != value[j]
    ]
    at, i, j = random.choice(pairs)
    items = inside(document, at)
    items[i], items[j] = items[j], items[i]
    return written_document(document).encode(), under(at)


# Residuals [1, S, d].


def saved(tensor: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.save(tensor.clone(), stream)
    return stream.getvalue()


def shape_differs(mismatches: list[Mismatch]) -> bool:
    return [m.place.column for m in mismatches] == ["shape"]


def tensor_digit(path: Path, random: Random) -> Tampered:
    tensor = torch.load(path, weights_only=True)
    pos, component = (random.randrange(size) for size in tensor.shape[1:])
    tensor[0, pos, component] += 1
    row = f"pos {pos} component {component}"
    return saved(tensor), lambda mismatches: [m.place.row_text for m in mismatches] == [row]


def tensor_row(path: Path, random: Random) -> Tampered:
    tensor = torch.load(path, weights_only=True)
    return saved(tensor[:, 1:]), shape_differs


def tensor_column(path: Path, random: Random) -> Tampered:
    tensor = torch.load(path, weights_only=True)
    return saved(tensor[..., 1:]), shape_differs


def tensor_pair(path: Path, random: Random) -> Tampered:
    tensor = torch.load(path, weights_only=True)
    i, j = random.sample(range(tensor.shape[1]), 2)
    tensor[:, [i, j]] = tensor[:, [j, i]]
    starts = tuple(f"pos {pos} " for pos in (i, j))

    def holds(mismatches: list[Mismatch]) -> bool:
        return [m.place.row_text.startswith(starts) for m in mismatches] == [True]

    return saved(tensor), holds


TAMPERINGS: dict[str, dict[str, Tamper]] = {
    "a digit": {".csv": table_digit, ".json": document_digit, ".pt": tensor_digit},
    "a row": {".csv": table_row, ".json": document_item, ".pt": tensor_row},
    "a column": {".csv": table_column, ".json": document_key, ".pt": tensor_column},
    "two rows": {".csv": table_pair, ".json": document_pair, ".pt": tensor_pair},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_is_changed_in_every_file_is_reported_and_located(
    what: str, layout: str, layouts: dict[str, tuple[Path, Path]]
) -> None:
    """In all files at once, which the comparison reads one by one: each is held to its own change.

    Where, decides the seed that pytest-randomly prints.
    """
    random = Random(randrange(2**32))
    a, b = layouts[layout]
    changes = {
        path.name: TAMPERINGS[what][path.suffix](path, random) for path in sorted(a.iterdir())
    }
    assert changes
    for name, (content, _) in changes.items():
        (b / name).write_bytes(content)
    result = diff((a, b), (None, None), EVERY_DIGIT)
    verdicts = {file.file: file.verdict for file in result.files}
    for name, (_, holds) in changes.items():
        mismatches = [mismatch for mismatch in result.mismatches if mismatch.file == name]
        assert verdicts[name] != IDENTICAL, name
        assert holds(mismatches), (name, list(map(str, mismatches[:5])))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_untouched_run_is_written_back_as_it_was(
    layout: str, layouts: dict[str, tuple[Path, Path]]
) -> None:
    """So that a change above is the change that it is meant to be, and no other writing of the file."""
    for path in layouts[layout][0].glob("*.csv"):
        table, _ = table_of(path)
        assert written_table(lines_of(table), table.corrected) == path.read_bytes(), path.name
    for path in layouts[layout][0].glob("*.json"):
        assert written_document(document_of(path)).encode() == path.read_bytes(), path.name
