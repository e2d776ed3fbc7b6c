"""Captures: what a foreign run.py wrote for some cases, with everything needed to trust it. golden/ is never touched.

A capture is a folder: `capture.json` (provenance, what became of each case, a hash of every file), `cases.json`,
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
from ..runners.external import Ended, Foreign, run_foreign

RECORD = "capture.json"
LOGS = "log"  # folder of the worker's output


@dataclass(frozen=True)
class Capture:
    """A capture as it was read back."""

    folder: Path
    provenance: Mapping[str, Any]
    cases: Mapping[str, Mapping[str, Any]]  # by name: problem, seconds
    entries: Mapping[str, Any]  # the cases as cases.json has them


def capture(foreign: Foreign, cases: Sequence[Case], library: Path, out: Path) -> Ended:
    """Run the cases of a library (golden/ or a folder like it) into `out`, a new or empty folder."""
    outputs = {case.name: out / "outputs" / case.name for case in cases}
    (out / LOGS).mkdir()
    ended = run_foreign(foreign, cases, library, outputs, out / LOGS)
    copy_library(cases, library, out)
    told = {
        case.name: {
            "problem": ended.outcome.problems.get(case.name, ""),
            "seconds": ended.seconds.get(case.name),
        }
        for case in cases
    }
    write_json(
        out / RECORD, {"provenance": ended.provenance, "cases": told, "files": captured_files(out)}
    )
    return ended


def captured_files(folder: Path) -> dict[str, str]:
    """Hash of every file of a capture but its record and its logs."""
    return {
        name: d
        for name, d in file_hashes(folder).items()
        if name != RECORD and not name.startswith(f"{LOGS}/")
    }


def changed_modules(known: Capture, provenance: Mapping[str, Any] | None) -> str:
    """Which files of run.py differ from those that were captured, as a sentence; "" where none is known to."""
    before, now = known.provenance.get("modules", {}), (provenance or {}).get("modules", {})
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return (
        f"of run.py's own files, these differ from the capture: {', '.join(names)}"
        if names and now
        else ""
    )


def copy_library(cases: Sequence[Case], library: Path, out: Path) -> None:
    """The cases' own entries, and what golden/ does not have of their models and artifacts."""
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
    """The cases of a library's cases.json, as they stand."""
    try:
        entries = json.loads((library / "cases.json").read_text(encoding="utf-8"))["cases"]
        complete(entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"cannot read {library / 'cases.json'}: {error}; give a folder with cases.json"
        ) from error
    return dict(entries)


def read_capture(folder: Path) -> Capture:
    """Read a capture; raises SpecError where it was interrupted or its files are not what was captured."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        listed, cases, provenance = record["files"], record["cases"], record["provenance"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"{folder} is no complete capture ({error}); make one with `python -m spec capture --out DIR`"
        ) from error
    found = captured_files(folder)
    if wrong := sorted(
        name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name)
    ):
        raise SpecError(
            f"{folder} is not what was captured: {', '.join(wrong[:5])} changed; capture again"
        )
    return Capture(folder, provenance or {}, cases, read_entries(folder))


def read_captured_library(folder: Path, provenance: Path) -> Capture:
    """A library laid out as golden/ is, whose outputs run.py wrote elsewhere; `provenance` says what ran.

    Raises SpecError where a case has no outputs, outputs belong to no case, or the provenance is not whole.
    """
    if (folder / RECORD).exists():
        raise SpecError(f"{folder} has a {RECORD} of its own; leave out --provenance")
    entries = read_entries(folder)
    found = {path.name for path in (folder / "outputs").glob("*") if any(path.glob("*"))}
    if wrong := sorted(entries.keys() ^ found):
        raise SpecError(
            f"the cases of {folder / 'cases.json'} and the folders of outputs/ are not the same: "
            f"{', '.join(wrong)}; give every case its outputs"
        )
    cases = {name: {"problem": "", "seconds": None} for name in entries}
    return Capture(folder, read_provenance(provenance), cases, entries)


def read_provenance(path: Path) -> dict[str, Any]:
    """A JSON file that says what ran; raises SpecError where a part of it is missing."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        lacking = [key for key in PROVENANCE if not str(told.get(key) or "").strip()]
    except (OSError, ValueError, AttributeError) as error:
        raise SpecError(
            f"cannot read {path}: {error}; it is a JSON object with {', '.join(PROVENANCE)}"
        ) from error
    if lacking:
        raise SpecError(f"{path} does not say {', '.join(lacking)}; say what ran")
    return dict(told)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
