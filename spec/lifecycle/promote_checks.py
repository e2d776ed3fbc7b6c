"""What a promotion would change in golden/, and everything that forbids it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..golden import cases_from, complete, contents, read_manifest, same_names, verify
from .capture import Capture, read_entries

CHANGES_TITLE = "### Golden changes"


def refusals(
    capture: Capture, golden: Path, changelog: Path, reason: str, environment: Mapping[str, str]
) -> list[str]:
    """Everything that forbids a promotion, one sentence each."""
    problems = uncommitted_changes(golden)
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        problems.append(
            "promotion is done by a person, not in CI (CI is set); run it on a checkout and commit the result"
        )
    if len(reason.split()) < 2:
        problems.append(
            f"a change of golden/ needs an explanation, got --reason {reason!r}; say in a sentence why it changed"
        )
    if not has_list(changelog):
        problems.append(
            f"{changelog} has no list “{CHANGES_TITLE}” to add the change to; restore it"
        )
    return [*problems, *capture_problems(capture, golden)]


def capture_problems(capture: Capture, golden: Path) -> list[str]:
    """What is wrong with the capture itself, held against golden/, one sentence each."""
    problems = []
    if not capture.cases:
        problems.append("the capture holds no case; capture at least one")
    if failed := [
        f"{name} ({case['problem']})" for name, case in capture.cases.items() if case["problem"]
    ]:
        problems.append(
            f"the capture holds cases that failed: {', '.join(failed)}; mend run.py and capture again"
        )
    if unlike := unexplained(capture, golden):
        problems.append(
            f"{', '.join(unlike)}: the files differ though neither run.py, its modules, the libraries nor the "
            "case did; find out why (another machine, other threads?) before golden/ follows"
        )
    return [
        *problems,
        *input_problems(capture, golden),
        *same_names(merged_entries(capture, golden)),
    ]


def merged_entries(capture: Capture, golden: Path) -> dict[str, Any]:
    """The cases of golden/ once those of the capture are in it."""
    return read_entries(golden) | {name: capture.entries[name] for name in capture.cases}


def unexplained(capture: Capture, golden: Path) -> list[str]:
    """Changed cases of which everything that makes them is as it was, as far as the provenance of both says."""
    manifest, entries = read_manifest(golden), read_entries(golden)
    now = made_by(capture.provenance)
    return [
        name
        for name in changed_cases(capture, golden)
        if entries.get(name) == capture.entries[name]
        and not changed_inputs(capture, golden, name)
        and made_by(last_provenance(manifest, name)) == now
    ]


def made_by(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a capture's numbers: run.py with its modules, Python and the libraries, but not the machine.

    All that is told where no modules are, as in a provenance written by hand.
    """
    parts = ("run_py", "modules", "python", "libraries")
    told = dict(provenance)
    return {part: told.get(part) for part in parts} if "modules" in told else told


def last_provenance(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The provenance of a case as it stands in golden/: its last promotion's, else that of the first captures."""
    later = [p["provenance"] for p in manifest.get("promotions", []) if name in p["cases"]]
    return [manifest["provenance"], *later][-1]


def inputs(entry: Mapping[str, Any]) -> list[Path]:
    """The folders that a case reads, relative to golden/: its model, and the artifacts of its recorded name."""
    (case,) = cases_from(complete({"case": entry})).values()
    artifacts = [case.prism_path(Path()) / case.model_id.split("/")[-1]] if case.prism_dir else []
    return [case.model_path(Path()), *artifacts]


def changed_inputs(capture: Capture, golden: Path, name: str) -> list[Path]:
    """The folders that a case reads and that came with the capture, where golden/ has others or none."""
    return [
        part
        for part in inputs(capture.entries[name])
        if (capture.folder / part).is_dir()
        and contents(capture.folder / part) != contents(golden / part)
    ]


def input_problems(capture: Capture, golden: Path) -> list[str]:
    """Models that nobody has, and inputs of cases that this capture does not hold but would change."""
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
                    f"{part} is another one in golden/, where {', '.join(readers)} reads it; "
                    "capture these too, or give it another name"
                )
    return problems


def has_list(changelog: Path) -> bool:
    return (
        changelog.is_file() and CHANGES_TITLE in changelog.read_text(encoding="utf-8").splitlines()
    )


def uncommitted_changes(golden: Path) -> list[str]:
    """Why golden/ is not as it was committed: by its manifest, and by version control where there is one."""
    problems = verify(golden)
    told = [f"golden/ is dirty: {'; '.join(problems[:3])}; restore it first"] if problems else []
    words = ["git", "-C", str(golden.parent), "status", "--porcelain", "--", str(golden)]
    try:
        status = subprocess.run(words, capture_output=True, text=True)
    except OSError:
        return told
    if status.returncode == 0 and status.stdout.strip():
        changed = ", ".join(line[3:] for line in status.stdout.splitlines()[:3])
        told.append(
            f"golden/ has changes that are not committed: {changed}; commit or restore them first"
        )
    return told


def changed_cases(capture: Capture, golden: Path) -> list[str]:
    """Cases whose entry, inputs or files, bytes and names, are not those of golden/."""
    entries = read_entries(golden)
    return [
        name
        for name in capture.cases
        if entries.get(name) != capture.entries[name]
        or changed_inputs(capture, golden, name)
        or contents(capture.folder / "outputs" / name) != contents(golden / "outputs" / name)
    ]
