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
    tokens: Tokens, encoded: Sequence[Encoded], tests: Iterable[str], own: bool
) -> Iterator[str]:
    """What is read before the prompts and how their answers join them, where that is not as it should be.

    `own`: the prompts are a user's, whose answers are aligned as under the corrected contract.
    """
    if tokens.bos.warning:
        yield tokens.bos.warning
    if not tokens.rules.declared_bos:
        yield from bos_warnings(tokens, encoded, tests)
    if not tokens.rules.joined_answers and not own:
        yield from answer_warnings(tokens, encoded)
    else:
        for note, prompts in by_note((e.gold.note, e) for e in encoded if e.gold.note):
            yield f"{prompts}: {note}"


def bos_warnings(tokens: Tokens, encoded: Sequence[Encoded], tests: Iterable[str]) -> Iterator[str]:
    """R14: the reference reads another BOS than the checkpoint declares, or one twice."""
    own, other = tokens.bos, tokens.other
    if other is not None and other.ids != own.ids:
        yield BY_ID["R14"].run_warning.format(
            read=bos_text(tokens, own),
            rule=own.rule,
            declared=bos_text(tokens, other),
            declared_rule=other.rule,
        )
    texts = [(f"{e.prompt.id}/{e.prompt.variant}", e.prompt.text) for e in encoded]
    texts += [(f"test prompt {text[:40]!r}", text) for text in tests]
    doubled = [name for name, text in texts if tokens.begins_with(own, text)]
    if doubled:
        yield BY_ID["R14"].prompt_warning.format(prompts=listed(doubled))


def answer_warnings(tokens: Tokens, encoded: Sequence[Encoded]) -> Iterator[str]:
    """R15: the reference's ids of an answer are not those that follow the prompt."""
    differing = [e for e in encoded if "R15" in e.defects]
    notes = [(tokens.align(e.prompt, mended=True).note, e) for e in differing]
    for note, prompts in by_note(notes):
        reason = f" ({note})" if note else ""
        yield BY_ID["R15"].prompt_warning.format(prompts=prompts, note=reason)


def bos_text(tokens: Tokens, bos: Bos) -> str:
    """The tokens of a BOS and their ids, for a person."""
    parts = [f"{tokens.text(token)!r} (id {token})" for token in bos.ids]
    return " ".join(parts) or "no BOS"


def by_note(notes: Iterable[tuple[str, Encoded]]) -> Iterator[tuple[str, str]]:
    """Each note once, with the prompts and answers that have it."""
    prompts: dict[str, list[str]] = {}
    for note, e in notes:
        name = f"{e.prompt.id}/{e.prompt.variant} ({e.prompt.answer!r})"
        prompts.setdefault(note, []).append(name)
    for note, names in prompts.items():
        yield note, listed(names)


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
