"""A recipe or a checkpoint → a case ready for capture, in a library beside golden/."""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .capture import write_json
from .errors import SpecError
from .golden import GOLDEN, load_cases
from .runner import DEFAULTS
from .tolerance import CLASSES

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
    """Add the case, its checkpoint and its Prism artifacts to a library; the case's entry comes last."""
    target = library / "models" / case["model"]
    if not (checkpoint / "config.json").is_file():
        raise SpecError(
            f"no checkpoint at {checkpoint}: it has no config.json; give a folder of a saved model"
        )
    document = read_library(library)
    if name in document["cases"]:
        raise SpecError(
            f"{library} has a case {name} already; choose another name or another folder"
        )
    if not (GOLDEN / "models" / case["model"]).is_dir():
        place(checkpoint, target)
    if prisms is not None:
        clean = case["model_id"].split("/")[-1]
        if not (prisms / "whiten.pt").is_file():
            raise SpecError(
                f"no Prism artifacts at {prisms}: it has no whiten.pt; give the folder of one model"
            )
        place(prisms, library / "prisms" / clean)
        case = {**case, "prism_dir": "prisms"}
    document["cases"][name] = case
    write_json(library / "cases.json", document)


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
    """Copy a folder in one step; a target that exists must hold the same files."""
    if target.exists():
        raise SpecError(f"{target} exists already; choose another name or another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as stage:
        shutil.copytree(source, Path(stage) / target.name)
        (Path(stage) / target.name).rename(target)
