"""The command line of a sweep → its jobs; all its faults are reported together."""

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

from ..errors import LensError
from ..lenses import check_lenses
from ..options import RunOptions
from ..output.store import is_output
from ..prompts.suite import suite_of
from ..prompts.textfiles import parse_json, read_text
from .engines import Job

BUILT_IN = Path(__file__).with_name("models.txt")


def jobs_of(args: Namespace, folder: Path) -> list[Job]:
    """A job for every requested model, each under the options of the command line; outputs go to `folder`."""
    names = {f.name for f in fields(RunOptions)} & {*vars(args)}
    options = {name: getattr(args, name) for name in names}
    problems: list[str] = []
    try:
        RunOptions("any", **options)
    except LensError as error:
        problems.append(str(error))
        options = {name: options[name] for name in ("lenses", "prompts")}
    runs: list[RunOptions] = []
    lists = [args.listed] if args.listed else [] if args.models else [BUILT_IN]
    try:
        listed = [entry for path in lists for entry in entries(Path(path))]
    except LensError as error:
        problems.append(str(error))
        listed = []
    named = [("", 1, {"model": model}) for model in args.models]
    for place, number, entry in [*named, *listed]:
        try:
            own = read(entry, number)
            runs.append(RunOptions.from_job({**options, **own, "out_dir": str(folder)}))
        except (LensError, json.JSONDecodeError) as error:
            problems.append(f"{place}{error}")
    problems += [*clashes(runs), *wrong_files(runs)]
    if args.jobs < 1:
        problems.append(f"--jobs must be a whole number from 1 on, got {args.jobs}")
    if not runs and not problems:
        problems.append(f"{args.listed} names no model; write one a line")
    if problems:
        raise LensError("\n".join(problems))
    return [Job(run, args.self_test, args.verbose) for run in runs]


def entries(path: Path) -> Iterator[tuple[str, int, Any]]:
    """Lines of a list with their places and numbers; `#` begins a comment."""
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LensError(f"cannot read the list of models {path}: {error}") from error
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            yield f"{path}:{number}: ", number, line


def read(entry: Any, number: int) -> dict[str, Any]:
    """A model by name, or an object of the options that are its own, as `batch` takes it; `number` is its line's."""
    if isinstance(entry, str) and entry.startswith("{"):
        entry = parse_json(entry, number)
    elif isinstance(entry, str):
        entry = {"model": entry.split(" #")[0].strip()}
    if "out_dir" in entry:
        raise LensError("out_dir cannot be one model's own; name the sweep's --out-dir")
    return dict(entry)


def clashes(runs: Sequence[RunOptions]) -> Iterator[str]:
    """Models whose outputs would have the same names."""
    for a, b in combinations(runs, 2):
        pairs = ((a, b.file_stem), (b, a.file_stem))
        if any(
            is_output(f"output-{c}{end}", run.file_stem)
            for run, c in pairs
            for end in (".json", "-records.csv")
        ):
            clash = f"{a.model} and {b.model} would write to the same files, as {a.file_stem} and {b.file_stem}"
            yield f'{clash}; give one a name in a --models file: {{"model": "{b.model}", "model_id": "…"}}'


def wrong_files(runs: Sequence[RunOptions]) -> Iterator[str]:
    """Lenses that are not registered and prompts that cannot be read, each once."""
    for lenses in dict.fromkeys(run.lenses for run in runs):
        try:
            check_lenses(lenses)
        except LensError as error:
            yield str(error)
    for prompts in dict.fromkeys(run.prompts for run in runs if run.prompts):
        try:
            suite_of(prompts)
        except LensError as error:
            yield str(error)
