"""Two files of one name that the contract does not know: tables, JSON and tensors by value, all others by bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..runs import csv_dialect, json_text
from ..runs.places import Place
from ..runs.run import Finding, attempt, read_text, regular, same_bytes
from .bytewise import compare_bytes
from .documents import compare_values
from .kinds import Kind
from .recorder import Recorder
from .residuals import compare_tensors
from .tables import compare_unknown


def compare_further(recorder: Recorder, expected: Path, obtained: Path) -> None:
    """Compare two files by what their suffix says they hold; by bytes where neither side can be read so."""
    reader = READERS.get(expected.suffix)
    if reader is None:
        compare_bytes(recorder, expected, obtained)
        return
    read, compare = reader
    a = attempt(read, expected, recorder.file)
    b = a if same_bytes(expected, obtained) else attempt(read, obtained, recorder.file)
    unreadable = [isinstance(content, Finding) for content in (a, b)]
    if all(unreadable):
        compare_bytes(recorder, expected, obtained)
        return
    for content, kind in ((a, Kind.EXPECTED_RUN), (b, Kind.OBTAINED_RUN)):
        if isinstance(content, Finding):
            recorder.mismatch(Place(recorder.file), "", content.sentence, kind)
    if not any(unreadable):
        compare(recorder, a, b)


def read_table(path: Path) -> csv_dialect.Table:
    """A table in the dialect of run.py, else in that of csv; raises CsvError where it is in neither."""
    text = read_text(path)
    try:
        return csv_dialect.parse(text)
    except csv_dialect.CsvError:
        return csv_dialect.parse_any(text)


def read_json(path: Path) -> Any:
    """A JSON value; raises JsonError where the file holds none."""
    return json_text.parse_value(read_text(path))


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, on the CPU, under `value` where it holds one alone; never runs code from it."""
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(regular(path))
    content = torch.load(regular(path), map_location="cpu", weights_only=True)
    tensors = content if isinstance(content, dict) else {"value": content}
    if not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise ValueError("a file of tensors holds one, or some by name")
    return {str(name): tensor for name, tensor in tensors.items()}


def compare_json(recorder: Recorder, expected: Any, obtained: Any) -> None:
    compare_values(recorder, (), expected, obtained)


Reader = tuple[Callable[[Path], Any], Callable[[Recorder, Any, Any], None]]
READERS: dict[str, Reader] = {
    ".csv": (read_table, compare_unknown),
    ".json": (read_json, compare_json),
    ".pt": (read_tensors, compare_tensors),
    ".safetensors": (read_tensors, compare_tensors),
}
