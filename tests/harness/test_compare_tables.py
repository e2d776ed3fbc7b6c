"""Two tables: columns, rows and how they are written; the places and texts of mismatches."""

import pytest

from spec.compare.recorder import Recorder
from spec.compare.tables import compare_known
from spec.compare.tolerance import FP32
from spec.runs.csv_dialect import Table, parse, parse_corrected

KEY = "prompt_id,prompt_variant,layer"
Line = tuple[str, str, str, str]


def recorded(expected: Table, obtained: Table) -> Recorder:
    recorder = Recorder("x.csv", FP32)
    compare_known(recorder, expected, obtained)
    return recorder


def lines(expected: Table, obtained: Table) -> list[Line]:
    mismatches = recorded(expected, obtained).mismatches
    return [(str(m.place), m.expected, m.obtained, m.kind) for m in mismatches]


def table(*rows: str) -> Table:
    return parse("".join(f"{row}\n" for row in rows))


def test_missing_extra_repeated_and_reordered_columns() -> None:
    expected = table(f"{KEY},entropy,tv,kl_bits", "p,v,0,0.5,0.25,1.5")
    obtained = table(f"{KEY},tv,loss,entropy,tv", "p,v,0,0.25,9.5,0.5,0.25")
    assert lines(expected, obtained) == [
        ("x.csv, header, tv #2", "", "column", "repeated column"),
        ("x.csv, header, kl_bits", "column", "", "missing column"),
        ("x.csv, header, loss", "", "column", "extra column"),
        ("x.csv, header, entropy", "entropy", "tv", "column order"),
    ]


def test_missing_extra_and_reordered_rows_and_a_further_pass() -> None:
    expected = table(f"{KEY},entropy", "p,v,0,0.5", "p,v,1,0.5", "p,v,3,0.5")
    passes = ("q,w,0,0.5", "q,w,1,0.5")
    obtained = table(f"{KEY},entropy", "p,v,1,0.5", "p,v,0,0.75", "p,v,2,0.5", *passes)
    assert lines(expected, obtained) == [
        ("x.csv, pass q/w", "", "2 rows", "further pass"),
        ("x.csv, p/v layer 3", "row", "", "missing row"),
        ("x.csv, p/v layer 2", "", "row", "extra row"),
        ("x.csv, p/v layer 0", "p/v layer 0", "p/v layer 1", "row order"),
        ("x.csv, p/v layer 0, entropy", "0.5", "0.75", "value"),
    ]
    statistics = recorded(expected, obtained).statistics
    assert {s.column: (s.compared, s.differing) for s in statistics} == {
        "column order": (1, 0),
        "row order": (1, 1),
        **dict.fromkeys(("prompt_id", "prompt_variant", "layer"), (2, 0)),
        "entropy": (2, 1),
    }


@pytest.mark.parametrize("turned", [False, True])
def test_a_key_column_of_one_side_alone_does_not_part_the_rows(turned: bool) -> None:
    tables = table(f"{KEY},lens,tv", "p,v,0,norm,0.5"), table(f"{KEY},tv", "p,v,0,0.5")
    place = "x.csv, header, lens"
    if turned:
        assert lines(*reversed(tables)) == [(place, "", "column", "extra column")]
    else:
        assert lines(*tables) == [(place, "column", "", "missing column")]


def test_the_last_line_feed() -> None:
    whole, cut = parse(f"{KEY}\np,v,0\n"), parse(f"{KEY}\np,v,0")
    place = "x.csv, last line, end"
    assert lines(whole, cut) == [(place, "line feed", "no line feed", "format")]
    assert lines(cut, whole) == [(place, "no line feed", "line feed", "format")]


def test_the_line_ends_and_quotes_of_a_file_in_the_dialect_of_csv() -> None:
    usual = parse_corrected(f"{KEY}\np,v,0\n")
    for text in (f"{KEY}\r\np,v,0\r\n", f'{KEY}\np,"v",0\n'):
        texts = "as csv writes it", "other quotes or line ends"
        assert lines(usual, parse_corrected(text))[-1] == ("x.csv, layout", *texts, "format")
        assert lines(parse_corrected(text), usual)[-1] == ("x.csv, layout", *texts[::-1], "format")


def test_the_quotes_of_the_header() -> None:
    plain, quoted = parse(f"{KEY}\np,v,0\n"), parse(f'{KEY[:-5]}"layer"\np,v,0\n')
    assert lines(plain, quoted) == [("x.csv, header, layer", "layer", '"layer"', "quoting")]
    without = parse(f"{KEY},tv\np,v,0,0.5\n")
    assert lines(without, plain) == [("x.csv, header, tv", "column", "", "missing column")]


def test_a_table_that_was_built_without_its_header_as_written_has_no_quotes_to_compare() -> None:
    parsed = parse(f"{KEY}\np,v,0\n")
    built = Table(parsed.header, parsed.rows, parsed.sources, complete=True)
    assert lines(built, parsed) == lines(parsed, built) == []
