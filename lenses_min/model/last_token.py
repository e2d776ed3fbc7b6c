"""The values at the last token of a prompt on the way to the logits: the reference that a run is compared with.

It is read twice in the same form: from the model as transformers runs it, before TransformerLens wraps it (wrapping
replaces modules in place), and from the bridge, to name the place where the two differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from transformer_lens.utilities.attn_implementation import force_eager_attention

from ..core.bridge import Bridge
from ..core.forward import UNEMBED, hook_name, logits_at, uncached
from ..core.types import Norms
from ..core.unembedding import Unembedding
from ..errors import LensError

UNEMBEDDED = "unembed.hook_out"
Rows = dict[int | str, np.ndarray]  # by layer, or by the name of a field


@dataclass(frozen=True)
class LastToken:
    """Values at the last of the tokens `ids`, float32 on the host.

    `stream` are the embeddings and the output of each block, None where no stack of blocks was found; `normed` is what
    the unembedding reads and `unembedded` what it gives, None where the model names no unembedding; `logits` are the
    model's own, after its output transform. E is D but where a projection stands before the unembedding. `readers` name
    the first norm of each block that reads the stream as the block does, empty where none does; transformers alone
    tells them.
    """

    ids: tuple[int, ...]
    stream: Float[np.ndarray, "L D"] | None
    normed: Float[np.ndarray, " E"] | None
    unembedded: Float[np.ndarray, " V"] | None
    logits: Float[np.ndarray, " V"]
    readers: tuple[str, ...] = ()

    def places(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and values of every place that was seen, in the order in which the model passes them."""
        if self.stream is not None:
            yield from zip(block_names(len(self.stream) - 1), self.stream, strict=True)
        ends = {"the final norm": self.normed, "the head": self.unembedded}
        yield from ((name, row) for name, row in ends.items() if row is not None)
        yield "the output transform" if self.unembedded is not None else "the head", self.logits


def block_names(n_layers: int) -> list[str]:
    """The names of the places of the residual stream, for messages."""
    return ["the embeddings", *(f"block {i}" for i in range(n_layers))]


def of_transformers(model: Any, ids: Sequence[int], name: str) -> LastToken:
    """One forward of a transformers model that nothing has wrapped yet, with hooks that only read.

    Attention runs as transformers' eager code, as it does in the bridge afterwards: kernels that round otherwise would
    hide small faults in half precision. Only the last token is unembedded. Raises LensError where the model cannot run
    on token ids alone.
    """
    force_eager_attention(model)
    rows: Rows = {}
    blocks = decoder_blocks(model)
    readers = [""] * len(blocks)
    handles = [*add_hooks(model, blocks, rows), *add_norm_hooks(model, blocks, rows, readers)]
    home = model.get_input_embeddings().weight.device
    try:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([list(ids)], device=home), **uncached(model))
        rows["logits"] = last_row(output.logits)
    except LensError:
        raise
    except Exception as error:  # a model that needs other inputs raises anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise LensError(
            f"transformers itself cannot run {name} on token ids: {reason}; "
            "a lens reads models of text that need nothing else"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return replace(last_token(ids, rows, len(blocks)), readers=tuple(readers))


def of_bridge(bridge: Bridge, ids: Sequence[int]) -> LastToken:
    """The same values of the bridge, read by its hooks in one forward."""
    return of_hooks(hooked_rows(bridge, ids), ids, bridge.cfg.n_layers)


def hooked_rows(bridge: Bridge, ids: Sequence[int]) -> dict[str, np.ndarray]:
    """One forward of the bridge: the last row at every hook of the way, by name, and the logits."""
    rows: dict[str, np.ndarray] = {}

    def keep(value: Any, hook: Any) -> None:
        rows[hook.name] = last_row(value)

    stream = [hook_name(layer) for layer in range(bridge.cfg.n_layers + 1)]
    names = [*stream, UNEMBED, UNEMBEDDED]
    hooks = [(name, keep) for name in names if name in bridge.hook_dict]
    (logits,) = logits_at(bridge, [ids], [range(len(ids) - 1, len(ids))], hooks)
    return rows | {"logits": last_row(logits)}


def of_hooks(rows: Mapping[str, np.ndarray], ids: Sequence[int], n_layers: int) -> LastToken:
    """The last token by the rows that `hooked_rows` returns."""
    by_layer = {layer: rows.get(hook_name(layer)) for layer in range(n_layers + 1)}
    values: Rows = {layer: row for layer, row in by_layer.items() if row is not None}
    names = {"normed": UNEMBED, "unembedded": UNEMBEDDED, "logits": "logits"}
    values |= {field: rows[name] for field, name in names.items() if name in rows}
    return last_token(ids, values, n_layers)


