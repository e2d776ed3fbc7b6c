"""Tables that are wrong: one error that names file, row, column and cell. And whose table a file is."""

import re
from collections.abc import Callable
from pathlib import Path

import published
import pytest

import lenses_min as lm
from lenses_min import LensError
from lenses_min.output.tables import whole

FACT = Path(__file__).parents[2] / "golden" / "outputs" / "fact"
PURE = "output-Fact-pure-next-token.csv"


def changed(column: str, cell: str, row: int = 5) -> Callable[[list[list[str]]], None]:
    def change(lines: list[list[str]]) -> None:
        lines[row - 1][lines[0].index(column)] = cell

    return change


def renamed(column: str, name: str) -> Callable[[list[list[str]]], None]:
    return lambda lines: changed(column, name, 1)(lines)


WRONG: dict[str, tuple[Callable[[list[list[str]]], None], str]] = {
    **{
        f"{column} {cell!r}": (
            changed(column, cell),
            f"row 5, column {column}: {re.escape(repr(cell))} is {what}",
        )
        for column, cells, what in (
            ("is_answer", ("true", "1", "TRUE", " True", "", "None"), "neither True nor False"),
            ("copy_collapse", ("false", "0", "no"), "neither True nor False"),
            ("layer", ("1.0", "1_0", " 1", "１", "", "x", "+1", "01"), "no whole number"),
            ("pos", ("16.0", "", "nan"), "no whole number"),
            ("pos", ("9" * 19, "9" * 5000), "too long for a whole number of 64 bits"),
            ("answer_rank", ("1.5", "one"), "no whole number"),
            ("answer_rank", ("9" * 400, "-" + "9" * 18), "too long"),
            ("entropy", ("", "0,5", "1_0.0", "0x1", "1.5 "), "no number"),
            ("p_top1", ("x", "1.5e"), "no number"),
            ("prob2", ("x", " 0.1"), "no number"),
        )
        for cell in cells
    },
    "a gap among the pairs": (
        changed("prob2", ""),
        "row 5, column top2: .* has no probability, or a pair stands behind one that is empty",
    ),
    "a token without its probability": (changed("top7", "x"), "row 5, column top6: .* no probab"),
    "a column twice": (renamed("p_top5", "p_top1"), "names the column 'p_top1' twice"),
    "no column of the last layer": (renamed("pos", "position"), "it has no column 'pos'"),
}


def test_a_whole_number_has_at_most_eighteen_characters() -> None:
    assert whole("9" * 18) == 10**18 - 1
    with pytest.raises(ValueError, match="too long"):
        whole("1" + "0" * 18)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_cell_is_named_by_file_row_and_column(name: str, tmp_path: Path) -> None:
    published.write(tmp_path, "2025-08-30", "Fact")
    change, message = WRONG[name]
    lines = published.read(FACT / PURE, "2025-08-30")
    change(lines)
    text = published.text_of(lines, "2025-08-24")
    (tmp_path / PURE).write_text(text, encoding="utf-8", newline="")
    with pytest.raises(LensError, match=f"{PURE}.*{message}"):
        lm.load(tmp_path)


def test_a_sidecar_of_a_known_lens_that_lacks_a_column_is_an_error(tmp_path: Path) -> None:
    published.write(tmp_path, "2025-09-28", "Fact")
    path = tmp_path / "output-Fact-pure-next-token-tuned.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("entropy", "entropie", 1))
    with pytest.raises(LensError, match=r"next-token-tuned\.csv: it has no column 'entropy'"):
        lm.load(tmp_path)


MODELS = ("gemma-2-9b", "gemma-2-9b-it", "gemma-2-9b-records", "Mistral-7B-v0.1", "a+b (c).x")


def test_files_belong_to_the_longest_name(tmp_path: Path) -> None:
    """Names with dots and hyphens, one the beginning of another, one that ends like a table."""
    for name in MODELS:
        published.write(tmp_path, "2025-10-13", name)
    alone = lm.load(published.write(tmp_path / "alone", "2025-10-13"))
    for name in MODELS:
        run = lm.load(tmp_path, name)
        assert run.name == name
        assert run.tables == alone.tables
        run.save(tmp_path / "again" / name)
        assert len(list((tmp_path / "again" / name).iterdir())) == len(alone.tables) + 1


def test_tables_of_a_run_without_a_document_are_not_taken(tmp_path: Path) -> None:
    """What a killed run of a longer name has left is no further table of the shorter one."""
    published.write(tmp_path, "2025-10-13", "gemma")
    published.write(tmp_path, "2025-08-30", "gemma-it")
    tables = set(lm.load(tmp_path, "gemma").tables)
    (tmp_path / "output-gemma-it.json").unlink()
    assert set(lm.load(tmp_path).tables) == tables
    (tmp_path / "output-gemma-it.error.json").write_text("{}")
    assert set(lm.load(tmp_path).tables) == tables


def test_a_failed_run_of_the_reference_says_so(tmp_path: Path) -> None:
    """R9: its document is the text of an error."""
    published.write(tmp_path, "2025-08-30", "Fact")
    (tmp_path / "output-big.json").write_text("EVALUATION FAILED\nError: out of memory\n")
    assert lm.load(tmp_path, "Fact").name == "Fact"
    with pytest.raises(LensError, match=r"output-big\.json: .*no JSON.*'EVALUATION FAILED'"):
        lm.load(tmp_path, "big")
