"""A capture → golden/: the only way in which a snapshot changes, and never by accident.

The new golden/ is built beside the old one, proved by its own manifest, and takes its place in one rename; the
changelog's list of golden changes gets an entry with the reason.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from .capture import Capture, read_entries, write_json
from .errors import SpecError
from .golden import MANIFEST, build_manifest, read_manifest, verify

CHANGES_TITLE = "### Golden changes"


def refusals(
    capture: Capture, golden: Path, changelog: Path, reason: str, environment: Mapping[str, str]
) -> list[str]:
    """Everything that forbids a promotion, one sentence each."""
    told = dirt(golden)
    if environment.get("CI", "").lower() not in ("", "0", "false"):
        told.append(
            "promotion is done by a person, not in CI (CI is set); run it on a checkout and commit the result"
        )
    if len(reason.split()) < 2:
        told.append(
            f"a change of golden/ needs an explanation, got --reason {reason!r}; say in a sentence why it changed"
        )
    if failed := [
        f"{name} ({case['problem']})" for name, case in capture.cases.items() if case["problem"]
    ]:
        told.append(
            f"the capture holds cases that failed: {', '.join(failed)}; mend run.py and capture again"
        )
    if not capture.cases:
        told.append("the capture holds no case; capture at least one")
    if not has_list(changelog):
        told.append(f"{changelog} has no list “{CHANGES_TITLE}” to add the change to; restore it")
    return told


def has_list(changelog: Path) -> bool:
    return (
        changelog.is_file() and CHANGES_TITLE in changelog.read_text(encoding="utf-8").splitlines()
    )


def dirt(golden: Path) -> list[str]:
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
    """Cases whose entry or whose files, bytes and names, are not those of golden/."""
    entries = read_entries(golden)
    return [
        name
        for name in capture.cases
        if entries.get(name) != capture.entries[name]
        or contents(capture.folder / "outputs" / name) != contents(golden / "outputs" / name)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def promote(capture: Capture, golden: Path, changelog: Path, reason: str, names: list[str]) -> None:
    """Replace the snapshots of the named cases, rewrite the manifest, tell the changelog."""
    entry = {
        "date": date.today().isoformat(),
        "reason": reason,
        "cases": names,
        "provenance": capture.provenance,
    }
    stage = Path(tempfile.mkdtemp(prefix=f".{golden.name}-", dir=golden.parent))
    try:
        fresh = stage / golden.name
        shutil.copytree(golden, fresh)
        for name in names:
            shutil.rmtree(fresh / "outputs" / name, ignore_errors=True)
            shutil.copytree(capture.folder / "outputs" / name, fresh / "outputs" / name)
        add_library(capture, fresh, names)
        promotions = [*read_manifest(golden).get("promotions", []), entry]
        write_json(fresh / MANIFEST, build_manifest(fresh, promotions))
        if problems := verify(fresh):
            raise SpecError(f"the new golden/ does not hold: {problems[0]}; golden/ is as it was")
        swap(golden, fresh, stage / "old")
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    add_change(changelog, entry)


def swap(golden: Path, fresh: Path, old: Path) -> None:
    """Put `fresh` in golden's place; where that fails, golden stays."""
    golden.rename(old)
    try:
        fresh.rename(golden)
    except OSError:
        old.rename(golden)
        raise


def add_library(capture: Capture, golden: Path, names: list[str]) -> None:
    """The cases' entries, and models and artifacts that came with the capture."""
    for part in ("models", "prisms"):
        if (capture.folder / part).is_dir():
            shutil.copytree(capture.folder / part, golden / part, dirs_exist_ok=True)
    document = json.loads((golden / "cases.json").read_text(encoding="utf-8"))
    document["cases"] |= {name: capture.entries[name] for name in names}
    text = json.dumps(document, indent=1)  # as it was captured
    (golden / "cases.json").write_text(text, encoding="utf-8")


def add_change(changelog: Path, entry: Mapping[str, Any]) -> None:
    """Put the entry on top of the changelog's list of golden changes, in one atomic write."""
    lines = changelog.read_text(encoding="utf-8").splitlines()
    at = lines.index(CHANGES_TITLE) + 1
    at += at < len(lines) and not lines[at]
    run_py = (
        entry["provenance"]
        .get("modules", {})
        .get(entry["provenance"].get("run_py"), "unknown")[:12]
    )
    lines.insert(
        at, f"- {entry['date']}: {', '.join(entry['cases'])}: {entry['reason']} (run.py {run_py})."
    )
    fresh = changelog.with_name(f".{changelog.name}.new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(fresh, changelog)