def of_lens(norms: Norms, head: Unembedding, reading: LastToken, dtype: str) -> LastToken:
    """The values that the norm lens computes from the last residual of a reading, step by step."""
    if reading.stream is None:
        return reading
    x = torch.tensor(reading.stream[-1:]).to(head.weight.device, getattr(torch, dtype))
    normed = norms.apply(x, torch.tensor([norms.last]))
    z = head.product(normed)
    logits = z if head.transform is None else head.transform(z)
    return replace(
        reading, normed=last_row(normed), unembedded=last_row(z), logits=last_row(logits)
    )


def decoder_blocks(model: Any) -> list[nn.Module]:
    """The stack of blocks: of the lists with a module a layer the one with most parameters; empty without any."""
    n = getattr(model.config.get_text_config(), "num_hidden_layers", 0)
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == n > 0]
    return list(max(lists, key=lambda m: sum(p.numel() for p in m.parameters()), default=()))


def unembedding(model: Any) -> nn.Module | None:
    """The module that transformers names as the unembedding."""
    try:
        module = model.get_output_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return module if isinstance(module, nn.Module) else None


def vocabulary(model: Any) -> int:
    """The number of logits of the model."""
    head = unembedding(model)
    if head is None:
        return int(model.config.get_text_config().vocab_size)
    weight: Any = head.weight
    return int(weight.shape[0])


def add_hooks(model: Any, blocks: Sequence[nn.Module], rows: Rows) -> list[Any]:
    """Add hooks that record the last row of every block and of the unembedding; return their handles."""

    def entering(module: nn.Module, args: Any, kwargs: Any) -> None:
        rows[0] = last_row(one_stream(args[0] if args else kwargs["hidden_states"]))

    def unembedding_alone(module: nn.Module, args: Any) -> Any:
        rows["normed"] = last_row(args[0])
        return (args[0][:, -1:], *args[1:]) if args[0].ndim == 3 else args

    def leaving(key: int | str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            rows[key] = last_row(output if key == "unembedded" else one_stream(output))

        return keep

    handles = [b.register_forward_pre_hook(entering, with_kwargs=True) for b in blocks[:1]]
    handles += [b.register_forward_hook(leaving(i)) for i, b in enumerate(blocks, start=1)]
    if (head := unembedding(model)) is not None:
        handles.append(head.register_forward_pre_hook(unembedding_alone))
        handles.append(head.register_forward_hook(leaving("unembedded")))
    return handles


def add_norm_hooks(
    model: Any, blocks: Sequence[nn.Module], rows: Rows, readers: list[str]
) -> list[Any]:
    """Hooks that note in `readers`, by block, the first norm that reads what the block reads; their handles."""

    def recorder(layer: int, name: str) -> Callable[[nn.Module, Any], None]:
        def note(module: nn.Module, args: Any) -> None:
            if not readers[layer] and args and np.array_equal(last_row(args[0]), rows[layer]):
                readers[layer] = name

        return note

    names = {module: name for name, module in model.named_modules()}
    return [
        module.register_forward_pre_hook(recorder(layer, names[module]))
        for layer, block in enumerate(blocks)
        for module in block.modules()
        if "norm" in type(module).__name__.lower()
    ]


def wrapped_modules(model: Any) -> dict[str, nn.Module]:
    """The modules of transformers by their names, also where TransformerLens has put its own around them."""
    named = model.named_modules(remove_duplicate=False)
    return {name.replace("._original_component", ""): module for name, module in named}


def one_stream(value: Any) -> Any:
    """The residual stream [batch, tokens, width] of a block's input or output; LensError for another shape."""
    tensor = value if isinstance(value, torch.Tensor) else value[0]
    if tensor.ndim != 3:
        raise LensError(
            f"a block of this model passes on a tensor of shape {list(tensor.shape)}, several streams a token; "
            "a lens reads one stream [batch, tokens, width]"
        )
    return tensor


def last_row(value: Any) -> Float[np.ndarray, " X"]:
    """The last row of a tensor, or of the first of several."""
    tensor = value if isinstance(value, torch.Tensor) else value[0]
    row: np.ndarray = tensor.detach().reshape(-1, tensor.shape[-1])[-1].float().cpu().numpy()
    return row


def last_token(ids: Sequence[int], rows: Rows, n_layers: int) -> LastToken:
    stack = [rows[layer] for layer in range(n_layers + 1) if layer in rows]
    whole = len(stack) == n_layers + 1 > 1 and len({row.shape for row in stack}) == 1
    stream = np.stack(stack) if whole else None
    return LastToken(tuple(ids), stream, rows.get("normed"), rows.get("unembedded"), rows["logits"])


def check_finite(reading: LastToken, name: str, dtype: str) -> None:
    """Raises LensError that names the first place with a value that is not finite."""
    for place, row in reading.places():
        if not np.isfinite(row).all():
            advice = "get a sound checkpoint"
            if dtype != "float32":
                advice = f"let it compute in a wider dtype (--dtype float32), or {advice}"
            raise LensError(
                f"{name} overflows in {dtype}: {place} of transformers' own model gives values that are not finite; "
                f"{advice}"
            )
