"""What a run's files have of the last layer: its listed probabilities beside those of the model's own prediction. Pure.

Layer n is the last one by `model_stats`. A pass has the model's own prediction where its block is in the document.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ..runs.columns import TOP_PAIRS
from ..runs.csv_dialect import Table
from ..runs.run import PURE, RECORDS, Run
from ..runs.values import is_integer, lookup

Listed = tuple[tuple[str, float], ...]  # tokens and their probabilities, the likeliest first
PassKey = tuple[str, str]  # prompt id and variant

FIRST = ("pos", "orig")  # the pass of a document's only prediction, and of tables that name none
LEAST = 2.0**-126  # the least probability that float32 does not round further
PREDICTION = "final_prediction"


@dataclass(frozen=True)
class LastRow:
    """Layer n at the last position of a pass: the lens, the model's own prediction, the raw lens if any."""

    pass_key: PassKey
    lens: Listed
    model: Listed
    raw: Listed = ()


@dataclass(frozen=True)
class Evidence:
    """Every pass with both sides, and every KL of layer n to the model's own output, in bits.

    `low_precision`: the document says that the model computes in less than float32.
    """

    rows: tuple[LastRow, ...]
    divergences: tuple[float, ...]
    low_precision: bool


def evidence(run: Run) -> Evidence:
    """The evidence of a run; empty where tables, predictions or their numbers are missing."""
    layer = last_layer(run)
    rows = []
    for key, block in predictions(run.document):
        lens, raw = (listed_by_lens(run, key, layer, suffix) for suffix in ("", "-raw"))
        model = listed_by_model(block)
        if lens and model:
            rows.append(LastRow(key, lens, model, raw))
    return Evidence(tuple(rows), tuple(divergences(run, layer)), low_precision(run.document))


def last_layer(run: Run) -> str:
    """The index of layer n as the tables have it; the largest of the tables where the document has none."""
    stated = lookup(run.document, "model_stats", "num_layers")
    if isinstance(stated, int):
        return str(stated)
    tables = [run.tables[kind] for kind in (PURE, RECORDS) if kind in run.tables]
    cells = (table.column("layer", row) for table in tables for row in range(len(table.rows)))
    return str(max((int(cell) for cell in cells if is_integer(cell)), default=0))


def predictions(document: Mapping[str, Any] | None) -> Iterator[tuple[PassKey, Any]]:
    """The model's own prediction of each pass that has one."""
    if (block := lookup(document, PREDICTION)) is not None:
        yield FIRST, block
    for entry in blocks_of_passes(document):
        if (block := lookup(entry, PREDICTION)) is not None:
            key = str(entry.get("prompt_id")), str(entry.get("prompt_variant"))
            yield key, block


def blocks_of_passes(document: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The blocks of a document with prompts of its own."""
    blocks = lookup(document, "passes")
    return [b for b in blocks if isinstance(b, Mapping)] if isinstance(blocks, list) else []


def listed_by_model(block: Any) -> Listed:
    """The list of a block of the document; empty where it has none."""
    pairs = lookup(block, "topk")
    if not isinstance(pairs, list):
        return ()
    return tuple(
        (str(pair[0]), float(pair[1]))
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2 and is_probability(pair[1])
    )


def listed_by_lens(run: Run, key: PassKey, layer: str, suffix: str) -> Listed:
    """The longest list of a lens at a layer and the last position of a pass; empty where there is none."""
    tables = [run.tables[kind + suffix] for kind in (PURE, RECORDS) if kind + suffix in run.tables]
    rows = [(table, row) for table in tables for row in rows_of(table, key, layer)]
    last = max((position(table, row) for table, row in rows), default=0)
    lists = [listed(table, row) for table, row in rows if position(table, row) == last]
    return max(lists, key=len, default=())


def rows_of(table: Table, key: PassKey, layer: str) -> list[int]:
    """The rows of a layer of a pass; of several facts those of the first one."""
    return [
        row
        for row in range(len(table.rows))
        if table.column("layer", row) == layer
        and table.column("prompt_id", row) in (key[0], "")
        and table.column("prompt_variant", row) in (key[1], "")
        and table.column("fact_index", row) in ("0", "")
    ]


def position(table: Table, row: int) -> int:
    """The position of a row; 0 where the cell is no index."""
    cell = table.column("pos", row)
    return int(cell) if is_integer(cell) else 0


def listed(table: Table, row: int) -> Listed:
    """The tokens of a row with their probabilities."""
    pairs = (
        (table.column(f"top{i}", row), number(table.column(f"prob{i}", row)))
        for i in range(1, TOP_PAIRS + 1)
    )
    return tuple((token, p) for token, p in pairs if p is not None and is_probability(p))


def number(cell: str) -> float | None:
    """The finite number of a cell; None for any other text."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if isfinite(value) else None


def is_probability(value: Any) -> bool:
    return isinstance(value, float) and LEAST <= value <= 1


def divergences(run: Run, layer: str) -> Iterator[float]:
    """Every KL of layer n to the model's own output: of all passes of the table, and of the document."""
    if (table := run.tables.get(PURE)) is not None:
        cells = (
            number(table.column("kl_to_final_bits", row))
            for row in range(len(table.rows))
            if table.column("layer", row) == layer
        )
        yield from (cell for cell in cells if cell is not None)
    stated = [lookup(run.document, "diagnostics", "last_layer_consistency")]
    stated += [lookup(block, "last_layer_consistency") for block in blocks_of_passes(run.document)]
    values = (lookup(block, "kl_to_final_bits") for block in stated)
    yield from (float(value) for value in values if isinstance(value, float) and isfinite(value))


def low_precision(document: Mapping[str, Any] | None) -> bool:
    """Whether the document says that the model, or its unembedding, computes in less than float32."""
    dtype = lookup(document, "diagnostics", "unembed_dtype")
    below = isinstance(dtype, str) and dtype.endswith(("float16", "half"))
    return below or lookup(document, "diagnostics", "use_fp32_unembed") is True


def paired(a: Listed, b: Listed) -> list[tuple[float, float]]:
    """The probabilities of the tokens in both lists.

    Several ids may share one label: the first of it is paired with the first, the second with the second. That is right
    for any function of the logits that keeps their order.
    """
    left, right = numbered(a), numbered(b)
    return [(left[token], right[token]) for token in left if token in right]


def numbered(pairs: Listed) -> dict[tuple[str, int], float]:
    """Each probability by its token and how many equal labels stand before it."""
    counts: Counter[str] = Counter()
    by_label: dict[tuple[str, int], float] = {}
    for token, p in pairs:
        by_label[token, counts[token]] = p
        counts[token] += 1
    return by_label


def unpaired(a: Listed, b: Listed) -> list[float]:
    """The probabilities of `a` whose tokens are not in `b`."""
    left, right = numbered(a), numbered(b)
    return [p for token, p in left.items() if token not in right]
