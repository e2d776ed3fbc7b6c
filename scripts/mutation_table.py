"""Print the tables of mutation_test.sh: killed mutants by room or module, and every survivor with its reason.

python scripts/mutation_table.py               the tables; status 0 if 95% are killed, every survivor has a reason and
                                               every reason a survivor
python scripts/mutation_table.py --by room     the first table by room, as in scripts/README.md
python scripts/mutation_table.py --open        only the survivors without a reason

The reasons are in mutation_survivors.txt: a line with the reason, and below it, indented, the mutants as printed here.
A mutant is named by its function and its changed line, so a reason stays valid when other lines change.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path("mutants/results")
REASONS = Path(__file__).with_name("mutation_survivors.txt")
REQUIRED_SHARE = 0.95
COLUMNS = ("killed", "survived", "no test", "not run")
SURVIVED = ("survived", "no test")


@dataclass(frozen=True)
class Judged:
    """A mutant's name, its module, and its status, one of `COLUMNS`."""

    name: str
    module: str
    status: str

    @property
    def room(self) -> str:
        """The package of the module; modules beside the packages are one room."""
        parts = self.module.split(".")
        if parts[0] == "spec":
            return ".".join(parts[:2])
        return parts[0] if len(parts) > 1 else "top level"


STATUSES = {
    "timeout": "killed",  # a test would never end
    "import": "no test",  # only an import executes it
}


def read_results(folder: Path) -> Iterator[Judged]:
    """Yield every mutant of the modules in `folder`; those without a verdict are not run."""
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for name, verdict in content["verdicts"].items():
            status = verdict["status"]
            yield Judged(name, path.stem, STATUSES.get(status, status))
        for _ in range(content["mutants"] - len(content["verdicts"])):
            yield Judged("", path.stem, "not run")


def read_reasons(path: Path) -> dict[str, str]:
    """Read the reasons by the name of the mutant."""
    reasons: dict[str, str] = {}
    reason = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            reasons[line.strip()] = reason
        elif line and not line.startswith("#"):
            reason = line
    return reasons


def without_survivor(reasons: Iterable[str], mutants: Sequence[Judged]) -> list[str]:
    """Return the mutants with a reason that no survivor is, of modules whose mutants are all judged."""
    whole = {m.module for m in mutants} - {m.module for m in mutants if m.status == "not run"}
    survivors = {m.name for m in mutants if m.status in SURVIVED}
    starts = tuple(f"{module}." for module in whole)
    return [name for name in reasons if name.startswith(starts) and name not in survivors]


def counts_table(mutants: Sequence[Judged], heading: str, key: Callable[[Judged], str]) -> str:
    """Return the Markdown table of statuses by `key`, with their sum as last row."""
    groups: dict[str, Counter[str]] = {}
    for mutant in mutants:
        groups.setdefault(key(mutant), Counter())[mutant.status] += 1
    groups["all"] = Counter(mutant.status for mutant in mutants)
    lines = [
        f"| {heading} | mutants | {' | '.join(COLUMNS)} | killed, % |",
        "|---|--:|" + "--:|" * len(COLUMNS) + "--:|",
    ]
    for name, statuses in groups.items():
        total = statuses.total()
        counts = " | ".join(str(statuses[column]) for column in COLUMNS)
        share = 100 * statuses["killed"] / max(1, total - statuses["not run"])
        lines.append(f"| {name} | {total} | {counts} | {share:.1f} |")
    return "\n".join(lines)


def survivors_table(survivors: Sequence[Judged], reasons: dict[str, str]) -> str:
    """Return the survivors by reason, those without a reason first."""
    groups: dict[str, list[str]] = {}
    for mutant in sorted(survivors, key=lambda m: m.name in reasons):
        groups.setdefault(reasons.get(mutant.name, "NO REASON GIVEN"), []).append(mutant.name)
    return "\n\n".join(
        f"{reason} ({len(names)})\n" + "\n".join(f"  {name}" for name in names)
        for reason, names in groups.items()
    )


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print the tables of mutation_test.sh.")
    parser.add_argument("--by", choices=("room", "module"), default="module")
    parser.add_argument("--open", action="store_true", help="only survivors without a reason")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parse_arguments(arguments)
    mutants = list(read_results(RESULTS))
    if not mutants:
        print(
            f"there are no results in {RESULTS}; run bash scripts/mutation_test.sh first",
            file=sys.stderr,
        )
        return 2
    reasons = read_reasons(REASONS)
    survivors = [m for m in mutants if m.status in SURVIVED]
    unexplained = [m for m in survivors if m.name not in reasons]
    if options.open:
        print("\n".join(m.name for m in unexplained))
        return 0

    judged = sum(m.status != "not run" for m in mutants)
    killed = judged - len(survivors)
    explained = len(survivors) - len(unexplained)
    counting = max(1, judged - explained)
    by = counts_table(mutants, options.by, lambda m: getattr(m, options.by))
    print(survivors_table(survivors, reasons), by, sep="\n\n", end="\n\n")
    print(f"killed: {killed} of {judged} mutants, {killed / max(1, judged):.1%}")
    print(f"survivors with a reason: {explained}, without: {len(unexplained)}")
    print(f"killed of those that count: {killed / counting:.1%}")
    print(f"not run: {len(mutants) - judged} of {len(mutants)}")
    idle = without_survivor(reasons, mutants)
    print(f"reasons without a survivor: {len(idle)}", *idle, sep="\n  ")
    return 0 if killed >= REQUIRED_SHARE * judged and not unexplained and not idle else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
