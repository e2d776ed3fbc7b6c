"""Find what a promotion would change in golden/, and every reason to refuse it."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..compare.verdicts import EQUAL
from ..golden import cases_from, complete, contents, read_manifest, same_names, verify
from ..runners.check import CaseResult, report
from ..runners.command import Outcome
from ..runs.listing import part_of
from .capture import Capture, read_entries
from .history import names
from .only import beyond, unmatched

CHANGES_TITLE = "### Golden changes"


def refusals(
    capture: Capture, golden: Path, changelog: Path, reason: str, environment: Mapping[str, str]
) -> list[str]:
    """Return every reason to refuse a promotion, a sentence each."""
    problems = uncommitted_changes(golden)
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        problems.append(
            "promotion is done by a person, not in CI (CI is set); run it on a checkout and commit the result"
        )
    if len(reason.split()) < 2:
        problems.append(
            f"a change of golden/ needs an explanation, got --reason {reason!r}; say in a sentence why it changed"
        )
    if not has_changes_list(changelog):
        problems.append(
            f"{changelog} has no list “{CHANGES_TITLE}” to add the change to; restore it"
        )
    return [*problems, *capture_problems(capture, golden)]


def capture_problems(capture: Capture, golden: Path) -> list[str]:
    """Return the problems of the capture itself, compared with golden/, a sentence each."""
    problems = []
    if not capture.cases:
        problems.append("the capture holds no case; capture at least one")
    if failed := [
        f"{name} ({case['problem']})" for name, case in capture.cases.items() if case["problem"]
    ]:
        problems.append(
            f"the capture holds cases that failed: {', '.join(failed)}; fix run.py and capture again"
        )
    if changed := unexplained_changes(capture, golden):
        problems.append(
            f"{', '.join(changed)}: the files differ though neither run.py, its modules, the libraries nor the "
            "case did; find out why (another machine, other threads?) before you change golden/"
        )
    return [
        *problems,
        *input_problems(capture, golden),
        *same_names(merged_entries(capture, golden)),
    ]


def only_problems(changed: Sequence[str], only: Sequence[str]) -> list[str]:
    """Return what the capture changes and `only` does not name, and the other way round, a sentence each."""
    problems = []
    if others := beyond(changed, only):
        problems.append(
            f"the capture changes more than --only names: {', '.join(others)}; find out why, or name them too"
        )
    if unchanged := unmatched(only, changed):
        problems.append(
            f"the capture does not change {', '.join(unchanged)}; it changes {', '.join(changed)}"
        )
    return problems


def changed_names(capture: Capture, golden: Path, results: Sequence[CaseResult]) -> tuple[str, ...]:
    """Return what a promotion changes, by the names of `accept`: columns, keys, passes, files.

    `results` are the cases that golden/ has and the capture changes. Beside them come new cases (`case NAME`), other
    options of a case (`cases.json: NAME`) and folders that cases read (`models/NAME`).
    """
    entries = read_entries(golden)
    pairs = [(r.case, mismatch) for r in results for mismatch in r.comparison.mismatches]
    files = [part_of(file) for result in results for file in other_files(capture, golden, result)]
    new = [f"case {name}" for name in capture.cases if name not in entries]
    options = [r.case for r in results if entries[r.case] != capture.entries[r.case]]
    folders = [part for result in results for part in changed_inputs(capture, golden, result.case)]
    further = (
        *files,
        *new,
        *(f"cases.json: {name}" for name in options),
        *map(Path.as_posix, folders),
    )
    return tuple(dict.fromkeys((*names(pairs), *further)))


def other_files(capture: Capture, golden: Path, result: CaseResult) -> list[str]:
    """Return the files of a case that a promotion changes though the comparison finds nothing in them."""
    named = {mismatch.file for mismatch in result.comparison.mismatches}
    rounded = {file for file, verdict in result.verdicts.items() if verdict == EQUAL}
    return sorted(differing_files(capture, golden, result.case) - named - rounded)


def merged_entries(capture: Capture, golden: Path) -> dict[str, Any]:
    """Return the cases that golden/ has after the promotion."""
    return read_entries(golden) | {name: capture.entries[name] for name in capture.cases}


def unexplained_changes(capture: Capture, golden: Path) -> list[str]:
    """Return the changed cases whose inputs and software are the same as before, by the provenance of both."""
    manifest, entries = read_manifest(golden), read_entries(golden)
    now = software(capture.provenance)
    return [
        name
        for name in changed_cases(capture, golden)
        if entries.get(name) == capture.entries[name]
        and not changed_inputs(capture, golden, name)
        and software(last_provenance(manifest, name)) == now
    ]


def software(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the software that determines a capture's numbers: run.py with its modules, Python, libraries.

    The machine is left out. A provenance without modules, which a person wrote, is returned as a whole.
    """
    if "modules" not in provenance:
        return dict(provenance)
    return {key: provenance.get(key) for key in ("run_py", "modules", "python", "libraries")}


