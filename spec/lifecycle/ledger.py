"""The ledger of accepted changes: a JSON line for each commit whose changes of the outputs are on purpose.

It is reviewed like code. A line names the only columns, keys, passes or files that the commit may change or add.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import SpecError
from .history import History, Step
from .only import covers, unmatched


@dataclass(frozen=True)
class Acceptance:
    """What a commit may change: names as `history` prints them, or patterns of names with `*`."""

    commit: str
    only: tuple[str, ...]
    reason: str
    date: str

    def __post_init__(self) -> None:
        if not self.only or len(self.reason.split()) < 2:
            raise SpecError(
                "an acceptance needs --only NAME and a --reason in a sentence, got "
                f"{list(self.only)} and {self.reason!r}"
            )

    def matches(self, step: Step) -> bool:
        """Whether it is about the commit of a step."""
        return step.commit.hash == self.commit

    def covers(self, name: str) -> bool:
        """Whether a name is among those that the commit may change."""
        return covers(self.only, name)


def read_ledger(path: Path) -> list[Acceptance]:
    """Read a ledger, empty where there is no file; raises SpecError where a line is none of its."""
    if not path.exists():
        return []
    acceptances = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            only = tuple(map(str, entry["only"]))
            acceptances.append(
                Acceptance(str(entry["commit"]), only, str(entry["reason"]), str(entry["date"]))
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"{path}, line {number} is no acceptance: {error!r}; write it with `spec accept`"
            ) from error
    return acceptances


def not_accepted(step: Step, ledger: Sequence[Acceptance]) -> list[str]:
    """What a commit changed, added or broke that no acceptance covers."""
    known = [acceptance for acceptance in ledger if acceptance.matches(step)]
    return [name for name in step.names if not any(a.covers(name) for a in known)]


def stale(history: History, ledger: Sequence[Acceptance]) -> list[str]:
    """A sentence for each name of an acceptance that matches nothing any more in the range."""
    sentences = []
    steps = {step.commit.hash: step for step in history.steps}
    for acceptance in ledger:
        if step := steps.get(acceptance.commit):
            sentences += [
                f"{step.commit.short} does not change {only} any more"
                for only in unmatched(acceptance.only, step.names)
            ]
    return sentences


def accept(path: Path, step: Step, acceptance: Acceptance) -> None:
    """Add a line to the ledger. Raises SpecError where the commit changes more, or does not change what is named."""
    if others := not_accepted(step, [acceptance]):
        raise SpecError(
            f"{step.commit.short} changes more than that: {', '.join(others)}; nothing is accepted"
        )
    if unchanged := unmatched(acceptance.only, step.names):
        raise SpecError(
            f"{step.commit.short} does not change {', '.join(unchanged)}; it changes "
            f"{', '.join(step.names) or 'nothing'}"
        )
    if any(known.commit == acceptance.commit for known in read_ledger(path)):
        raise SpecError(f"{path} accepts {step.commit.short} already; edit or remove that line")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(acceptance), ensure_ascii=False) + "\n")
