"""A place is typed: no text is read again, and text is made from it in one way."""

import re
from pathlib import Path

import pytest

import spec
from spec.compare.kinds import EXTRA, MISSING, Kind
from spec.compare.recorder import Mismatch
from spec.runs.csv_dialect import parse
from spec.runs.places import (
    Byte,
    Element,
    FilePart,
    JsonItem,
    Line,
    Place,
    TableRow,
    at_path,
    dotted,
    steps_of,
)
from spec.runs.values import table_rows

ROW = TableRow("pos", "orig", "4", "16")


@pytest.mark.parametrize(
    ("place", "row", "column"),
    [
        (Place(), "", ""),
        (Place("f", ROW, "entropy"), "pos/orig layer 4 pos 16", "entropy"),
        (
            Place("f", TableRow("a", "b", "0", "7", "norm", "model", "2", 3)),
            "a/b layer 0 pos 7 lens norm against model fact_index 2 #3",
            "",
        ),
        (Place("f", TableRow("a", "b", "0", None, "norm")), "a/b layer 0 lens norm", ""),
        (Place("f", FilePart.HEADER, "pos"), "header", "pos"),
        (Place("f", FilePart.LAST_LINE, "end"), "last line", "end"),
        (Place("f", Element(3, 1), "value"), "pos 3 component 1", "value"),
        (Place("f", Line(2)), "line 2", ""),
        (Place("f", Byte(0)), "byte 0", ""),
        (Place("f", JsonItem(()), key=("x",)), "top level", "x"),
        (at_path("f", ("a", "b")), "", "a.b"),
        (at_path("f", ("a", 3, "b", "c")), "a[3]", "b.c"),
        (at_path("f", ("a", 3)), "a[3]", ""),
    ],
)
def test_text_is_made_from_the_place(place: Place, row: str, column: str) -> None:
    assert place.texts() == {"file": place.file, "row": row, "column": column}
    assert str(place) == ", ".join(text for text in (place.file, row, column) if text)


def test_a_json_value_has_its_whole_path() -> None:
    path = ("passes", 2, "topk", 0, "p")
    assert at_path("f", path).path == path
    assert at_path("f", path).name == "p"
    assert dotted(steps_of(path)) == "passes[].topk[].p"


def test_rows_of_one_key_are_distinguished() -> None:
    """Even where a cell looks like the number that is printed of a repeated row."""
    text = "prompt_id,prompt_variant,layer,pos\n" + "a,b,0,1\n" * 2 + "a,b,0,1 #2\n"
    first, second, third = table_rows(parse(text))
    assert str(second) == str(third) == "a/b layer 0 pos 1 #2"
    assert len({first, second, third}) == 3


def test_a_layer_is_a_number_or_none() -> None:
    """A prompt whose name looks like a layer is none."""
    assert TableRow("layer 7", "orig", "4", "0").layer_index == 4
    assert TableRow("pos", "orig", "last", "0").layer_index is None


def test_a_place_has_a_column_or_a_key() -> None:
    with pytest.raises(ValueError, match="a column or a JSON key, got 'x' and"):
        Place("f", column="x", key=("y",))


def test_a_mismatch_has_a_known_kind() -> None:
    with pytest.raises(ValueError, match="'odd' is not a valid Kind"):
        Mismatch(Place(), "a", "b", "odd")  # type: ignore[arg-type]
    assert {*MISSING.values()} == {"file", "row", "column", "key"} == {*EXTRA.values()} - {"pass"}
    assert Kind.ROW_ORDER == "row order"  # type: ignore[comparison-overlap]  # a kind is its text


def test_no_module_that_compares_or_prints_reads_a_place_with_a_pattern() -> None:
    """Patterns read what files hold: names of files and columns, numbers and paths in others' messages."""
    folder = Path(spec.__file__).parent
    users = {
        path.relative_to(folder).as_posix()
        for room in ("schema", "compare", "report", "runners")
        for path in (folder / room).rglob("*.py")
        if re.search(r"^import re$|^from re ", path.read_text(encoding="utf-8"), re.M)
    }
    assert users == {"compare/documents.py", "compare/how_made.py"}
