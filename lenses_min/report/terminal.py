"""Runs in the terminal: one with a row a layer, several side by side by relative depth."""

import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite, log2
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.rows import PureRow
from ..output.run import Run, block
from .battery_lines import milestone_lines
from .escape import plain, short
from .facts import HEADS, all_milestones, heading, labels, milestone_cells, top_one, warnings

WIDTH = 80  # columns where the output is no terminal and COLUMNS is not set
LEFT = ("top-1", "", "flags", "milestones")  # columns of text
ABREAST = 3  # lenses in a table, which fits WIDTH
FLAGS = {"copy_collapse": "copy", "entropy_collapse": "sure", "is_answer": "answer"}


def show(runs: Sequence[Run], files: Sequence[Path] = (), out: Console | None = None) -> None:
    """Print the runs, and the paths of the files that were written."""
    out = out or console()
    if len(runs) == 1:
        show_one(runs[0], out)
    else:
        show_several(runs, out)
    for run, name in zip(runs, labels(runs), strict=True):
        if not files and (
            texts := [plain(warning) for warning in warnings(run)]
        ):  # a run has just printed them
            whose = f" of {plain(name)}" if len(runs) > 1 else ""
            out.print(f"\nwarnings{whose}:", *indented(texts, out), sep="\n")
    if files:  # a path stays on one line, to be copied
        out.print("\nfiles:", *(f"  {path}" for path in files), sep="\n", soft_wrap=True)


def console() -> Console:
    """Standard output; what is printed fits its width."""
    out = Console(highlight=False, markup=False)
    if not (out.is_terminal or "COLUMNS" in os.environ):
        out.width = WIDTH
    return out


def indented(texts: Iterable[str], out: Console) -> list[Text]:
    """The lines of some texts, each two columns further right."""
    return [Text("  ") + line for text in texts for line in Text(text).wrap(out, out.width - 2)]


def as_html(run: Run) -> str:
    """What `show` prints of a run, as HTML; rich escapes every text."""
    out = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        highlight=False,
        markup=False,
        force_jupyter=False,
    )
    show([run], out=out)
    return out.export_html(
        inline_styles=True, code_format="<pre style='line-height: 1.25'>{code}</pre>"
    )


def show_one(run: Run, out: Console) -> None:
    """The layers of the first prompt and the milestones."""
    prompt, answer = next(iter(run.prompts.values()))
    out.print(*map(plain, (heading(run), *run.manifest.get("placement", ()))), sep="\n")
    out.print(f"prompt: {plain(prompt)} … {plain(answer)}\n")
    first, *others = run.passes().values()
    several = len(run.lenses) > 1
    if several:
        out.print("top-1 under each lens; probability p and rank of the answer")
    tables = lens_tables(run) if several else [layer_table(first)]
    out.print(*tables, sep="\n")
    counted = "passes" in run.document or first[0].fact_key is not None
    passes = block(run.manifest, "segments").get("passes", 1 + len(others))
    if more := passes - 1 if counted else 0:
        out.print(f"… and {more} more passes")
    if several:
        out.print("", lens_milestones(run), sep="\n")
    out.print(
        "\nmilestones under norm:" if several else "\nmilestones:",
        *indented((f"{key} = {number(v)}" for key, v in all_milestones(run).items()), out),
        sep="\n",
    )
    if lines := milestone_lines(run, brief=True):
        out.print("\nover the passes: share that reaches L_semantic (95%), median layer, quartiles")
        heads = ("lens", "group", "passes", "L_semantic", "L_semantic, control")
        table = grid(*heads, left=heads, whole=False)
        for line in lines:
            table.add_row(*(plain(line.get(head, "-")) for head in heads))
        out.print(table)


def layer_table(rows: Sequence[PureRow]) -> Table:
    """Entropy and KL in bits; bars reach to the largest value, that of the rank by its logarithm."""
    table = grid("layer", "top-1", "p", "entropy", "", "KL", "", "rank", "", "flags")
    scale = scales(rows)
    for row in rows:
        flags = " ".join(text for name, text in FLAGS.items() if getattr(row, name))
        entropy, kl, rank = (
            bar(value, most) for value, most in zip(sizes(row), scale, strict=True)
        )
        cells = (
            number(row.entropy),
            entropy,
            number(row.kl_to_final_bits),
            kl,
            number(row.answer_rank),
            rank,
        )
        table.add_row(str(row.layer), token(row, 14), number(top_one(row)[1]), *cells, flags)
    return table


