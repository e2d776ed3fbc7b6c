"""Files that the contract does not know are compared by what they hold: tables, JSON, tensors."""

import io
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from spec.compare.diff import diff
from spec.compare.further_files import compare_further, read_table, read_tensors
from spec.compare.kinds import Kind
from spec.compare.recorder import Mismatch, Recorder
from spec.compare.tolerance import FP32
from spec.golden import GOLDEN
from spec.runs.places import Place

FACT = GOLDEN / "outputs" / "fact"
TABLE = "layer,lens,kl\n0,norm,1.25\n0,final,0.5\n1,norm,2.5\n"


def further(folder: Path, name: str, content: str | bytes) -> Path:
    """A copy of `fact` with one file more."""
    run = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(FACT, run, dirs_exist_ok=True)
    path = run / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return run


def compared(tmp_path: Path, name: str, a: str | bytes, b: str | bytes) -> tuple[str, list[str]]:
    """The verdict of a file beside the contract's, and its findings."""
    runs = further(tmp_path, name, a), further(tmp_path, name, b)
    result = diff(runs, (None, None), FP32)
    (verdict,) = [file.verdict for file in result.files if file.file == name]
    return verdict, [
        f"{m.place.row_text} {m.place.column_text}: {m.kind}" for m in result.mismatches
    ]


@pytest.mark.parametrize(
    ("change", "verdict", "findings"),
    [
        (("1.25", "1.2500001"), "equal within tolerance", []),
        (("1.25", "1.35"), "changed", ["layer 0 lens norm kl: value"]),
        (("0,final,0.5\n", ""), "changed", ["layer 0 lens final : missing row"]),
        (
            ("\n1,norm", "\n2,norm"),
            "changed",
            ["layer 1 lens norm : missing row", "layer 2 lens norm : extra row"],
        ),
        (
            (",kl\n", ",kl,more\n"),
            "changed",
            [f"{row} : row width" for row in ("layer 0 lens norm",)],
        ),
        ((",lens", ",lenz"), "changed", []),
    ],
)
def test_a_table_that_the_contract_does_not_know_is_compared_by_its_keys(
    change: tuple[str, str], verdict: str, findings: list[str], tmp_path: Path
) -> None:
    obtained = compared(tmp_path, "output-Fact-more.csv", TABLE, TABLE.replace(*change))
    assert obtained[0] == verdict
    assert set(findings) <= set(obtained[1])


def test_a_column_more_in_an_unknown_table_is_one_finding(tmp_path: Path) -> None:
    wider = "".join(f"{line},{i}\n" for i, line in enumerate(TABLE.splitlines()))
    verdict = compared(tmp_path, "output-Fact-more.csv", TABLE, wider)
    assert verdict == ("extended", ["header 0: extra column"])


def test_rows_without_a_key_come_by_order(tmp_path: Path) -> None:
    a, b = "name,x\nu,1.5\nu,2.5\n", "name,x\nu,1.5\nu,3.5\n"
    assert compared(tmp_path, "more.csv", a, b) == ("changed", ["row 2 x: value"])
    assert compared(tmp_path, "more.csv", a, a.replace("u,2.5\n", ""))[1] == ["row 2 : missing row"]


def test_unknown_json_is_compared_as_a_tree(tmp_path: Path) -> None:
    a = '{"a": [{"b": 1.5}], "c": "x"}'
    assert compared(tmp_path, "more.json", a, a.replace("1.5", "1.5000001"))[0] != "changed"
    assert compared(tmp_path, "more.json", a, a.replace("1.5", "2.5"))[1] == ["a[0] b: value"]
    assert compared(tmp_path, "more.json", a, a[:-1] + ', "d": 1}') == (
        "extended",
        ["top level d: extra key"],
    )
    assert compared(tmp_path, "more.json", "[1, 2]", "[1]") == ("changed", [" : list length"])


def test_unknown_tensors_are_compared_by_name(tmp_path: Path) -> None:
    tensors = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3)}
    otherwise = {**tensors, "b": torch.tensor([1.0, 1.0, 2.0])}
    for name, save in (("more.safetensors", safe), ("more.pt", pickled)):
        assert compared(tmp_path, name, save(tensors), save(otherwise)) == (
            "changed",
            ["pos 0 component 2 b: value"],
        )
        more = save({**tensors, "c": torch.zeros(1)})
        assert compared(tmp_path, name, save(tensors), more) == ("extended", [" c: extra key"])
        half = save({**tensors, "b": torch.ones(3, dtype=torch.float16)})
        assert compared(tmp_path, name, save(tensors), half) == ("changed", [" b dtype: dtype"])


def safe(tensors: dict[str, torch.Tensor]) -> bytes:
    return safetensors.torch.save(tensors)


def pickled(tensors: dict[str, torch.Tensor]) -> bytes:
    stream = io.BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["more.csv", "more.json", "more.pt"])
def test_what_only_one_side_can_be_read_as_is_unreadable(name: str, tmp_path: Path) -> None:
    good = {"more.csv": TABLE.encode(), "more.json": b"{}", "more.pt": pickled({})}[name]
    bad = {"more.csv": b'a,"b', "more.json": b"{", "more.pt": b"\x80"}[name]
    assert compared(tmp_path, name, good, bad)[0] == "unreadable"
    assert compared(tmp_path, name, bad, bad)[0] == "identical"
    assert compared(tmp_path, name, bad, bad + b"1")[0] == "changed"


@pytest.mark.parametrize("side", [0, 1])
def test_the_reason_why_one_side_cannot_be_read_is_recorded(side: int, tmp_path: Path) -> None:
    paths = tmp_path / "good.csv", tmp_path / "empty.csv"
    paths[0].write_text("a\n1\n")
    paths[1].write_text("")
    recorder = Recorder("x.csv", FP32)
    compare_further(recorder, paths[1 - side], paths[side])
    sentence = "cannot be read: the file is empty; it needs a header line"
    kind = (Kind.EXPECTED_RUN, Kind.OBTAINED_RUN)[side]
    assert recorder.mismatches == [Mismatch(Place("x.csv"), "", sentence, kind)]


def test_a_table_is_read_in_the_dialect_of_the_contract_where_it_is_in_it(tmp_path: Path) -> None:
    """There a backslash is doubled; a single one at the end is in the dialect of csv alone."""
    path = tmp_path / "x.csv"
    path.write_text("a\nx\\\\y\n")
    assert read_table(path).rows == (("x\\y",),)
    path.write_text("a\nx\\")
    assert read_table(path).rows == (("x\\",),)


def test_a_file_of_one_tensor_holds_its_value(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(torch.arange(3), path)
    assert {name: tensor.tolist() for name, tensor in read_tensors(path).items()} == {
        "value": [0, 1, 2]
    }
    torch.save({"w": torch.ones(1), "n": 1}, path)
    with pytest.raises(ValueError, match="a file of tensors holds one, or some by name"):
        read_tensors(path)


class Touching:
    """An object that makes a file where it is read from a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_no_code_of_a_file_of_tensors_is_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "x.pt", tmp_path / "trace"
    torch.save({"w": Touching(trace)}, path)
    with pytest.raises(pickle.UnpicklingError):
        read_tensors(path)
    assert not trace.exists()
