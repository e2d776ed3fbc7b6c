"""golden/: its cases, and the manifest with a hash of every captured file."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import SpecError

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MANIFEST = "MANIFEST.json"
CORRECTED = (
    "corrected"  # folder of the goldens of the corrected contract, with a manifest of its own
)
LINE_ENDS = "golden/ has other line ends: clone again with core.autocrlf=false"
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
    *("biased-head", "big-eps", "odd-tokens", "unresolved-prism"),
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
            / (CORRECTED if self.args.get("contract") == "corrected" else "outputs")
            / self.name
        )

    def prism_path(self, golden: Path = GOLDEN) -> Path:
        """The case's artifacts, or a folder that does not exist, as when the case was captured."""
        return golden / (self.prism_dir or "no-prisms")


def corrected(cases: Iterable[Case]) -> list[Case]:
    """The cases that have a golden of the corrected contract, with the options of that contract and all its lenses.

    Raises SpecError where none of them has one.
    """
    options = {"contract": "corrected", "lenses": list(CORRECTED_LENSES)}
    known = [
        replace(case, args={**case.args, **options})
        for case in cases
        if case.name in CORRECTED_CASES
    ]
    if not known:
        raise SpecError(
            f"no such case has a corrected golden; there are {', '.join(CORRECTED_CASES)}"
        )
    return known


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
    selected = list(names) or list(cases)
    if unknown := [name for name in selected if name not in cases]:
        raise SpecError(f"unknown case {', '.join(unknown)}; known cases: {', '.join(cases)}")
    return [cases[name] for name in selected]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_hashes(golden: Path) -> dict[str, str]:
    """SHA-256 of every file of the captures, by relative path, but for hidden files and the manifest.

    golden/corrected has a manifest of its own.
    """
    own = {golden / MANIFEST, *(golden / CORRECTED).rglob("*")}
    files = sorted(path for path in golden.rglob("*") if path.is_file() and path not in own)
    files = [path for path in files if not path.name.startswith(".")]
    return {path.relative_to(golden).as_posix(): digest(path.read_bytes()) for path in files}


def case_entries(golden: Path) -> dict[str, dict[str, Any]]:
    """cases.json, as it was captured, in the manifest's form."""
    return complete(json.loads((golden / "cases.json").read_text(encoding="utf-8"))["cases"])


def complete(captured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Cases as cases.json has them in the manifest's form, which leaves nothing out."""
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


def same_names(entries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Cases that record the same name, whatever the case of its letters: files and artifacts are named by it."""
    first: dict[str, str] = {}
    problems = []
    for name, case in entries.items():
        recorded = case["model_id"].split("/")[-1]
        other = first.setdefault(recorded.lower(), name)
        if other != name:
            problems.append(
                f"cases {other} and {name} both record the name {recorded}; give one another model id"
            )
    return problems


def build_manifest(golden: Path, promotions: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The manifest of the folder's present content; `promotions` are the changes since the first captures."""
    later = {"promotions": list(promotions)} if promotions else {}
    return {
        "provenance": PROVENANCE,
        **later,
        "cases": case_entries(golden),
        "files": file_hashes(golden),
    }


def verify(golden: Path = GOLDEN) -> list[str]:
    """Every way in which golden/ is not what its manifests say, one sentence each; empty where it is.

    Where a checkout wrote other line ends, one sentence reports it in place of one for each file.
    """
    manifest = read_manifest(golden)
    problems = file_problems(golden, manifest["files"], file_hashes(golden))
    if (golden / "cases.json").is_file() and case_entries(golden) != manifest["cases"]:
        problems.append("the cases of the manifest are not those of cases.json")
    if (corrected_folder := golden / CORRECTED).is_dir():
        listed = read_manifest(corrected_folder)["files"]
        problems += [
            problem if problem == LINE_ENDS else f"{CORRECTED}/{problem}"
            for problem in file_problems(corrected_folder, listed, file_hashes(corrected_folder))
        ]
    return list(dict.fromkeys(problems))


def file_problems(folder: Path, listed: Mapping[str, str], hashes: Mapping[str, str]) -> list[str]:
    """How the files of a folder, `hashes` by name, differ from those that its manifest lists."""
    changed = [name for name in listed if hashes.get(name, listed[name]) != listed[name]]
    converted = [
        name
        for name in changed
        if digest((folder / name).read_bytes().replace(b"\r\n", b"\n")) == listed[name]
    ]
    return [
        *([LINE_ENDS] if converted else []),
        *(f"{name} is listed but missing" for name in listed if name not in hashes),
        *(f"{name} is not listed" for name in hashes if name not in listed),
        *(f"{name} was changed: its hash differs" for name in changed if name not in converted),
    ]


def require_intact(golden: Path = GOLDEN) -> None:
    """Raise SpecError where golden/ is not what was captured: nothing can be compared with it then."""
    problems = verify(golden)
    if LINE_ENDS in problems:
        raise SpecError(LINE_ENDS)
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise SpecError(
            f"{golden} is not what was captured: {'; '.join(problems[:3])}{more}; "
            "restore it from version control"
        )


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by relative path; none where there is no folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def copy_contents(source: Path, target: Path) -> None:
    """Copy the files below a folder, but not their modes: what is captured may be read-only."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / path.relative_to(source))
