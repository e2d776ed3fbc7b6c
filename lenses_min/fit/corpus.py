"""texts → tokens → residuals: the material that lenses are fitted on, a batch in memory at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.bridge import Bridge
from ..core.forward import hook_name
from ..core.tokens import Tokens
from ..errors import LensError
from ..prompts.textfiles import read_text

FEWEST_SEQUENCES = 10  # every tenth is for validation,
MOST_VALIDATION = 16  # but no more than these


def cut(tokens: Tokens, files: Sequence[str], length: int, most: int) -> list[list[int]]:
    """Sequences of `length` tokens, BOS included, about `most` in all; raises LensError on an unreadable file."""
    room = length - len(tokens.model_input(""))
    ids: list[int] = []
    for file in files:
        try:
            ids += tokens.context(read_text(Path(file)))
        except (OSError, UnicodeDecodeError) as error:
            raise LensError(f"cannot read the text {file}: {error}") from error
    start = list(tokens.bos.ids)
    return [start + ids[i : i + room] for i in range(0, min(len(ids), most) - room + 1, room)]


def sequences(
    tokens: Tokens, files: Sequence[str], length: int, most: int
) -> tuple[list[list[int]], list[list[int]]]:
    """(training, validation) sequences; raises LensError where the texts are too short to hold any out."""
    pieces = cut(tokens, files, length, most)
    if len(pieces) < FEWEST_SEQUENCES:
        raise LensError(
            f"the texts hold {len(pieces)} sequences of {length} tokens, {FEWEST_SEQUENCES} are needed; give more"
        )
    every = max(FEWEST_SEQUENCES, -(-len(pieces) // MOST_VALIDATION))
    return [s for i, s in enumerate(pieces) if i % every], pieces[::every]


def stream(
    bridge: Bridge, ids: Sequence[int], n: int
) -> tuple[Float[Tensor, "L S D"], Float[Tensor, "S V"]]:
    """Residuals of one sequence at every layer, and the logits of the model itself, float32."""
    caught: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        caught[hook.name] = value[0].detach().float()

    names = [hook_name(layer) for layer in range(n + 1)]
    with torch.no_grad(), bridge.hooks(fwd_hooks=[(name, keep) for name in names]):
        logits = bridge(torch.tensor([list(ids)], device=bridge.cfg.device), return_type="logits")
    return torch.stack([caught[name] for name in names]), logits[0].float()
