"""What transformers by itself says of a checkpoint folder and a prompt: no code of lenses_min, softmax in float64.

The residual stream is what the blocks read and give. A lens at a layer is computed by the model itself, in a forward of
its own: for `final` the last block is made to give that layer's stream, for `raw` the unembedding reads it, for `norm`
it reads what the first norm of the next block makes of it. So whatever the model does from there to its logits is done.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM


@dataclass(frozen=True)
class Plain:
    """Probabilities after each token: `p` [S, V] of the model, and by lens [L + 1, S, V].

    `lenses` is empty where the blocks do not pass on one stream [batch, tokens, width] that the unembedding reads.
    """

    p: np.ndarray
    lenses: dict[str, np.ndarray]


def load(folder: Path) -> Any:
    """The model as anybody loads it. Attention is transformers' eager code, which every family has."""
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()


def read(net: Any, ids: Sequence[int]) -> Plain:
    """What the model says after each of the tokens, without a lens and under each."""
    tokens = torch.tensor([list(ids)])
    blocks = stack(net)
    with torch.no_grad():
        stream, normed, p = observed(net, tokens, blocks)
        if not is_stream(net, stream, len(blocks)):
            return Plain(p, {})
        final = [*(with_last_block(net, tokens, blocks, x) for x in stream[:-1]), p]
        raw = [with_head(net, tokens, x) for x in stream]
        norm = [
            final[y] if y not in normed else with_head(net, tokens, normed[y])
            for y in range(len(stream))
        ]
    by_lens = {"final": final, "raw": raw, "norm": norm}
    return Plain(p, {lens: np.stack(rows) for lens, rows in by_lens.items()})


def stack(net: Any) -> list[nn.Module]:
    """The list of decoder blocks: of the lists with a module a layer the one with most parameters."""
    n = net.config.get_text_config().num_hidden_layers
    lists = [m for m in net.modules() if isinstance(m, nn.ModuleList) and len(m) == n]
    return list(max(lists, key=lambda m: sum(p.numel() for p in m.parameters()), default=[]))


def is_stream(net: Any, stream: Sequence[Tensor], n: int) -> bool:
    head = net.get_output_embeddings()
    width = getattr(getattr(head, "weight", None), "shape", (0, 0))[1]
    return len(stream) == n + 1 and all(x.ndim == 3 and x.shape[-1] == width for x in stream)


def observed(
    net: Any, tokens: Tensor, blocks: Sequence[nn.Module]
) -> tuple[list[Tensor], dict[int, Tensor], np.ndarray]:
    """One forward: the stream of every layer, what the first norm of a block makes of its input, the probabilities."""
    stream: list[Tensor] = []
    normed: dict[int, Tensor] = {}

    def entering(module: nn.Module, args: Any, kwargs: Any) -> None:
        stream.append(args[0] if args else kwargs["hidden_states"])

    def leaving(module: nn.Module, args: Any, output: Any) -> None:
        stream.append(output if isinstance(output, Tensor) else output[0])

    def reading(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            if layer not in normed and args and same(args[0], stream[-1]):
                normed[layer] = output

        return keep

    hooks = [b.register_forward_pre_hook(entering, with_kwargs=True) for b in blocks[:1]]
    for layer, block in enumerate(blocks):
        hooks.append(block.register_forward_hook(leaving))
        hooks += [
            module.register_forward_hook(reading(layer))
            for name, module in block.named_modules()
            if "norm" in f"{name} {type(module).__name__}".lower() and module is not block
        ]
    with removed_after(hooks):
        return stream, normed, forward(net, tokens)


def same(value: Any, stream: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == stream.shape and torch.equal(value, stream)


def forward(net: Any, tokens: Tensor) -> np.ndarray:
    """The model's probabilities after each token."""
    text = net.config.get_text_config()
    more = {"use_cache": False} if hasattr(text, "use_cache") else {}
    logits = net(input_ids=tokens, **more).logits
    return torch.softmax(logits[0].double(), -1).numpy()


def with_last_block(
    net: Any, tokens: Tensor, blocks: Sequence[nn.Module], state: Tensor
) -> np.ndarray:
    """The model's probabilities where its last block gives `state`."""

    def instead(module: nn.Module, args: Any, output: Any) -> Any:
        return state if isinstance(output, Tensor) else (state, *output[1:])

    with removed_after([blocks[-1].register_forward_hook(instead)]):
        return forward(net, tokens)


def with_head(net: Any, tokens: Tensor, state: Tensor) -> np.ndarray:
    """The model's probabilities where its unembedding reads `state`."""
    head = net.get_output_embeddings()
    with removed_after([head.register_forward_pre_hook(lambda module, args: (state,))]):
        return forward(net, tokens)


@contextmanager
def removed_after(hooks: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
