"""Check that the weights of a checkpoint are complete, all read, and finite; their fingerprint."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.bridge import Bridge
from ..errors import LensError
from .checkpoint import read_stored, stored_tensors, unread_files, weight_files

# Buffers that older versions of transformers saved, and that the model makes from its configuration. They may be left
# where their values are the model's own, and only then: see `is_own_buffer`.
FREQUENCIES = re.compile(r"\binv_freq$")
POSITIONS = re.compile(r"\bposition_ids$")
MASK = re.compile(r"\b(attn|attention)\.(bias|causal_mask)$")
MASK_VALUE = re.compile(r"\b(attn|attention)\.masked_bias$")
# Heads for other tasks, besides the unembedding: the logits do not depend on them.
OTHER_HEADS = re.compile(
    r"(score|classifier|classification_head|qa_outputs|v_head|value_head|reward_head)\."
)
SOUND = "get a sound checkpoint"


def check_whole(info: Mapping[str, Any], name: str) -> None:
    """Raises LensError where a weight of the model is not in the checkpoint: transformers draws it at random.

    `info` is the report of `from_pretrained(output_loading_info=True)`.
    """
    if missing := sorted(info["missing_keys"]):
        raise LensError(f"{name} lacks weights: {some(missing)}; {SOUND}")
    if mismatched := sorted(info["mismatched_keys"]):
        _, stored, expected = mismatched[0]
        raise LensError(
            f"{name} holds weights in another shape than its config says: "
            f"{some([key for key, *_ in mismatched])} ({list(stored)} in the file, {list(expected)} by the config); "
            f"{SOUND}, with the config.json that belongs to it"
        )
    if failed := sorted(info.get("error_msgs") or ()):
        raise LensError(f"{name}: its weights cannot be read: {some(failed)}; {SOUND}")


def check_read(model: Any, info: Mapping[str, Any], folder: Path, name: str) -> list[str]:
    """What of a checkpoint folder is not read, as warnings; `model` is what transformers made of it.

    Tensors that the model does not compute with may be left: buffers that it makes itself, heads for other tasks, and
    what its class in transformers declares as not its own (further predicted tokens, a vision tower).
    Raises LensError for any other tensor that is not read, and for one that two files hold.
    """
    files = weight_files(folder)
    places, integers = tensor_places(files, name)
    unread = sorted({*info["unexpected_keys"], *hidden(model, places)})
    if wrong := [key for key in unread if not may_be_left(model, key, places)]:
        kind = type(model).__name__
        raise LensError(
            f"{name} holds weights that {kind} does not read as its config.json has it: {some(wrong)}; the config "
            f"leaves them out, or they belong to another architecture: {SOUND}, with the config.json that belongs to it"
        )
    if packed := [key for key in integers if key not in unread and not holds_integers(model, key)]:
        raise LensError(
            f"{name} holds integers where weights should be, as quantized ones are: {some(packed)}; give the "
            "checkpoint before quantization"
        )
    warnings = []
    if unread:
        warnings.append(f"weights that do not lead to the logits are not read: {some(unread)}")
    if others := unread_files(folder):
        warnings.append(f"of several weight files {files[0].name} is read, and not {some(others)}")
    return warnings


def tensor_places(files: Iterable[Path], name: str) -> tuple[dict[str, Path], list[str]]:
    """The file of each tensor, and which are integers. Raises LensError where two files hold one of the same name."""
    places: dict[str, Path] = {}
    integers = []
    for file in files:
        for key, stored in stored_tensors(file).items():
            if key in places:
                raise LensError(
                    f"{name} holds {key} twice, in {places[key].name} and {file.name}; {SOUND}"
                )
            places[key] = file
            integers += [] if stored.floating else [key]
    return places, integers


def hidden(model: Any, places: Mapping[str, Path]) -> list[str]:
    """Tensors that transformers leaves unread without a report: see `_adjust_missing_and_unexpected_keys` there."""
    patterns = [*declared(model), r"rotary_emb\.inv_freq", r"(^|\.)position_ids$"]
    own = {*model.state_dict()}
    return [
        key
        for key in places
        if any(re.search(pattern, key) for pattern in patterns) and not own_names(model, key) & own
    ]


def own_names(model: Any, key: str) -> set[str]:
    """What a tensor of a file may be called in the model: files hold the model with its head, or the part below it."""
    prefix = f"{model.base_model_prefix}."
    return {key, prefix + key, key.removeprefix(prefix)}


def holds_integers(model: Any, key: str) -> bool:
    """Whether a tensor of a file is a buffer of the model; a table of ids may stand in a file under an older path."""
    buffers = dict(model.named_buffers())
    tables = {name.rpartition(".")[2] for name, b in buffers.items() if not b.is_floating_point()}
    return bool(own_names(model, key) & {*buffers}) or key.rpartition(".")[2] in tables


def declared(model: Any) -> list[str]:
    return list(model._keys_to_ignore_on_load_unexpected or ())


def may_be_left(model: Any, key: str, places: Mapping[str, Path]) -> bool:
    """Whether the logits do not depend on a tensor; buffers are compared with the model's own by value."""
    if any(kind.search(key) for kind in (FREQUENCIES, POSITIONS, MASK, MASK_VALUE)):
        return key in places and is_own_buffer(model, key, read_stored(places[key], [key])[key])
    return bool(OTHER_HEADS.match(key)) or any(
        re.search(pattern, key) for pattern in declared(model)
    )