def lens_tables(run: Run) -> list[Table]:
    """All lenses of a run at the last position of its first prompt, `ABREAST` a table."""
    rows = {lens: next(iter(run.passes(lens).values())) for lens in run.lenses}
    return [
        side_by_side({lens: rows[lens] for lens in run.lenses[first : first + ABREAST]})
        for first in range(0, len(rows), ABREAST)
    ]


def side_by_side(rows: Mapping[str, Sequence[PureRow]]) -> Table:
    """A row a layer: under each lens the top-1 token, and the probability and rank of the answer.

    A lens may lack layers that another has.
    """
    heads = [head for lens in rows for head in (lens, "p", "rank")]
    table = grid("layer", *heads, left=rows)
    by_layer = [{row.layer: row for row in of_lens} for of_lens in rows.values()]
    for layer in sorted({layer for of_lens in by_layer for layer in of_lens}):
        cells: list[Text | str] = []
        for of_lens in by_layer:
            if row := of_lens.get(layer):
                cells += [token(row, 10), number(row.p_answer), number(row.answer_rank)]
            else:
                cells += [number(None)] * 3
        table.add_row(str(layer), *cells)
    return table


def lens_milestones(run: Run) -> Table:
    """A row a lens: the first layers of the first prompt."""
    table = grid("milestones", *HEADS.values(), whole=False)
    for lens in run.lenses:
        table.add_row(lens, *milestone_cells(run, lens, brief=True).values())
    return table


def show_several(runs: Sequence[Run], out: Console) -> None:
    """A small table a run, each with the same eleven depths, and a row of milestones a run."""
    names = [plain(name) for name in labels(runs)]
    rows = [next(iter(run.passes().values())) for run in runs]
    out.print(
        Columns(depth_table(name, mine) for name, mine in zip(names, rows, strict=True)),
    )
    table = grid("milestones", *HEADS.values(), "margin", whole=False)
    for run, name in zip(runs, names, strict=True):
        table.add_row(
            name,
            *milestone_cells(run, brief=True).values(),
            number(block(run.document, "control_summary").get("max_control_margin")),
        )
    out.print("", table, sep="\n")


def depth_table(name: str, rows: Sequence[PureRow]) -> Table:
    table = grid(
        "depth",
        "top-1",
        "entropy",
        "KL",
        "rank",
        title=Text(name, no_wrap=True, overflow="ellipsis"),
    )
    scale = scales(rows)
    for tenth in range(11):
        row = rows[round(tenth / 10 * (len(rows) - 1))]
        entropy, kl, _ = (bar(value, most) for value, most in zip(sizes(row), scale, strict=True))
        table.add_row(f"{tenth / 10:.0%}", token(row, 10), entropy, kl, number(row.answer_rank))
    return table


def grid(*names: str, left: Collection[str] = LEFT, whole: bool = True, **options: Any) -> Table:
    """An empty table; where it is too wide, its cells are cut, or else, not `whole`, take several lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left", **options)
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=whole)
    return table


def sizes(row: PureRow) -> tuple[float, float, float]:
    """What the bars of a row show: entropy and KL in bits, log2 of the rank; 0 where there is no such number."""
    values = row.entropy, row.kl_to_final_bits or 0, log2(max(row.answer_rank or 1, 1))
    entropy, kl, rank = (value if isfinite(value) else 0 for value in values)
    return entropy, kl, rank


def scales(rows: Sequence[PureRow]) -> list[float]:
    return [max(values) for values in zip(*map(sizes, rows), strict=True)]


def bar(value: float, most: float) -> Bar:
    return Bar(most or 1, 0, value, width=5)


def token(row: PureRow, width: int) -> Text:
    return Text(short(row.top[0][0], width) if row.top else "-")


def number(value: Any) -> str:
    return (
        "-"
        if value is None
        else f"{round(value, 4) + 0.0:.4f}"
        if isinstance(value, float)
        else plain(value)
    )
