"""A recipe or a checkpoint → a case ready for capture, in a library beside golden/."""

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


def entry(
    name: str,
    model: str,
    model_id: str,
    options: Mapping[str, Any],
    raw_lens: str | None,
    tolerance: str,
) -> dict[str, Any]:
    """The case as cases.json has it; raises SpecError listing everything that is wrong."""
    problems = []
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        problems.append(f"a case's name is lower-case words joined by hyphens, got {name!r}")
    if name in load_cases(GOLDEN):
        problems.append(f"golden/ has a case {name} already; choose another name")
    if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", model_id):
        problems.append(f"a model id is NAME or OWNER/NAME, got {model_id!r}")
    if unknown := sorted(set(options) - set(DEFAULTS)):
        problems.append(f"unknown option {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
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
    """Add the case, its checkpoint and its Prism artifacts to a library; the case's entry comes last.

    A library holds all that its cases read, models of golden/ too. Raises SpecError with everything that is wrong,
    and has written nothing then.
    """
    document = read_library(library)
    parts = {library / "models" / case["model"]: checkpoint}
    if prisms is not None:
        parts[library / "prisms" / case["model_id"].split("/")[-1]] = prisms
        case = {**case, "prism_dir": "prisms"}
    if problems := case_problems(library, name, case, document["cases"], parts):
        raise SpecError("\n".join(problems))
    for target, source in parts.items():
        place(source, target)
    document["cases"][name] = case
    write_json(library / "cases.json", document)


def case_problems(
    library: Path,
    name: str,
    case: Mapping[str, Any],
    known: Mapping[str, Any],
    parts: Mapping[Path, Path],
) -> list[str]:
    """Everything that forbids a case; `parts` are its folders in the library, with what is to be copied there."""
    problems = []
    for target, source in parts.items():
        kind, proof = ("checkpoint", "config.json")
        if target.parent.name == "prisms":
            kind, proof = ("Prism artifacts", "whiten.pt")
        if not (source / proof).is_file():
            problems.append(
                f"no {kind} at {source}: it has no {proof}; give the folder of one saved model"
            )
        there = GOLDEN / target.relative_to(library)
        for taken in (taken for taken in (target, there) if taken.exists()):
            if contents(taken) != contents(source):
                problems.append(f"{taken} holds other files; choose another name")
    if name in known:
        problems.append(
            f"{library} has a case {name} already; choose another name or another folder"
        )
    return [*problems, *same_names(read_entries(GOLDEN) | {**known, name: case})]


def read_library(library: Path) -> dict[str, Any]:
    """cases.json of a library, a new one where there is none."""
    path = library / "cases.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cases": {}}
    except (OSError, ValueError) as error:
        raise SpecError(
            f"cannot read {path}: {error}; restore it or give another folder"
        ) from error


def place(source: Path, target: Path) -> None:
    """Copy a folder in one step; one that is there already holds the same files."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as stage:
        copy_contents(source, Path(stage) / target.name)
        (Path(stage) / target.name).rename(target)
