"""One warning for each defect of the reference that bites on this model, with its id in the contract's ledger."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..core.tokens import Tokens
from ..core.types import Bos, Encoded, ModelInfo

NAMED = 8  # prompts that one warning names


def defect_warnings(
    facts: ModelInfo, summaries: Mapping[str, Mapping[str, Any]], corrected: bool = False
) -> Iterator[str]:
    """What the reference contract gets wrong here and which columns it changes; the corrected one mends it."""
    if not corrected and "LayerNorm" in (facts.first_norm, facts.final_norm):
        yield (
            f"R1: {facts.family} uses LayerNorm, read through the RMS formula without centring or bias: every lens "
            "column is off, and the last layer does not equal the model's own output"
        )
    if not corrected and facts.output_transform:
        yield (
            "R3: the model's soft cap or logit scale is not applied to lens logits: lens probabilities and "
            "kl_to_final_bits are off at every layer"
        )
    for lens, summary in summaries.items():
        if (error := summary.get("error")) and not error.startswith("Missing"):
            yield f"{lens} lens skipped: {error}"


def prompt_warnings(
    tokens: Tokens, encoded: Sequence[Encoded], tests: Iterable[str], own: bool
) -> Iterator[str]:
    """What is read before the prompts and how their answers join them, where that is not as it should be.

    `own`: the prompts are a user's, whose answers are aligned as under the corrected contract.
    """
    if tokens.bos.warning:
        yield tokens.bos.warning
    if not tokens.corrected:
        yield from bos_warnings(tokens, encoded, tests)
    if not tokens.corrected and not own:
        differing = [e for e in encoded if "R15" in e.defects]
        notes = [(tokens.align(e.prompt, mended=True).note, e) for e in differing]
        for note, names in grouped(notes):
            problem = "the gold ids are the reference's, not those that follow the prompt"
            yield f"R15: {names}: {problem}" + (f" ({note})" if note else "")
    else:
        for note, names in grouped((e.gold.note, e) for e in encoded if e.gold.note):
            yield f"{names}: {note}"


def bos_warnings(tokens: Tokens, encoded: Sequence[Encoded], tests: Iterable[str]) -> Iterator[str]:
    """R14: the reference reads another BOS than the checkpoint declares, or one twice."""
    own, other = tokens.bos, tokens.other
    if other is not None and other.ids != own.ids:
        yield (
            f"R14: the model reads {spelled(tokens, own)} before every prompt ({own.rule}), where its makers meant "
            f"{spelled(tokens, other)} ({other.rule}): every number depends on it; "
            "--contract corrected or --bos changes it"
        )
    texts = [(f"{e.prompt.id}/{e.prompt.variant}", e.prompt.text) for e in encoded]
    texts += [(f"test prompt {text[:40]!r}", text) for text in tests]
    doubled = [name for name, text in texts if tokens.begins_with(own, text)]
    if doubled:
        yield f"R14: {listed(doubled)}: the text begins with BOS, and the model reads it twice"


def spelled(tokens: Tokens, bos: Bos) -> str:
    parts = [f"{tokens.text(token)!r} (id {token})" for token in bos.ids]
    return " ".join(parts) or "no BOS"


def grouped(notes: Iterable[tuple[str, Encoded]]) -> Iterator[tuple[str, str]]:
    """Each note once, with the prompts and answers that it is about."""
    prompts: dict[str, list[str]] = {}
    for note, e in notes:
        name = f"{e.prompt.id}/{e.prompt.variant} ({e.prompt.answer!r})"
        prompts.setdefault(note, []).append(name)
    for note, names in prompts.items():
        yield note, listed(names)


def listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
