"""The run in the terminal: a row a layer, the milestones, and where the files are."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .result import Run
from .rows import PureRow

BAR = 12  # character cells of a full bar
WIDTH = 100  # columns where the output is no terminal
FLAGS = {"copy_collapse": "copy", "entropy_collapse": "sure", "is_answer": "answer"}


def show(run: Run, files: Sequence[Path]) -> None:
    """Print the layers of the first prompt, the milestones and the paths of the files."""
    out = Console(highlight=False, soft_wrap=True, markup=False)
    if not out.is_terminal:
        out.width = WIDTH
    stats, (prompt, answer) = run.document["model_stats"], next(iter(run.prompts.values()))
    size = f"{stats['num_layers']} blocks, width {stats['d_model']}, vocabulary {stats['d_vocab']}"
    out.print(f"{run.model_id}: {size}, {run.manifest['device']} {run.manifest['dtype']}")
    out.print(f"prompt: {prompt} … {answer}\n")
    first, *others = run.passes().values()
    out.print(layer_table(first), soft_wrap=False)
    if more := len(others) if "passes" in run.document else 0:
        out.print(f"… and {more} more passes")
    found = run.milestones | run.document.get("control_summary", {})
    out.print("\nmilestones:", *(f"  {key} = {number(value)}" for key, value in found.items()), sep="\n")
    out.print("\nfiles:", *(f"  {path}" for path in files), sep="\n")


def layer_table(rows: Sequence[PureRow]) -> Table:
    """Entropy and KL in bits; the bar is the top-1 probability; tokens are quoted, invisible ones escaped."""
    table = Table(box=None, pad_edge=False)
    for name in ("layer", "top-1", "p", "", "entropy", "KL to final", "answer rank", "flags"):
        table.add_column(name, justify="left" if name in ("top-1", "", "flags") else "right", no_wrap=True)
    for row in rows:
        bar, flags = "█" * round(BAR * row.p_top1), " ".join(t for name, t in FLAGS.items() if getattr(row, name))
        numbers = (number(row.entropy), number(row.kl_to_final_bits), number(row.answer_rank))
        table.add_row(str(row.layer), Text(repr(row.top[0][0])), number(row.p_top1), bar, *numbers, flags)
    return table


def number(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 4) + 0.0:.4f}" if isinstance(value, float) else str(value)
