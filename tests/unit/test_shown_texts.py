"""Runs made by hand in the terminal, letter for letter: widths, marks, further passes, a battery."""

import io
import os
import re
import sys
from html import unescape
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from stub_passes import row

from lenses_min.output.battery.rows import BatteryRow
from lenses_min.output.run import Run
from lenses_min.report import terminal
from tests.terminal import Terminal

ROWS = [
    row(0, top=((" a long first token", 0.25),)),
    row(1, kl_to_final_bits=0.0, is_answer=True, p_answer=0.5, answer_rank=1),
]
WHOLE = """\
tiny/m: 2 blocks, width 4, vocabulary 9, cpu
a first note
a second note
prompt: The sky is … x

top-1 under each lens; probability p and rank of the answer
layer norm            p rank raw             p rank
    0 ␣a␣long␣f…      -    - ␣a␣long␣f…      -    -
    1 ␣x         0.5000    1 ␣x         0.5000    1
… and 299 more passes

milestones copy semantic   KL ≤ 1 rank ≤ 10
norm          - 1 (100%) 1 (100%)  1 (100%)
raw           - 1 (100%) 1 (100%)  1 (100%)

milestones under norm:
  L_copy = - (firm)
  L_copy_H = -
  L_semantic = 1
  delta_layers = - (firm)
  first_kl_below_0.5 = 1
  first_kl_below_1.0 = 1
  first_rank_le_1 = 1
  first_rank_le_5 = 1
  first_rank_le_10 = 1

over the passes: share that reaches L_semantic (95%), median layer, quartiles
lens group passes L_semantic            L_semantic, control
norm all   4      50% (25–75), 1.5, 1–2 25% (0–50), 1.5, 1–2
raw  all   4      50% (25–75), 1.5, 1–2 -
"""


def battery() -> list[BatteryRow]:
    """Half of the answers are reached under both lenses, a quarter of the controls under norm."""
    asked = [("norm", "own", 0.5), ("norm", "control", 0.25), ("raw", "own", 0.5)]
    rows = []
    for lens, answer, share in asked:
        layers = {"median": 1.5, "lower quartile": 1.0, "upper quartile": 2.0}
        for kind, value in {"share": share, **layers}.items():
            spread = 0.25 if kind == "share" else 0.5
            ends = (value - spread, value + spread)
            rows.append(
                BatteryRow(lens, "all", None, "L_semantic", answer, kind, 4, 4, value, *ends)
            )
    return rows


def made(**tables: list[Any]) -> Run:
    """A run of one prompt, under the lenses that have rows."""
    document = {
        "diagnostics": {"model": "tiny/m"},
        "model_stats": {"num_layers": 2, "d_model": 4, "d_vocab": 9},
    }
    lenses = {("pure", lens): rows for lens, rows in tables.items()}
    return Run("m", lenses, document, {"device": "cpu"})


def printed(run: Run, width: int = 80) -> str:
    stream = io.StringIO()
    terminal.show_one(run, Console(file=stream, width=width, highlight=False, markup=False))
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def test_all_of_a_run_of_many_passes_under_two_lenses() -> None:
    run = made(norm=ROWS, raw=ROWS)
    first = {"prompt_id": "a", "prompt_variant": "orig", "context_prompt": "The sky is"}
    run.document["passes"] = [first | {"gold_answer": {"string": "x"}}]
    run.manifest["placement"] = ["a first note", "a second note"]
    run.manifest["segments"] = {"passes": 300}
    tables: Any = run.tables
    tables["battery", "norm"] = battery()
    assert printed(run) == WHOLE


def test_further_passes_are_counted_where_the_run_names_them() -> None:
    """Also where a pass has one layer alone. Those of the reference, which names no pass, are not."""
    named = [row(0, prompt_id=name, fact_key="fact") for name in "abc"]
    assert "\n… and 2 more passes\n" in printed(made(norm=named))
    unnamed = [row(0, prompt_id=name) for name in "abc"]
    assert "more passes" not in printed(made(norm=unnamed))


