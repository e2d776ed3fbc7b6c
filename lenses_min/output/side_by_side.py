"""Two runs side by side, a row a layer: the same prompt under two models, dtypes, contracts or days."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..core.rows import PureRow
from ..errors import LensError
from .run import Run

if TYPE_CHECKING:
    import pandas

# bits, bits, 1 … V, 0 … 1, −1 … 1; see `PureRow`.
QUANTITIES = ("entropy", "kl_to_final_bits", "answer_rank", "p_answer", "cos_to_final")


def compare(a: Run, b: Run) -> "pandas.DataFrame":
    """What two runs say of the passes that both have, under the lenses that both have; a row a layer of `a`.

    Columns: `lens`, `pass`, `layer_a`, `layer_b`, `top1_a`, `top1_b`, and `<quantity>_a`, `_b` and `_change`, which is
    b − a, of each of QUANTITIES; absent values are NaN. A layer of `a` stands beside the layer of `b` at the nearest
    relative depth, which is the same layer where both have as many. Raises LensError where the runs share no pass.
    """
    import pandas

    rows = [
        {"lens": lens, "pass": name} | line
        for lens in a.lenses
        if lens in b.lenses
        for name, of_a in a.passes(lens).items()
        if (of_b := b.passes(lens).get(name))
        for line in layers(of_a, of_b)
    ]
    if not rows:
        raise LensError(
            f"the runs {a.name} and {b.name} share no pass under a lens; "
            f"passes of the first: {', '.join(a.passes())}; of the second: {', '.join(b.passes())}"
        )
    return pandas.DataFrame(rows)


def layers(of_a: Sequence[PureRow], of_b: Sequence[PureRow]) -> Iterator[dict[str, Any]]:
    """One pass of two runs, a row a layer of the first."""
    by_layer = {row.layer: row for row in of_b}
    ratio = of_b[-1].layer / (of_a[-1].layer or 1)
    for a in of_a:
        nearest = round(a.layer * ratio)
        b = by_layer.get(nearest)
        if b is None:
            continue
        line = {"layer_a": a.layer, "layer_b": nearest, "top1_a": top(a), "top1_b": top(b)}
        for name in QUANTITIES:
            x, y = getattr(a, name), getattr(b, name)
            change = None if x is None or y is None else y - x
            line |= {f"{name}_a": x, f"{name}_b": y, f"{name}_change": change}
        yield line


def top(row: PureRow) -> str | None:
    """The most probable token, None where the row lists none."""
    return row.top[0][0] if row.top else None
