"""prompt → tokens: BOS rule, position labels, gold alignment, and the one place that decodes an id."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import LensError
from .types import Encoded, Gold, Prompt

# TransformerLens 2.16 prepends BOS for every other family; 4.x has other defaults.
NO_BOS_FAMILIES = frozenset({"bloom", "qwen", "qwen2", "qwen3"})


@dataclass(frozen=True)
class Tokens:
    """A tokenizer with the contract's rules; `bos_id` is None for families that take none, `vocab` is V."""

    tokenizer: Any
    bos_id: int | None
    _texts: dict[int, str] = field(default_factory=dict, repr=False)
    vocab: int = sys.maxsize

    @classmethod
    def of(cls, tokenizer: Any, family: str, vocab: int = sys.maxsize) -> "Tokens":
        """BOS for every family but NO_BOS_FAMILIES; a tokenizer without BOS lends its EOS."""
        lent = (
            tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        )
        return cls(tokenizer, None if family in NO_BOS_FAMILIES else lent, vocab=vocab)

    def context(self, text: str) -> list[int]:
        """Ids of the text without special tokens; raises LensError where the model has no such id."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if (most := max(*ids, self.bos_id or 0, 0)) >= self.vocab:
            told = f"the tokenizer gives id {most} and the model has {self.vocab}"
            raise LensError(f"{told}; they belong to different checkpoints")
        return ids

    def model_input(self, text: str) -> list[int]:
        """What the model reads: BOS, where the family takes one, then the text."""
        return ([] if self.bos_id is None else [self.bos_id]) + self.context(text)

    def text(self, token_id: int) -> str:
        """One id decoded alone: every label and every top-k token comes from here."""
        if token_id not in self._texts:
            self._texts[token_id] = self.tokenizer.decode([token_id])
        return self._texts[token_id]

    def encode(self, prompt: Prompt, n_ctx: int, joint: bool = False) -> Encoded:
        """Everything the pass needs of its prompt; see `encode_all`."""
        return self.encode_all([prompt], n_ctx, joint)[0]

    def encode_all(
        self, prompts: Sequence[Prompt], n_ctx: int, joint: bool = False, tests: Sequence[str] = ()
    ) -> list[Encoded]:
        """Everything each pass needs of its prompt; a control pass also asks for its rival's answer.

        `joint` lets the model read all tokens of the answer but the last after the prompt. Raises LensError naming
        every prompt that is too long or empty, those of `tests` among them.
        """
        found = [self.unbounded(prompt, joint) for prompt in prompts]
        sizes = [(f"test prompt {text[:40]!r}", len(self.model_input(text)), 0) for text in tests]
        sizes += [
            (f"prompt {e.prompt.id}/{e.prompt.variant}", len(e.token_ids), len(e.follow))
            for e in found
        ]
        if wrong := [size for size in sizes if not 0 < size[1] <= n_ctx - size[2]]:
            told = [
                f"{name} has {n} tokens" + (f" and {more} of its answer" if more else "")
                for name, n, more in wrong
            ]
            raise LensError(
                f"{', '.join(told)}, the model reads 1 to {n_ctx}; use another prompt or a model with a longer context"
            )
        return found

    def unbounded(self, prompt: Prompt, joint: bool) -> Encoded:
        gold = self.align(prompt)
        asked = [gold, self.align(prompt.rival)] if prompt.rival and gold.answer_ids else [gold]
        answers = tuple(g.first_id for g in asked if g.first_id is not None)
        ids, context = tuple(self.model_input(prompt.text)), tuple(self.context(prompt.text))
        return Encoded(prompt, gold, ids, context, answers, gold.answer_ids[:-1] if joint else ())

    def align(self, prompt: Prompt) -> Gold:
        """The answer's ids after the prompt: with a space before it, else without, else unresolved."""
        context = self.context(prompt.text)
        for variant, joined in (("with_space", " "), ("no_space", "")):
            ids = self.context(prompt.text + joined + prompt.answer)
            if len(ids) > len(context):
                answer = ids[len(context) :]
                pieces = self.tokenizer.convert_ids_to_tokens(answer[:4])
                return Gold(prompt.answer, tuple(pieces), tuple(answer), variant)
        return Gold(prompt.answer, (), (), "unknown")


def is_keyword(text: str, keywords: Collection[str]) -> bool:
    """A token that shows its top 20 wherever it stands: one that contains a keyword."""
    token = text.lower().strip(".,!?;:")
    return any(word in token for word in keywords)
