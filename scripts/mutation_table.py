"""The tables of mutation_test.sh: what was killed, module by module, and every survivor with the reason it may live.

python scripts/mutation_table.py              the tables; status 1 unless 90% are killed and every survivor has a reason
python scripts/mutation_table.py --survivors  the survivors' names for mutmut, one a line

Reasons stand in mutation_survivors.txt: a line for the reason, and under it, indented, the mutants as told here. A
mutant is told by its function and its changed line, so that a reason outlives the renumbering of mutants.
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
BAR = 0.90
LIVES = {
    0: "survived",
    5: "no test",
    33: "no test",
    None: "not run",
}  # mutmut's exit codes; any other is a kill


@dataclass(frozen=True)
class Mutant:
    """mutmut's name, module, what became of it, and what it changes."""

    name: str
    module: str
    fate: str
    change: str


def read_mutants(folder: Path) -> Iterator[Mutant]:
    """Every mutant of mutmut's folder; the changes of killed ones are not told."""
    for meta in sorted(folder.glob("lenses_min/**/*.meta")):
        source = Path(str(meta).removesuffix(".meta"))
        module = ".".join(source.relative_to(folder).with_suffix("").parts[1:])
        bodies = read_bodies(source.read_text(encoding="utf-8"))
        for name, code in json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            fate = LIVES.get(code, "killed")
            yield Mutant(name, module, fate, "" if fate == "killed" else change(name, bodies))


def read_bodies(source: str) -> dict[str, list[str]]:
    """The lines of every function of a mutated file, parameters first and decorators left out."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {f.name: [ast.unparse(f.args), *map(ast.unparse, f.body)] for f in functions}


def change(name: str, bodies: dict[str, list[str]]) -> str:
    """`function: changed line`, both as Python would write them."""
    mutant = name.rsplit(".", 1)[-1]
    stem = mutant.rsplit("__mutmut_", 1)[0]
    function = stem.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    lines = [
        ["\n".join(bodies[which]).splitlines()][0] for which in (f"{stem}__mutmut_orig", mutant)
    ]
    changed = [line[2:].strip() for line in difflib.ndiff(*lines) if line.startswith("+ ")]
    return f"{name.split('.x')[0].removeprefix('lenses_min.')}.{function}: {' '.join(changed)}"


def read_reasons(path: Path) -> dict[str, str]:
    """Change → reason."""
    found, reason = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            found[line.strip()] = reason
        elif line and not line.startswith("#"):
            reason = line
    return found


def modules_table(mutants: list[Mutant]) -> str:
    rows = []
    for module in dict.fromkeys(m.module for m in mutants):
        rows.append((module, Counter(m.fate for m in mutants if m.module == module)))
    rows.append(("all", Counter(m.fate for m in mutants)))
    lines = [
        "| module | mutants | killed | survived | no test | not run | killed, % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for module, fates in rows:
        if total := fates.total():
            counts = " | ".join(
                str(fates[fate]) for fate in ("killed", "survived", "no test", "not run")
            )
            lines.append(f"| {module} | {total} | {counts} | {100 * fates['killed'] / total:.1f} |")
    return "\n".join(lines)


def survivors_table(alive: list[Mutant], reasons: dict[str, str]) -> str:
    """The survivors by reason, those without one first."""
    groups: dict[str, list[str]] = {}
    for mutant in sorted(alive, key=lambda m: m.change in reasons):
        groups.setdefault(reasons.get(mutant.change, "NO REASON GIVEN"), []).append(mutant.change)
    return "\n\n".join(
        f"{reason} ({len(g)})\n" + "\n".join(f"  {c}" for c in g) for reason, g in groups.items()
    )


def main() -> int:
    if not MUTANTS.is_dir():
        print(
            "there is no folder mutants/ here; run bash scripts/mutation_test.sh first",
            file=sys.stderr,
        )
        return 2
    mutants = list(read_mutants(MUTANTS))
    alive = [m for m in mutants if m.fate in ("survived", "no test")]
    if sys.argv[1:] == ["--survivors"]:
        print("\n".join(m.name for m in alive))
        return 0
    reasons = read_reasons(REASONS)
    judged = [m for m in mutants if m.fate != "not run"]
    harmless = sum(m.change in reasons for m in alive)
    killed, counting = len(judged) - len(alive), max(1, len(judged) - harmless)
    print(survivors_table(alive, reasons), modules_table(mutants), sep="\n\n", end="\n\n")
    print(f"killed: {killed} of {len(judged)} mutants, {killed / max(1, len(judged)):.1%}")
    print(f"survivors with a reason: {harmless}, without: {len(alive) - harmless}")
    print(f"killed of those that count: {killed / counting:.1%}")
    print(f"not run: {len(mutants) - len(judged)} of {len(mutants)}")
    return 0 if killed >= BAR * counting and harmless == len(alive) and mutants else 1


if __name__ == "__main__":
    sys.exit(main())
