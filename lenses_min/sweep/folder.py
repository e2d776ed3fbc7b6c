"""`run-latest/`: new or resumed; which runs in it are complete, and how their outputs are stored.

A sweep that is not finished (stopped, or with failures) is resumed when it is started again with the same options under
the same versions; more models are allowed. Any other earlier sweep moves to `run-<its time>/`.
"""

import datetime
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import LensError
from ..options import RunOptions
from ..output.hidden import SEGMENTS
from ..output.inputs import inputs
from ..output.manifest import error_report, now, versions
from ..output.store import is_output, json_text, staged, write_bytes, write_error, write_text
from .engines import Outcome

LATEST = "run-latest"
MANIFEST = "sweep.manifest.json"


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file; empty where there is none to read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def plain(options: RunOptions) -> Any:
    """Options as a manifest has them after reading."""
    return json.loads(json.dumps(asdict(options)))


@contextmanager
def opened(folder: Path, runs: Sequence[RunOptions], fresh: bool) -> Iterator[list[RunOptions]]:
    """Prepare the sweep's folder and lock it against other sweeps; yields the runs that are not complete.

    On leaving, by an exception or not, no part of a run is left in it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            manifest = {"started_at": now(), "finished_at": None, "versions": versions()}
            manifest["jobs"] = {run.file_stem: plain(run) for run in runs}
            earlier = read_json(folder / MANIFEST)
            if not fresh and can_resume(earlier, manifest):
                manifest["started_at"] = earlier["started_at"]
            elif folder.exists():
                rotate(folder)
            folder.mkdir(exist_ok=True)
            write(folder, manifest)
            remaining = [run for run in runs if not complete(folder, run)]
            for run in remaining:
                clear(folder, run)
            try:
                yield remaining
            finally:
                clean_up(folder, runs)
            if all(run_manifest(folder, run) for run in runs):
                write(folder, manifest | {"finished_at": now()})
    except Timeout as error:
        raise LensError(
            f"another sweep is at work in {folder}; wait for it, or name another --out-dir"
        ) from error
    except OSError as error:
        raise LensError(
            f"cannot write to {folder}: {error.strerror or error}; give another --out-dir"
        ) from error


def can_resume(earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    same = all(earlier.get(key) == manifest[key] for key in ("finished_at", "versions"))
    return same and earlier.get("jobs", {"": None}).items() <= manifest["jobs"].items()


def rotate(folder: Path) -> Path:
    """Move an earlier sweep to `run-<its time>`, or the time of its last change; a taken name gets a number."""
    try:
        time = datetime.datetime.fromisoformat(read_json(folder / MANIFEST)["started_at"])
    except (KeyError, TypeError, ValueError):
        time = datetime.datetime.fromtimestamp(folder.stat().st_mtime)
    for run_folder in folder.glob(f".*.{SEGMENTS}"):
        shutil.rmtree(run_folder)
    name = f"run-{time.astimezone(datetime.UTC):%Y-%m-%d-%H-%M}"
    names = (folder.with_name(f"{name}-{i}" if i > 1 else name) for i in count(1))
    return folder.rename(next(path for path in names if not path.exists()))


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    write_text(folder / f".{MANIFEST}", json_text(manifest) + "\n")
    (folder / f".{MANIFEST}").replace(folder / MANIFEST)


def run_manifest(folder: Path, options: RunOptions) -> dict[str, Any]:
    """The manifest of a run, written last of its files; empty where there is none."""
    return read_json(folder / f"run-{options.file_stem}.manifest.json")


def complete(folder: Path, options: RunOptions) -> bool:
    """Whether a run is there that would come out the same: its options, versions and marks of what it read.

    Labels such as +cpu make no other version. A hub id that is not in this machine's cache agrees with any commit.
    """
    manifest = run_manifest(folder, options)
    if manifest.get("options") != plain(options) or bare(manifest["versions"]) != bare(versions()):
        return False
    marks, then = inputs(options), manifest.get("inputs", {})
    whole = (folder / f"output-{options.file_stem}.json").is_file()
    return (
        whole and marks.keys() == then.keys() and all(v in ("", then[k]) for k, v in marks.items())
    )


def bare(versions: Mapping[str, str]) -> dict[str, str]:
    return {package: version.split("+")[0] for package, version in versions.items()}


def clear(folder: Path, options: RunOptions) -> None:
    for path in list(folder.iterdir()):
        if is_output(path.name, options.file_stem):
            path.unlink()


def clean_up(folder: Path, runs: Sequence[RunOptions]) -> None:
    """Take away what runs that were killed have left: hidden parts, and files without the manifest that ends them.

    Segments that they have finished stay, for the runs to go on from there.
    """
    for path in folder.glob(".*"):
        if path.suffix != f".{SEGMENTS}":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for run in runs:
        if (
            not run_manifest(folder, run)
            and not (folder / f"output-{run.file_stem}.error.json").exists()
        ):
            clear(folder, run)


def store_outputs(folder: Path, options: RunOptions, outcome: Outcome) -> None:
    """Bring the outputs of a run into the folder; a process that died without a word gets its error.json here."""
    if outcome.files:
        with staged(folder, options.file_stem) as stage:
            for name, data in outcome.files.items():
                write_bytes(stage / name, data)
    if (
        not run_manifest(folder, options)
        and not (folder / f"output-{options.file_stem}.error.json").exists()
    ):
        last = outcome.output.splitlines()[-1:] or ["it printed nothing"]
        ended = f"the run ended with status {outcome.status}: {last[0]}"
        write_error(folder, options.file_stem, error_report(options, LensError(ended)))
