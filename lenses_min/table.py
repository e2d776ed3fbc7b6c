"""The run in the terminal: a row a layer, the milestones, and where the files are."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .result import Run
from .types import PureRow

BAR = 12  # character cells of a full bar


def show(run: Run, files: Sequence[Path], console: Console | None = None) -> None:
    """Print the layers of the first prompt, the milestones and the paths of the files."""
    out = console or Console(highlight=False)
    facts = run.document["model_stats"]
    out.print(
        f"{run.options.model_id}: {facts['num_layers']} blocks, width {facts['d_model']}, vocabulary "
        f"{facts['d_vocab']}, {run.manifest['device']} {run.manifest['dtype']}",
        markup=False,
    )
    rows = run.passes[0].pure["norm"]
    prompt = run.passes[0].encoded.prompt
    out.print(f"prompt: {prompt.text} … {prompt.answer}", markup=False)
    out.print(layer_table(rows))
    found = run.milestones | run.document["control_summary"]
    out.print("milestones: " + "  ".join(f"{key} {show_value(value)}" for key, value in found.items()), markup=False)
    out.print("files:", *(f"  {path}" for path in files), sep="\n", markup=False, soft_wrap=True)


def layer_table(rows: Sequence[PureRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("layer", "top-1", "p", "", "entropy", "KL to final", "answer rank", "flags"):
        table.add_column(name, justify="left" if name in ("top-1", "", "flags") else "right", no_wrap=True)
    for row in rows:
        flags = [name for name in ("copy_collapse", "entropy_collapse", "is_answer") if getattr(row, name)]
        table.add_row(
            str(row.layer),
            Text(readable(row.top[0][0])),
            f"{row.p_top1:.4f}",
            "█" * round(BAR * row.p_top1),
            f"{row.entropy:.4f}",
            f"{row.kl_to_final_bits:.4f}",
            show_value(row.answer_rank),
            " ".join(flags),
        )
    return table


def readable(token: str) -> str:
    """A token as a person can read it: quoted, invisible characters escaped."""
    return repr(token)


def show_value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
