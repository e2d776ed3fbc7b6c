"""One warning for each defect of the reference that changes the numbers of this run; the texts stand in the ledger."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..core.tokens import Tokens
from ..core.types import Bos, Encoded, ModelInfo
from ..options import REFERENCE, Contract
from .ledger import BY_ID, DEFECTS

MOST_NAMED = 8  # prompts that one warning names


def defect_warnings(
    facts: ModelInfo, summaries: Mapping[str, Mapping[str, Any]], rules: Contract = REFERENCE
) -> Iterator[str]:
    """The defects of the reference contract on a model, and the lenses that were skipped, with the reason.

    `summaries` has the summary of every lens by name. The corrected contract has none of these defects.
    """
    for defect in DEFECTS:
        if defect.on_model(facts) and rules is REFERENCE:
            yield defect.model_warning.format(family=facts.family)
    for lens, summary in summaries.items():
        error = summary.get("error")
        if error and not error.startswith("Missing"):
            yield f"{lens} lens skipped: {error}"


def prompt_warnings(
    tokens: Tokens, encoded: Iterable[Encoded], tests: Iterable[str], own: bool
) -> Iterator[str]:
    """What is read before the prompts and how their answers join them, where that is not as it should be.

    `own`: the prompts are a user's, whose answers are aligned as under the corrected contract.
    """
    mended, checks_bos = tokens.rules.joined_answers or own, not tokens.rules.declared_bos
    doubled: list[str] = []
    notes: dict[str, list[str]] = {}
    for e in encoded:
        name = f"{e.prompt.id}/{e.prompt.variant}"
        if checks_bos and tokens.begins_with(tokens.bos, e.prompt.text):
            doubled.append(name)
        if e.gold.note if mended else "R15" in e.defects:
            note = e.gold.note if mended else tokens.align(e.prompt, mended=True).note
            notes.setdefault(note, []).append(f"{name} ({e.prompt.answer!r})")
    if tokens.bos.warning:
        yield tokens.bos.warning
    if checks_bos:
        yield from bos_warnings(tokens, doubled, tests)
    for note, names in notes.items():
        yield f"{listed(names)}: {note}" if mended else answer_warning(note, names)


def bos_warnings(tokens: Tokens, doubled: Sequence[str], tests: Iterable[str]) -> Iterator[str]:
    """R14: the reference reads another BOS than the checkpoint declares, or one twice before the prompts `doubled`."""
    own, other = tokens.bos, tokens.other
    if other is not None and other.ids != own.ids:
        yield BY_ID["R14"].run_warning.format(
            read=bos_text(tokens, own),
            rule=own.rule,
            declared=bos_text(tokens, other),
            declared_rule=other.rule,
        )
    names = [*doubled, *(f"test prompt {t[:40]!r}" for t in tests if tokens.begins_with(own, t))]
    if names:
        yield BY_ID["R14"].prompt_warning.format(prompts=listed(names))


def answer_warning(note: str, names: Sequence[str]) -> str:
    """R15: the reference's ids of an answer are not those that follow the prompt."""
    reason = f" ({note})" if note else ""
    return BY_ID["R15"].prompt_warning.format(prompts=listed(names), note=reason)


def bos_text(tokens: Tokens, bos: Bos) -> str:
    """The tokens of a BOS and their ids, for a person."""
    parts = [f"{tokens.text(token)!r} (id {token})" for token in bos.ids]
    return " ".join(parts) or "no BOS"


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
