"""Captures: the files that an external run.py wrote for some cases, with their provenance. golden/ is never changed.

A capture is a folder: `capture.json` (provenance, result of each case, a hash of every file), `cases.json`,
`outputs/<case>/`, and for cases that golden/ does not have their `models/` and `prisms/`. `capture.json` is written
last: a folder without it was interrupted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..golden import GOLDEN, PROVENANCE, Case, complete, contents, copy_contents, file_hashes
from ..runners.external import ExternalResult, ExternalRunner, run_external

RECORD = "capture.json"
LOGS = "log"  # folder of the worker's output


@dataclass(frozen=True)
class Capture:
    """A capture that was read from its folder."""

    folder: Path
    provenance: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, Any]]  # by name: problem, seconds
    entries: Mapping[str, Any]  # the cases as cases.json has them


def capture(
    runner: ExternalRunner, cases: Sequence[Case], library: Path, out: Path
) -> ExternalResult:
    """Run the cases of a library (golden/ or a folder like it) into `out`, a new or empty folder."""
    outputs = {case.name: out / "outputs" / case.name for case in cases}
    (out / LOGS).mkdir()
    result = run_external(runner, cases, library, outputs, out / LOGS)
    copy_library(cases, library, out)
    results = {
        case.name: {
            "problem": result.outcome.problems.get(case.name, ""),
            "seconds": result.seconds.get(case.name),
        }
        for case in cases
    }
    write_json(
        out / RECORD,
        {"provenance": result.provenance, "cases": results, "files": captured_files(out)},
    )
    return result


def captured_files(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a capture except its record and its logs."""
    return {
        name: digest
        for name, digest in file_hashes(folder).items()
        if name != RECORD and not name.startswith(f"{LOGS}/")
    }


def changed_modules(known: Capture, provenance: Mapping[str, Any] | None) -> str:
    """Name the files of run.py that differ from the captured ones in a sentence; "" if none is known to differ."""
    before, now = known.provenance.get("modules", {}), (provenance or {}).get("modules", {})
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return (
        f"of run.py's own files, these differ from the capture: {', '.join(names)}"
        if names and now
        else ""
    )


def copy_library(cases: Sequence[Case], library: Path, out: Path) -> None:
    """Copy the cases' entries, and those of their models and artifacts that golden/ does not have."""
    entries = read_entries(library)
    write_json(out / "cases.json", {"cases": {case.name: entries[case.name] for case in cases}})
    for case in cases:
        for part in (
            case.model_path(Path()),
            case.prism_path(Path()) / case.model_id.split("/")[-1],
        ):
            if contents(library / part) != contents(GOLDEN / part):
                copy_contents(library / part, out / part)


def read_entries(library: Path) -> dict[str, Any]:
    """Read the cases of a library's cases.json, unchanged. Raises SpecError where it is missing or malformed."""
    try:
        entries = json.loads((library / "cases.json").read_text(encoding="utf-8"))["cases"]
        complete(entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"cannot read {library / 'cases.json'}: {error}; give a folder with cases.json"
        ) from error
    return dict(entries)


def read_capture(folder: Path) -> Capture:
    """Read a capture; raises SpecError where it was interrupted or its files changed since."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        listed, cases, provenance = record["files"], record["cases"], record["provenance"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"{folder} is no complete capture ({error}); make one with `python -m spec capture --out DIR`"
        ) from error
    hashes = captured_files(folder)
    if changed := sorted(
        name for name in listed.keys() | hashes.keys() if listed.get(name) != hashes.get(name)
    ):
        raise SpecError(
            f"{folder} is not what was captured: {', '.join(changed[:5])} changed; capture again"
        )
    return Capture(folder, provenance or {}, cases, read_entries(folder))


def read_captured_library(folder: Path, provenance: Path) -> Capture:
    """Read a library laid out as golden/ is, whose outputs run.py wrote elsewhere; `provenance` says what ran.

    Raises SpecError where a case has no outputs, outputs belong to no case, or the provenance is incomplete.
    """
    if (folder / RECORD).exists():
        raise SpecError(f"{folder} has a {RECORD} of its own; leave out --provenance")
    entries = read_entries(folder)
    folders = {path.name for path in (folder / "outputs").glob("*") if any(path.glob("*"))}
    if unmatched := sorted(entries.keys() ^ folders):
        raise SpecError(
            f"the cases of {folder / 'cases.json'} and the folders of outputs/ are not the same: "
            f"{', '.join(unmatched)}; give every case its outputs"
        )
    cases = {name: {"problem": "", "seconds": None} for name in entries}
    return Capture(folder, read_provenance(provenance), cases, entries)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read a JSON file that says what ran; raises SpecError where a part of it is missing."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        missing_keys = [key for key in PROVENANCE if not str(document.get(key) or "").strip()]
    except (OSError, ValueError, AttributeError) as error:
        raise SpecError(
            f"cannot read {path}: {error}; it is a JSON object with {', '.join(PROVENANCE)}"
        ) from error
    if missing_keys:
        raise SpecError(f"{path} does not say {', '.join(missing_keys)}; say what ran")
    return dict(document)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