def last_provenance(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the provenance of a case in golden/: that of its last promotion, else of the first captures."""
    later = [p["provenance"] for p in manifest.get("promotions", []) if name in p["cases"]]
    return [manifest["provenance"], *later][-1]


def inputs(entry: Mapping[str, Any]) -> list[Path]:
    """Return the folders that a case reads, relative to golden/: its model and its Prism artifacts."""
    (case,) = cases_from(complete({"case": entry})).values()
    artifacts = [case.prism_path(Path()) / case.model_id.split("/")[-1]] if case.prism_dir else []
    return [case.model_path(Path()), *artifacts]


def changed_inputs(capture: Capture, golden: Path, name: str) -> list[Path]:
    """Return the folders that a case reads, that the capture holds, and that differ from those of golden/."""
    return [
        part
        for part in inputs(capture.entries[name])
        if (capture.folder / part).is_dir()
        and contents(capture.folder / part) != contents(golden / part)
    ]


def input_problems(capture: Capture, golden: Path) -> list[str]:
    """Report missing models, and changed inputs that cases outside this capture read too."""
    problems = []
    for name in capture.cases:
        model = inputs(capture.entries[name])[0]
        if not any((root / model / "config.json").is_file() for root in (capture.folder, golden)):
            problems.append(f"case {name} has no checkpoint {model}; capture it from a library")
        for part in changed_inputs(capture, golden, name):
            readers = [
                other
                for other, entry in read_entries(golden).items()
                if other not in capture.cases and part in inputs(entry)
            ]
            if readers:
                problems.append(
                    f"{part} differs from that of golden/, where {', '.join(readers)} reads it; "
                    "capture these too, or give it another name"
                )
    return problems


def has_changes_list(changelog: Path) -> bool:
    return (
        changelog.is_file() and CHANGES_TITLE in changelog.read_text(encoding="utf-8").splitlines()
    )


def uncommitted_changes(golden: Path) -> list[str]:
    """Report changes of golden/ that are not committed, by its manifest and, where available, by git."""
    problems = verify(golden)
    changes = (
        [f"golden/ differs from its manifest: {'; '.join(problems[:3])}; restore it first"]
        if problems
        else []
    )
    command = ["git", "-C", str(golden.parent), "status", "--porcelain", "--", str(golden)]
    try:
        status = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return changes
    if status.returncode == 0 and status.stdout.strip():
        changed = ", ".join(line[3:] for line in status.stdout.splitlines()[:3])
        changes.append(
            f"golden/ has changes that are not committed: {changed}; commit or restore them first"
        )
    return changes


def changed_cases(capture: Capture, golden: Path) -> list[str]:
    """Return the cases whose entry, inputs or outputs differ from those of golden/, outputs by more than rounding."""
    entries = read_entries(golden)
    return [
        name
        for name in capture.cases
        if entries.get(name) != capture.entries[name]
        or changed_inputs(capture, golden, name)
        or differing_files(capture, golden, name) - rounded_files(capture, golden, name)
    ]


def compared(capture: Capture, golden: Path, changed: Sequence[str]) -> tuple[CaseResult, ...]:
    """Return the comparison of each changed case that golden/ has with its snapshot."""
    known = read_entries(golden)
    entries = {name: capture.entries[name] for name in changed if name in known}
    if not entries:
        return ()
    cases = list(cases_from(complete(entries)).values())
    folders = {case.name: capture.folder / "outputs" / case.name for case in cases}
    return report(cases, golden, folders, Outcome(0, "", 0.0)).results


def differing_files(capture: Capture, golden: Path, name: str) -> set[str]:
    """Return the output files of a case that golden/ lacks, has alone, or has with other bytes."""
    new, old = (contents(root / "outputs" / name) for root in (capture.folder, golden))
    return {file for file in new.keys() | old.keys() if new.get(file) != old.get(file)}


def rounded_files(capture: Capture, golden: Path, name: str) -> set[str]:
    """Return the output files of a case of golden/ that differ from its by rounding alone: they stay as they are."""
    entry = read_entries(golden).get(name)
    if entry is None or entry != capture.entries[name]:
        return set()
    (case,) = cases_from(complete({name: entry})).values()
    folder = capture.folder / "outputs" / name
    (result,) = report([case], golden, {name: folder}, Outcome(0, "", 0.0)).results
    return {file for file, verdict in result.verdicts.items() if verdict == EQUAL}
