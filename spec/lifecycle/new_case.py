"""Make a case from a recipe or a checkpoint, ready for capture, in a library outside golden/."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..compare.tolerance import CLASSES
from ..errors import SpecError
from ..golden import GOLDEN, contents, copy_contents, load_cases, same_names
from ..runners.command import DEFAULTS
from .capture import read_entries, write_json

RAW_LENS = ("off", "sample", "full")


def make_entry(
    name: str,
    model: str,
    model_id: str,
    options: Mapping[str, Any],
    raw_lens: str | None,
    tolerance: str,
) -> dict[str, Any]:
    """Return the case's entry in cases.json; raises SpecError with every problem of the arguments."""
    problems = []
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        problems.append(f"a case's name is lower-case words joined by hyphens, got {name!r}")
    if name in load_cases(GOLDEN):
        problems.append(f"golden/ has a case {name} already; choose another name")
    if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", model_id):
        problems.append(f"a model id is NAME or OWNER/NAME, got {model_id!r}")
    if unknown_options := sorted(set(options) - set(DEFAULTS)):
        problems.append(
            f"unknown option {', '.join(unknown_options)}; there are {', '.join(DEFAULTS)}"
        )
    problems += [
        f"option {key} is a {type(DEFAULTS[key]).__name__}, got {value!r}"
        for key, value in options.items()
        if key in DEFAULTS and type(value) is not type(DEFAULTS[key])
    ]
    if raw_lens is not None and raw_lens not in RAW_LENS:
        problems.append(f"raw lens is one of {', '.join(RAW_LENS)}, got {raw_lens!r}")
    if tolerance not in CLASSES:
        problems.append(f"a tolerance class is one of {', '.join(CLASSES)}, got {tolerance!r}")
    if problems:
        raise SpecError("\n".join(problems))
    return {
        "model": model,
        "model_id": model_id,
        **({"args": dict(options)} if options else {}),
        **({"env": {"LOGOS_RAW_LENS": raw_lens}} if raw_lens else {}),
        **({"tolerance": tolerance} if tolerance != "fp32" else {}),
    }


def add_case(
    library: Path, name: str, case: Mapping[str, Any], checkpoint: Path, prisms: Path | None
) -> None:
    """Add a case, its checkpoint and its Prism artifacts to a library; the entry is written last.

    A library holds everything that its cases read, also models of golden/. Raises SpecError with every problem, and
    writes nothing in this case.
    """
    document = read_library(library)
    parts = {library / "models" / case["model"]: checkpoint}
    if prisms is not None:
        parts[library / "prisms" / case["model_id"].split("/")[-1]] = prisms
        case = {**case, "prism_dir": "prisms"}
    if problems := case_problems(library, name, case, document["cases"], parts):
        raise SpecError("\n".join(problems))
    for target, source in parts.items():
        copy_folder(source, target)
    document["cases"][name] = case
    write_json(library / "cases.json", document)


def case_problems(
    library: Path,
    name: str,
    case: Mapping[str, Any],
    known: Mapping[str, Any],
    parts: Mapping[Path, Path],
) -> list[str]:
    """Return every reason to refuse a case; `parts` maps its folders in the library to the folders to copy there."""
    problems = []
    for target, source in parts.items():
        kind, file = ("checkpoint", "config.json")
        if target.parent.name == "prisms":
            kind, file = ("Prism artifacts", "whiten.pt")
        if not (source / file).is_file():
            problems.append(
                f"no {kind} at {source}: it has no {file}; give the folder of one saved model"
            )
        for path in (target, GOLDEN / target.relative_to(library)):
            if path.exists() and contents(path) != contents(source):
                problems.append(f"{path} holds other files; choose another name")
    if name in known:
        problems.append(
            f"{library} has a case {name} already; choose another name or another folder"
        )
    return [*problems, *same_names(read_entries(GOLDEN) | {**known, name: case})]


def read_library(library: Path) -> dict[str, Any]:
    """Read cases.json of a library; a library without one has no cases. Raises SpecError where it is unreadable."""
    path = library / "cases.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cases": {}}
    except (OSError, ValueError) as error:
        raise SpecError(
            f"cannot read {path}: {error}; restore it or give another folder"
        ) from error


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder atomically; an existing target already holds the same files."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as staging:
        copy_contents(source, Path(staging) / target.name)
        (Path(staging) / target.name).rename(target)
