"""A capture → golden/: the only way in which a snapshot changes, and never by accident.

The new golden/ is built beside the old one, proved by its own manifest, and takes its place in one rename; the
changelog's list of golden changes gets an entry with the reason. Both are written whole before either is replaced.
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
from .capture import Capture, write_json
from .promote_checks import CHANGES_TITLE, changed_inputs


def promote(capture: Capture, golden: Path, changelog: Path, reason: str, names: list[str]) -> None:
    """Replace the snapshots of the named cases, rewrite the manifest, tell the changelog."""
    entry = {
        "date": date.today().isoformat(),
        "reason": reason,
        "cases": names,
        "provenance": capture.provenance,
    }
    stage = Path(tempfile.mkdtemp(prefix=f".{golden.name}-", dir=golden.parent))
    log = changelog.with_name(f".{changelog.name}.new")
    try:
        fresh = stage / golden.name
        shutil.copytree(golden, fresh)
        for name in names:
            put(capture.folder / "outputs" / name, fresh / "outputs" / name)
            for part in changed_inputs(capture, golden, name):
                put(capture.folder / part, fresh / part)
        add_entries(capture, fresh, names)
        promotions = [*read_manifest(golden).get("promotions", []), entry]
        write_json(fresh / MANIFEST, build_manifest(fresh, promotions))
        if problems := verify(fresh):
            raise SpecError(f"the new golden/ does not hold: {problems[0]}; golden/ is as it was")
        log.write_text(with_change(changelog, entry), encoding="utf-8")
        swap(golden, fresh, stage / "old")
        os.replace(log, changelog)
    finally:
        log.unlink(missing_ok=True)
        shutil.rmtree(stage, ignore_errors=True)


def put(source: Path, target: Path) -> None:
    """Put the files of a folder in the target's place."""
    shutil.rmtree(target, ignore_errors=True)
    copy_contents(source, target)


def swap(golden: Path, fresh: Path, old: Path) -> None:
    """Put `fresh` in golden's place; where that fails, golden stays."""
    golden.rename(old)
    try:
        fresh.rename(golden)
    except OSError:
        old.rename(golden)
        raise


def add_entries(capture: Capture, golden: Path, names: list[str]) -> None:
    """The cases' entries in cases.json."""
    document = json.loads((golden / "cases.json").read_text(encoding="utf-8"))
    document["cases"] |= {name: capture.entries[name] for name in names}
    text = json.dumps(document, indent=1)  # as it was captured
    (golden / "cases.json").write_text(text, encoding="utf-8")


def with_change(changelog: Path, entry: Mapping[str, Any]) -> str:
    """The changelog with the entry on top of its list of golden changes."""
    lines = changelog.read_text(encoding="utf-8").splitlines()
    at = lines.index(CHANGES_TITLE) + 1
    at += at < len(lines) and not lines[at]
    change = f"{', '.join(entry['cases'])}: {entry['reason']} ({source(entry['provenance'])})."
    lines.insert(at, f"- {entry['date']}: {change}")
    return "\n".join(lines) + "\n"


def source(provenance: Mapping[str, Any]) -> str:
    """run.py in a few words: the hash of its file, or the day it is of."""
    digest = provenance.get("modules", {}).get(provenance.get("run_py"), "")[:12]
    return f"run.py {digest}" if digest else f"run.py of {provenance.get('as_of', 'unknown date')}"
