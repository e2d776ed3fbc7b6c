"""A run of any number of passes in the memory of some: its suite is cut into segments, each written when it is done."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from ..core import records
from ..core.types import Encoded
from ..errors import LensError
from ..model.determinism import settings
from ..options import RunOptions, contract_of
from ..output import load
from ..output.digest import digest, suite_document
from ..output.inputs import inputs
from ..output.manifest import versions
from ..output.run import Run
from ..output.segments import Segments, opened
from ..output.store import table_name
from ..prompts.suite import Prompt, Suite
from .analysis import Analysis
from .progress import Bar, bar
from .statistics import Tables, table_of

log = logging.getLogger("lenses_min")
PASSES, BATCHES = 128, 16  # of a segment, whichever is more: a batch has prompts of like length


@dataclass(frozen=True)
class Share:
    """Every `count`-th segment of a suite, from `number` on, which counts from 0."""

    number: int
    count: int


def size_of(options: RunOptions) -> int:
    """The passes of a segment."""
    return max(PASSES, BATCHES * options.batch_size)


def parts_of(suite: Suite, options: RunOptions) -> list[tuple[Prompt, ...]]:
    """The passes of each segment."""
    size = size_of(options)
    return [suite.passes[i : i + size] for i in range(0, len(suite.passes), size)]


def write(analysis: Analysis, folder: Path) -> tuple[Run, list[Path]]:
    """Run every segment that is not done yet and write the files; returns the first segment as a run, and the paths.

    Raises LensError that names every prompt that the model cannot read, before any runs.
    """
    options, suite = analysis.options, analysis.suite
    parts = parts_of(suite, options)
    warnings = analysis.prompt_warnings(checked(analysis, parts))
    with opened(folder, options.file_stem, key(analysis)) as finished:
        finish(analysis, finished, parts, range(len(parts)))
        whole = finished.digest(len(parts))
        compose = partial(suite_document, whole, suite.keywords)
        document, manifest = analysis.documents(compose, whole, warnings)
        tables, of_battery = table_of(suite.passes, partial(finished.numbers, len(parts)))
        manifest |= of_battery | {
            "milestone_margins": None,
            "segments": {"passes": len(suite.passes), "most": size_of(options)},
        }
        shown = first(finished, tables, document, manifest)
        of_all = replace(shown, tables=tables)
        return shown, finished.publish(len(parts), of_all, document, manifest)


def write_share(analysis: Analysis, folder: Path, share: Share) -> None:
    """Run the segments of a share and keep them in `folder`, for a run that goes on from there.

    Raises LensError that names every prompt of the suite that the model cannot read, before any runs.
    """
    parts = parts_of(analysis.suite, analysis.options)
    with opened(folder, analysis.options.file_stem, key(analysis)) as finished:
        finish(analysis, finished, parts, range(share.number, len(parts), share.count))


def finish(
    analysis: Analysis, finished: Segments, parts: Sequence[Sequence[Prompt]], numbers: range
) -> None:
    """Run those of the segments `numbers` that are not done yet; memory holds one at a time."""
    analysis.runner.controls.choose(checked(analysis, parts))
    if done := sum(finished.has(number) for number in numbers):
        log.info("%d of %d segments are done already", done, len(numbers))
    with bar(sum(len(parts[number]) for number in numbers)) as progress:
        for number in numbers:
            if finished.has(number):
                progress.update(len(parts[number]))
            else:
                add(analysis, parts[number], finished, number, progress)


def checked(analysis: Analysis, parts: Sequence[Sequence[Prompt]]) -> Iterator[Encoded]:
    """Every prompt in tokens; raises LensError at the end, naming all that the model cannot read."""
    problems: dict[str, None] = {}
    for number, part in enumerate(parts):
        tests = () if number else analysis.suite.test_prompts
        try:
            yield from analysis.runner.encode(part, tests)
        except LensError as error:
            problems[str(error)] = None
    if problems:
        raise LensError("\n".join(problems))


def add(
    analysis: Analysis, part: Sequence[Prompt], finished: Segments, number: int, progress: Bar
) -> None:
    """Run the passes of one segment and write it; nothing of them stays in memory."""
    runner, options = analysis.runner, analysis.options
    passes = runner.run_some(runner.encode(part), progress.update)
    segment = Run(
        options.file_stem,
        records.tables_of(options, passes),
        {"contract": options.contract},
        residuals=next((result.residuals for result in passes if result.residuals), {}),
        table_format=options.table_format,
    )
    numbers = runner.controls.numbers(passes)
    finished.add(number, segment, digest(analysis.model.facts, options, passes), numbers)


def key(analysis: Analysis) -> dict[str, Any]:
    """All that the numbers of a segment depend on: segments of another key are not this run's."""
    options, suite = analysis.options, analysis.suite
    texts = repr((suite.passes, sorted(suite.keywords)))
    return {
        "options": asdict(options),
        "model": asdict(analysis.model.facts),
        "inputs": inputs(options),
        "versions": versions(),
        "determinism": settings(),
        "passes": sha256(texts.encode("utf-8", "backslashreplace")).hexdigest(),
        "most": size_of(options),
    }


def first(
    finished: Segments,
    tables: Tables,
    document: Mapping[str, Any],
    manifest: Mapping[str, Any],
) -> Run:
    """The first segment as a run to look at, with the block of the first pass alone, and `tables` of all passes."""
    name, standard = finished.name, contract_of(document).standard_csv
    table_format = manifest["options"]["table_format"]
    paths = [
        finished.place(0) / table_name(name, "pure", lens, table_format)
        for lens in ("norm", *manifest["lenses"])
    ]
    sources = dict(load.read_table(path, load.end_of(path.name, name), standard) for path in paths)
    return Run(
        name,
        {key: list(source.rows) for key, source in sources.items()} | tables,
        {**document, "passes": [*islice(document["passes"], 1)]},
        {**manifest, "prompts": [], "lenses": {}},
        folder=str(finished.out_dir),
        table_format=table_format,
    )
