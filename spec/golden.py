"""golden/: its cases, and the manifest that holds every file to the bytes that were captured."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import SpecError

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MANIFEST = "MANIFEST.json"
CORRECTED_LENSES = ("norm", "final", "raw", "prism")
CORRECTED_CASES = (
    *(
        "rms-rope",
        "layernorm-learned-pos",
        "layernorm-parallel",
        "softcap-postnorm",
        "qk-norm",
        "attn-bias",
    ),
    *("byte-bpe", "dropped-answer", "fact", "fact-prism", "layernorm-prism", "raw-full"),
)
PROVENANCE = {
    "runner": "run.py of logos-in-layers",
    "licence": "MIT",
    "as_of": "2025-09-06",
    "python": "3.11",
    "torch": "2.13.0+cpu",
    "transformer-lens": "2.16.1",
    "transformers": "4.57.6",
}


@dataclass(frozen=True)
class Case:
    """One captured run: a tiny model, the recorded model id, options, environment, tolerance class."""

    name: str
    model: str
    model_id: str
    args: Mapping[str, Any]
    env: Mapping[str, str]
    prism_dir: str | None
    tolerance: str

    def model_path(self, golden: Path = GOLDEN) -> Path:
        return golden / "models" / self.model

    def expected_dir(self, golden: Path = GOLDEN) -> Path:
        return (
            golden
            / ("corrected" if self.args.get("contract") == "corrected" else "outputs")
            / self.name
        )

    def prism_path(self, golden: Path = GOLDEN) -> Path:
        """The case's artifacts, or a folder that does not exist, as when the case was captured."""
        return golden / (self.prism_dir or "no-prisms")


def corrected(cases: Iterable[Case]) -> list[Case]:
    """The cases that have a golden of the corrected contract, asked for under it with all its lenses."""
    wanted = {"contract": "corrected", "lenses": list(CORRECTED_LENSES)}
    found = [
        replace(case, args={**case.args, **wanted})
        for case in cases
        if case.name in CORRECTED_CASES
    ]
    if not found:
        raise SpecError(
            f"no such case has a corrected golden; there are {', '.join(CORRECTED_CASES)}"
        )
    return found


def read_manifest(golden: Path = GOLDEN) -> dict[str, Any]:
    """MANIFEST.json; raises SpecError where it is missing or unreadable."""
    try:
        return json.loads((golden / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(
            f"cannot read {golden / MANIFEST}: {error}; restore it from version control"
        ) from error


def load_cases(golden: Path = GOLDEN) -> dict[str, Case]:
    """Every case of the manifest, by name, in its order."""
    return cases_from(read_manifest(golden)["cases"])


def cases_from(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Case]:
    """Cases from entries in the manifest's form."""
    return {
        name: Case(
            name,
            e["model"],
            e["model_id"],
            e["options"],
            e["environment"],
            e["prism_dir"],
            e["tolerance"],
        )
        for name, e in entries.items()
    }


def select(cases: Mapping[str, Case], names: Iterable[str]) -> list[Case]:
    """The named cases, all where none is named; raises SpecError listing the known names."""
    wanted = list(names) or list(cases)
    if unknown := [name for name in wanted if name not in cases]:
        raise SpecError(f"unknown case {', '.join(unknown)}; known cases: {', '.join(cases)}")
    return [cases[name] for name in wanted]


def file_hashes(golden: Path) -> dict[str, str]:
    """SHA-256 of every file of the captures, by relative path; golden/corrected has a manifest of its own."""
    own = {golden / MANIFEST, *(golden / "corrected").rglob("*")}
    files = sorted(path for path in golden.rglob("*") if path.is_file() and path not in own)
    return {
        path.relative_to(golden).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def case_entries(golden: Path) -> dict[str, dict[str, Any]]:
    """cases.json, as it was captured, in the manifest's form."""
    captured = json.loads((golden / "cases.json").read_text(encoding="utf-8"))["cases"]
    return {
        name: {
            "model": case["model"],
            "model_id": case["model_id"],
            "options": case.get("args", {}),
            "environment": case.get("env", {}),
            "prism_dir": case.get("prism_dir"),
            "tolerance": case.get("tolerance", "fp32"),
        }
        for name, case in captured.items()
    }


def build_manifest(golden: Path, promotions: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The manifest that describes the folder as it stands; `promotions` are the changes since the first captures."""
    later = {"promotions": list(promotions)} if promotions else {}
    return {
        "provenance": PROVENANCE,
        **later,
        "cases": case_entries(golden),
        "files": file_hashes(golden),
    }


def verify(golden: Path = GOLDEN) -> list[str]:
    """Every way in which golden/ is not what its manifest says, one sentence each; empty when all is well."""
    manifest, found = read_manifest(golden), file_hashes(golden)
    listed = manifest["files"]
    problems = [f"{name} is listed but missing" for name in listed if name not in found]
    problems += [f"{name} is not listed" for name in found if name not in listed]
    problems += [
        f"{name} was changed: its hash differs"
        for name in listed
        if found.get(name, listed[name]) != listed[name]
    ]
    if "cases.json" in found and case_entries(golden) != manifest["cases"]:
        problems.append("the cases of the manifest are not those of cases.json")
    return problems