def is_own_buffer(model: Any, key: str, stored: Tensor) -> bool:
    """Whether a stored buffer is what the model makes itself; of a mask: 0 or 1, and 0 above the diagonal."""
    if FREQUENCIES.search(key):
        made = [buffer for name, buffer in model.named_buffers() if FREQUENCIES.search(name)]
        return any(same_frequencies(stored, buffer) for buffer in made)
    if POSITIONS.search(key):
        return torch.equal(stored.flatten().long(), torch.arange(stored.numel()))
    if MASK_VALUE.search(key):
        return stored.numel() == 1 and float(stored) <= -1e4
    if (
        stored.ndim < 2
        or stored.numel() != stored.shape[-1] ** 2
        or stored.shape[-2] != stored.shape[-1]
    ):
        return False
    square = stored.reshape(stored.shape[-2:])
    whole = bool(((square == 0) | (square == 1)).all())
    return whole and not square.triu(1).any() and bool(square.diagonal().all())


def same_frequencies(stored: Tensor, made: Tensor) -> bool:
    """Equal but for rounding in the dtype of the file."""
    if stored.shape != made.shape or not stored.is_floating_point():
        return False
    rounding = 4 * torch.finfo(stored.dtype).eps
    return torch.allclose(stored.double(), made.to("cpu").double(), rtol=rounding, atol=0)


def some(names: Sequence[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def fingerprint(bridge: Bridge, model: str) -> str:
    """SHA-256 over name, shape, dtype and the bit sum of every parameter; refuses weights that are not finite."""
    parameters = bridge.original_model.named_parameters()
    named = sorted((name.replace("._original_component", ""), p) for name, p in parameters)
    words = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums, finite, home = [], [], named[0][1].device
    for _, p in named:
        sums.append(p.detach().view(words[p.element_size()]).sum(dtype=torch.int64).to(home))
        finite.append(p.detach().isfinite().all().long().to(home))
    host = torch.stack([torch.stack(sums), torch.stack(finite)]).cpu().tolist()
    if bad := [(name, p) for (name, p), ok in zip(named, host[1], strict=True) if not ok]:
        refuse_infinite(bad, model)
    digest = hashlib.sha256()
    for (name, p), total in zip(named, host[0], strict=True):
        digest.update(f"{name} {tuple(p.shape)} {p.dtype} {total}\n".encode())
    return digest.hexdigest()


def refuse_infinite(bad: Sequence[tuple[str, Tensor]], model: str) -> None:
    """Raises LensError; infinite weights in float16 may be finite ones that are too large for it."""
    names, dtype = [name for name, _ in bad], bad[0][1].dtype
    mend = SOUND
    if dtype == torch.float16 and not any(bool(p.isnan().any()) for _, p in bad):
        mend = f"float16 ends at 65504: use --dtype bfloat16 or float32, else {SOUND}"
    raise LensError(f"{model} has weights that are not finite: {some(names)}; {mend}")
