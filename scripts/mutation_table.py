"""Print the tables of mutation_test.sh: killed mutants by module, and every survivor with the reason to accept it.

python scripts/mutation_table.py              the tables; status 1 unless 90% are killed and every survivor has a reason
python scripts/mutation_table.py --survivors  the survivors' names for mutmut, one a line

The reasons are in mutation_survivors.txt: a line with the reason, and below it, indented, the mutants as printed here.
A mutant is identified by its function and its changed line, so a reason stays valid when mutants are renumbered.
"""

import ast
import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MUTANTS = Path("mutants")
REASONS = Path(__file__).with_name("mutation_survivors.txt")
REQUIRED_SHARE = 0.90
STATUSES = {
    0: "survived",
    5: "no test",
    33: "no test",
    None: "not run",
}  # mutmut's exit codes; any other code is a kill


@dataclass(frozen=True)
class Mutant:
    """mutmut's name of a mutant, its module, its status (killed, survived, no test, not run), and its change."""

    name: str
    module: str
    status: str
    change: str


def read_mutants(folder: Path) -> Iterator[Mutant]:
    """Yield every mutant of mutmut's folder; a killed one has an empty change."""
    for meta in sorted(folder.glob("lenses_min/**/*.meta")):
        source = Path(str(meta).removesuffix(".meta"))
        module = ".".join(source.relative_to(folder).with_suffix("").parts[1:])
        bodies = read_bodies(source.read_text(encoding="utf-8"))
        for name, code in json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            status = STATUSES.get(code, "killed")
            yield Mutant(name, module, status, "" if status == "killed" else change(name, bodies))


def read_bodies(source: str) -> dict[str, list[str]]:
    """Return the lines of every function of a mutated file, parameters first, without decorators."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {f.name: [ast.unparse(f.args), *map(ast.unparse, f.body)] for f in functions}


def change(name: str, bodies: dict[str, list[str]]) -> str:
    """Return `function: changed line`, in the format of `ast.unparse`."""
    mutant = name.rsplit(".", 1)[-1]
    stem = mutant.rsplit("__mutmut_", 1)[0]
    function = stem.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    original = "\n".join(bodies[f"{stem}__mutmut_orig"]).splitlines()
    mutated = "\n".join(bodies[mutant]).splitlines()
    difference = difflib.ndiff(original, mutated)
    changed = [line[2:].strip() for line in difference if line.startswith("+ ")]
    return f"{name.split('.x')[0].removeprefix('lenses_min.')}.{function}: {' '.join(changed)}"


def read_reasons(path: Path) -> dict[str, str]:
    """Read the reasons by change."""
    reasons: dict[str, str] = {}
    reason = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            reasons[line.strip()] = reason
        elif line and not line.startswith("#"):
            reason = line
    return reasons


def modules_table(mutants: list[Mutant]) -> str:
    """Return the Markdown table of statuses by module."""
    rows = []
    for module in dict.fromkeys(m.module for m in mutants):
        rows.append((module, Counter(m.status for m in mutants if m.module == module)))
    rows.append(("all", Counter(m.status for m in mutants)))
    lines = [
        "| module | mutants | killed | survived | no test | not run | killed, % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for module, statuses in rows:
        if total := statuses.total():
            counts = " | ".join(
                str(statuses[status]) for status in ("killed", "survived", "no test", "not run")
            )
            lines.append(
                f"| {module} | {total} | {counts} | {100 * statuses['killed'] / total:.1f} |"
            )
    return "\n".join(lines)


def survivors_table(survivors: list[Mutant], reasons: dict[str, str]) -> str:
    """Return the survivors by reason, those without a reason first."""
    groups: dict[str, list[str]] = {}
    for mutant in sorted(survivors, key=lambda m: m.change in reasons):
        groups.setdefault(reasons.get(mutant.change, "NO REASON GIVEN"), []).append(mutant.change)
    return "\n\n".join(
        f"{reason} ({len(changes)})\n" + "\n".join(f"  {change}" for change in changes)
        for reason, changes in groups.items()
    )


def main() -> int:
    if not MUTANTS.is_dir():
        print(
            "there is no folder mutants/ here; run bash scripts/mutation_test.sh first",
            file=sys.stderr,
        )
        return 2
    mutants = list(read_mutants(MUTANTS))
    survivors = [m for m in mutants if m.status in ("survived", "no test")]
    if sys.argv[1:] == ["--survivors"]:
        print("\n".join(m.name for m in survivors))
        return 0
    reasons = read_reasons(REASONS)
    judged = [m for m in mutants if m.status != "not run"]
    explained = sum(m.change in reasons for m in survivors)
    unexplained = len(survivors) - explained
    killed = len(judged) - len(survivors)
    counting = max(1, len(judged) - explained)
    print(survivors_table(survivors, reasons), modules_table(mutants), sep="\n\n", end="\n\n")
    print(f"killed: {killed} of {len(judged)} mutants, {killed / max(1, len(judged)):.1%}")
    print(f"survivors with a reason: {explained}, without: {unexplained}")
    print(f"killed of those that count: {killed / counting:.1%}")
    print(f"not run: {len(mutants) - len(judged)} of {len(mutants)}")
    return 0 if mutants and killed >= REQUIRED_SHARE * counting and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
