"""The members of TransformerBridge that this package uses, for the type checker."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol

    from torch import Tensor

    class Bridge(Protocol):
        """A model of transformers as TransformerLens wraps it.

        `blocks` has the norm of a block, where it has one, as `ln1`; `ln_final`, which some bridges lack, is no member.
        `original_model` is the model of transformers, whose modules the wrappers replace.
        """

        cfg: Any
        blocks: Sequence[Any]
        unembed: Any
        adapter: Any
        original_model: Any
        hook_dict: Mapping[str, Any]

        def hooks(self, fwd_hooks: Sequence[tuple[str, Any]]) -> AbstractContextManager[Any]:
            """Hooks by the name of their point; the context removes them when it ends."""

        def __call__(self, tokens: Tensor, **arguments: Any) -> Tensor:
            """Token ids [B, S] to logits [B, P, V] at the P positions that are unembedded."""

else:  # modules that torch registers are no attributes that a check at run time sees
    Bridge = Any