def test_a_row_of_the_only_lens_has_its_token_in_fourteen_cells() -> None:
    assert printed(made(norm=ROWS)).splitlines()[3:6] == [
        "layer top-1               p entropy           KL       rank       flags",
        "    0 ␣a␣long␣first… 0.2500  3.0000 █████ 3.0000 █████    -",
        "    1 ␣x             0.5000  3.0000 █████ 0.0000          1       answer",
    ]


def test_cells_of_milestones_that_are_too_wide_go_on_in_the_next_line() -> None:
    stream = io.StringIO()
    Console(file=stream, width=38).print(terminal.lens_milestones(made(norm=ROWS)))
    assert stream.getvalue().split().count("(100%)") == 3


def test_a_name_that_is_longer_than_its_table_is_cut_with_a_mark() -> None:
    table = terminal.depth_table("a-name-" * 20, [row(0, top=((" a long token", 0.5),))])
    stream = io.StringIO()
    Console(file=stream, width=80).print(table)
    title, _, first, *_ = stream.getvalue().splitlines()
    assert title.rstrip() == ("a-name-" * 20)[: len(first) - 1] + "…"
    assert first.split("█")[0].strip() == "0% ␣a␣long␣t…"


@pytest.mark.parametrize(
    ("stream", "columns", "width"),
    [
        (Terminal, None, 132),
        (Terminal, "100", 100),
        (io.StringIO, "100", 100),
        (io.StringIO, None, 80),
    ],
)
def test_the_width_is_that_of_the_terminal_or_of_columns_or_eighty(
    stream: type[io.StringIO], columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "get_terminal_size", lambda *given: os.terminal_size((132, 40)))
    monkeypatch.setattr(sys, "stdout", stream())
    assert terminal.console().width == width


def test_texts_are_two_columns_further_right_and_fill_the_line() -> None:
    out = Console(file=io.StringIO(), width=10)
    lines = terminal.indented(["12345678", "123456789", "1234 567 9"], out)
    assert [line.plain for line in lines] == [
        "  12345678",
        "  12345678",
        "  9",
        "  1234 567",
        "  9",
    ]


def test_a_run_in_a_notebook_is_what_a_terminal_prints_with_its_styles_in_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In 80 columns whatever the terminal has; brackets are no markup, and only the head and the bars have a style."""
    monkeypatch.setenv("COLUMNS", "132")
    run = made(norm=[*ROWS, row(2, top=(("[b]&", 0.5),))])
    run.document["prompt"] = {"context_prompt": "[b]bold[/b] " * 9, "ground_truth": "x"}
    html = terminal.as_html(run)
    assert capsys.readouterr() == ("", "")
    text = unescape(re.sub("<[^>]*>", "", html))
    shown = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    assert shown == printed(run)
    assert html.startswith("<pre style='line-height: 1.25'>tiny/m: 2 blocks")
    styled = re.findall('<span style="([^"]+)">([^<]*)</span>', html)
    assert len(styled) == html.count("<span")
    heads, *others = [content.strip() for style, content in styled if style == "font-weight: bold"]
    assert heads.split() == ["layer", "top-1", "p", "entropy", "KL", "rank", "flags"]
    assert others == []
    bars = {content for style, content in styled if style != "font-weight: bold"}
    assert set("".join(bars)) == {"█", " "}


def test_a_notebook_is_given_the_page_and_nothing_is_drawn_besides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display := ModuleType("IPython.display"))
    monkeypatch.setattr(display, "display", drawn.append, raising=False)
    assert "tiny/m: 2 blocks" in made(norm=ROWS)._repr_html_()
    assert drawn == []


def test_bars_show_nothing_where_there_is_no_number_or_an_infinite_one() -> None:
    """The bar of a rank is as long as its logarithm."""
    assert terminal.sizes(row(0, entropy=2.0, kl_to_final_bits=None)) == (2.0, 0.0, 0.0)
    assert terminal.sizes(row(0, kl_to_final_bits=float("inf"), answer_rank=8)) == (3.0, 0.0, 3.0)
    assert terminal.sizes(row(0, entropy=float("nan"), answer_rank=1)) == (0.0, 3.0, 0.0)


def test_a_row_without_a_list_has_no_token() -> None:
    assert terminal.token(row(0, top=()), 10).plain == "-"
