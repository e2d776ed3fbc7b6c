"""prompt → tokens: the ids that the model reads, labels of positions, gold alignment; ids are decoded here alone."""

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokenizers.models import Unigram

from ..errors import LensError
from ..options import REFERENCE, Contract
from ..prompts.joins import joins
from ..prompts.suite import Prompt
from .types import Bos, Encoded, Gold

VARIANTS = {" ": "with_space", "": "no_space"}
HOW = {" ": "after a space", "": "right after the prompt"}


@dataclass(frozen=True)
class Tokens:
    """A tokenizer with a contract's rules; `vocab` is V, `other` the BOS rule of the other contract.

    `rules` decide whether a BOS that the text begins with is left out, and how every answer joins its prompt.
    """

    tokenizer: Any
    bos: Bos
    _texts: dict[int, str] = field(default_factory=dict, repr=False)
    vocab: int = sys.maxsize
    other: Bos | None = None
    rules: Contract = REFERENCE

    def context(self, text: str) -> list[int]:
        """Ids of the text without special tokens; raises LensError where the model has no such id."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if (most := max(*ids, *self.bos.ids, 0, 0)) >= self.vocab:
            raise LensError(
                f"the tokenizer gives id {most} and the model has {self.vocab}; "
                "they belong to different checkpoints"
            )
        return ids

    def model_input(self, text: str) -> list[int]:
        """The ids that the model reads: BOS, where there is one, then the text."""
        return self.preceded(text, self.bos, self.rules.declared_bos)

    def preceded(self, text: str, bos: Bos, once: bool) -> list[int]:
        """The ids of BOS and a text; `once` leaves BOS out where the text begins with it."""
        ids = self.context(text)
        return ids if once and self.begins_with(bos, text) else [*bos.ids, *ids]

    def begins_with(self, bos: Bos, text: str) -> bool:
        """Whether a text spells out the BOS that goes before it."""
        if not bos.ids or tuple(self.context(text)[: len(bos.ids)]) != bos.ids:
            return False
        spelled = str(self.tokenizer.convert_ids_to_tokens([bos.ids[0]])[0])
        return text.lstrip().startswith(spelled)

    def text(self, token_id: int) -> str:
        """One id decoded alone: every label and every top-k token comes from here."""
        if token_id not in self._texts:
            self._texts[token_id] = self.tokenizer.decode([token_id])
        return self._texts[token_id]

    def encode_all(
        self, prompts: Sequence[Prompt], n_ctx: int, joint: bool = False, tests: Sequence[str] = ()
    ) -> list[Encoded]:
        """Prompts in tokens; a control pass also has the answer of its control.

        `joint` lets the model read all tokens of the answer but the last after the prompt. Raises LensError naming
        every prompt that is too long or empty, those of `tests` among them.
        """
        encoded = [self.unbounded(prompt, joint) for prompt in prompts]
        sizes = [(f"test prompt {text[:40]!r}", len(self.model_input(text)), 0) for text in tests]
        sizes += [
            (f"prompt {e.prompt.id}/{e.prompt.variant}", len(e.token_ids), len(e.answer_prefix_ids))
            for e in encoded
        ]
        if wrong := [size for size in sizes if not 0 < size[1] <= n_ctx - size[2]]:
            problems = [
                f"{name} has {n} tokens" + (f" and {more} of its answer" if more else "")
                for name, n, more in wrong
            ]
            why = f"; no BOS stands before a prompt ({self.bos.rule})"
            raise LensError(
                f"{', '.join(problems)}, the model reads 1 to {n_ctx}; "
                "use another prompt or a model with a longer context"
                + (why if any(size[1] == 0 for size in wrong) else "")
            )
        return encoded

    def unbounded(self, prompt: Prompt, joint: bool) -> Encoded:
        """A prompt of any length in tokens; prompts of a file (`joint`) have the mended alignment."""
        mended = self.rules.joined_answers or joint
        gold = self.align(prompt, mended)
        control = [self.align(prompt.control, mended)] if prompt.control and gold.answer_ids else []
        answers = tuple(g.first_id for g in (gold, *control) if g.first_id is not None)
        ids, context = tuple(self.model_input(prompt.text)), tuple(self.context(prompt.text))
        answer_prefix_ids = gold.answer_ids[:-1] if joint else ()
        return Encoded(prompt, gold, ids, context, answers, answer_prefix_ids, self.defects(prompt))

    def defects(self, prompt: Prompt) -> tuple[str, ...]:
        """Which of R14 and R15 bite on a prompt: the ids before it, the ids of its answer."""
        read = self.model_input(prompt.text)
        bos = self.bos if self.other is None else self.other
        defects = {
            "R14": read != self.preceded(prompt.text, bos, not self.rules.declared_bos),
            "R15": self.align(prompt).answer_ids != self.align(prompt, mended=True).answer_ids,
        }
        return tuple(name for name, bites in defects.items() if bites)

    def align(self, prompt: Prompt, mended: bool = False) -> Gold:
        """The answer's ids after the prompt, or none with the reason.

        The reference's rule: with a space before it, else without, whatever adds ids. Mended: as the entry or the
        text joins them, where the prompt's ids stay as they are and the first new one is neither blank nor unknown.
        """
        tries: tuple[str, ...] = (" ", "")
        if mended:
            by_text = joins(prompt.text, prompt.answer)
            tries = by_text if prompt.join is None else (prompt.join,)
        context, notes = self.context(prompt.text), list[str]()
        for join in tries:
            ids = self.context(prompt.text + join + prompt.answer)
            answer = ids[len(context) :]
            problem = self.problem(context, ids) if mended else "" if answer else "no new token"
            if not problem:
                pieces = self.tokenizer.convert_ids_to_tokens(answer[:4])
                note = f"{notes[0]}; read {HOW[join]} instead, `join` decides" if notes else ""
                return Gold(prompt.answer, tuple(pieces), tuple(answer), VARIANTS[join], note)
            notes.append(problem)
        return Gold(prompt.answer, (), (), "unknown", f"unresolved: {notes[0]}")

    def problem(self, context: Sequence[int], ids: Sequence[int]) -> str:
        """Why the ids behind the prompt's own are no answer; empty where they are."""
        if list(ids[: len(context)]) != list(context):
            return "the answer merges with the prompt's last token"
        answer = ids[len(context) :]
        if not answer:
            return "the answer has no token of its own"
        if self.unknown_id in answer:
            return "the tokenizer has no token for all of the answer, only an unknown one"
        if not self.text(answer[0]).strip(" \u2581"):
            return "the answer would begin with a lone space, which belongs to the prompt's end"
        return ""

    @cached_property
    def unknown_id(self) -> int | None:
        """The id of what the vocabulary lacks; some tokenizers have it in their model alone."""
        declared: int | None = getattr(self.tokenizer, "unk_token_id", None)
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if declared is not None or backend is None:
            return declared
        unknown: int | None
        name = getattr(backend.model, "unk_token", None)
        unknown = backend.token_to_id(name) if name else None
        if isinstance(backend.model, Unigram):  # has it in its file alone
            unknown = json.loads(backend.to_str())["model"]["unk_id"]
        return unknown


def is_keyword(text: str, keywords: Collection[str]) -> bool:
    """A token that shows its top 20 wherever it stands: lower-cased and stripped of .,!?;: it contains a keyword."""
    token = text.lower().strip(".,!?;:")
    return any(word in token for word in keywords)
