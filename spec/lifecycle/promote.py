"""Promote a capture to golden/. No other code changes a snapshot.

The new golden/ is built in a folder next to the old one, verified against its own manifest, and replaces it by a
rename; the changelog's list of golden changes gets an entry with the reason. Both are complete before one is replaced.
A file that is equal within tolerance stays as it is, so a capture on another processor changes no more than run.py.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import SpecError
from ..golden import MANIFEST, build_manifest, copy_contents, read_manifest, verify
from ..runs.run import read_run
from ..schema.layout import judge_run
from ..schema.rules import Violation
from .capture import Capture, write_json
from .promote_checks import CHANGES_TITLE, changed_inputs, rounded_files


def promote(capture: Capture, golden: Path, changelog: Path, reason: str, names: list[str]) -> None:
    """Replace the snapshots of the named cases, rewrite the manifest, add the change to the changelog.

    Raises SpecError, with golden/ unchanged, where the new golden/ does not agree with its manifest.
    """
    entry = {
        "date": date.today().isoformat(),
        "reason": reason,
        "cases": names,
        "provenance": capture.provenance,
    }
    staging = Path(tempfile.mkdtemp(prefix=f".{golden.name}-", dir=golden.parent))
    log = changelog.with_name(f".{changelog.name}.new")
    try:
        fresh = staging / golden.name
        shutil.copytree(golden, fresh)
        for name in names:
            replace_outputs(capture, golden, fresh, name)
            for part in changed_inputs(capture, golden, name):
                replace_folder(capture.folder / part, fresh / part)
        add_entries(capture, fresh, names)
        promotions = [*read_manifest(golden).get("promotions", []), entry]
        write_json(fresh / MANIFEST, build_manifest(fresh, promotions))
        if problems := verify(fresh):
            raise SpecError(
                f"the new golden/ does not agree with its manifest: {problems[0]}; golden/ is unchanged"
            )
        log.write_text(with_change(changelog, entry), encoding="utf-8")
        swap(golden, fresh, staging / "old")
        os.replace(log, changelog)
    finally:
        log.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)


def replace_outputs(capture: Capture, golden: Path, fresh: Path, name: str) -> None:
    """Replace the outputs of a case; rounded ones stay, unless the run then breaks the schema."""
    source, target = capture.folder / "outputs" / name, fresh / "outputs" / name
    replace_folder(source, target)
    rounded = rounded_files(capture, golden, name)
    if not rounded:
        return
    for file in rounded:
        shutil.copyfile(golden / "outputs" / name / file, target / file)
    if len(violations(target)) > len(violations(source)):
        replace_folder(source, target)


def violations(folder: Path) -> tuple[Violation, ...]:
    """The violations of the run in a folder."""
    return judge_run(read_run(folder)).violations


def replace_folder(source: Path, target: Path) -> None:
    """Replace the target folder by a copy of the source."""
    shutil.rmtree(target, ignore_errors=True)
    copy_contents(source, target)


def swap(golden: Path, fresh: Path, old: Path) -> None:
    """Replace `golden` by `fresh` and move the old one to `old`; golden stays where that fails."""
    golden.rename(old)
    try:
        fresh.rename(golden)
    except OSError:
        old.rename(golden)
        raise


def add_entries(capture: Capture, golden: Path, names: list[str]) -> None:
    """Add the cases' entries to cases.json."""
    document = json.loads((golden / "cases.json").read_text(encoding="utf-8"))
    document["cases"] |= {name: capture.entries[name] for name in names}
    text = json.dumps(document, indent=1)  # the format of the first captures
    (golden / "cases.json").write_text(text, encoding="utf-8")


def with_change(changelog: Path, entry: Mapping[str, Any]) -> str:
    """Return the changelog's text with the entry at the top of its list of golden changes."""
    lines = changelog.read_text(encoding="utf-8").splitlines()
    at = lines.index(CHANGES_TITLE) + 1
    at += at < len(lines) and not lines[at]
    change = f"{', '.join(entry['cases'])}: {entry['reason']} ({source(entry['provenance'])})."
    lines.insert(at, f"- {entry['date']}: {change}")
    return "\n".join(lines) + "\n"


def source(provenance: Mapping[str, Any]) -> str:
    """Describe run.py by the hash of its file, or by its date."""
    digest = provenance.get("modules", {}).get(provenance.get("run_py"), "")[:12]
    return f"run.py {digest}" if digest else f"run.py of {provenance.get('as_of', 'unknown date')}"
