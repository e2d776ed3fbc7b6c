"""What the model reads before a prompt: the beginning-of-sequence ids, and the rule that gives them.

Two rules. The reference's is that of TransformerLens 2.16. The corrected one follows the checkpoint as it is on disk:
the tokenizer's template, else `add_bos_token` of tokenizer_config.json where it is false, else the family where it is
trained without, else the tokenizer's `bos_token`, else `bos_token_id` of config.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from ..core.types import Bos
from ..errors import LensError
from .families import family_of

PROBES = ("a", "The", "1", "?")  # texts to see a template by; some tokenizer drops each of them


@dataclass(frozen=True)
class Declared:
    """The BOS that the files of a checkpoint declare besides the tokenizer; None where they declare none."""

    bos_token_id: int | None = None
    add_bos_token: bool | None = None


def read_declared(name: str, location: Mapping[str, Any], tokenizer: Any) -> Declared:
    """`bos_token_id` of config.json, in a model with vision of its `text_config`, and the tokenizer's flag.

    transformers leaves the flag out where there is a tokenizer.json, and gives a config the default of its class.
    """
    config, _ = PretrainedConfig.get_config_dict(name, **location)
    inner = config.get("text_config")
    parts = (config, inner if isinstance(inner, Mapping) else {})
    ids = [part["bos_token_id"] for part in parts if type(part.get("bos_token_id")) is int]
    if "gguf_file" in location:
        flag = tokenizer.init_kwargs.get("add_bos_token")
    else:
        flag = get_tokenizer_config(name, **location).get("add_bos_token")
    return Declared(ids[0] if ids else None, flag if isinstance(flag, bool) else None)


def choose_bos(
    tokenizer: Any, family: str, declared: Declared, setting: str, by_declaration: bool
) -> tuple[Bos, Bos]:
    """The rule of a run, and that of the other contract for comparison; `setting` is the option `bos`.

    Under the reference contract an override is compared with itself, as the user chose it.
    Raises LensError where the model's BOS is wanted and none is declared.
    """
    reference = reference_bos(tokenizer, family, declared)
    declared_rule = corrected_bos(tokenizer, family, declared)
    if setting == "auto":
        return (declared_rule, reference) if by_declaration else (reference, declared_rule)
    own = Bos((), "--bos none")
    if setting == "model":
        stated = declared_bos(tokenizer, declared)
        if not stated.ids:
            raise LensError(f"--bos model: {stated.rule}; use --bos none or auto")
        own = Bos(stated.ids, f"--bos model: {stated.rule}")
    return own, reference if by_declaration else own


def reference_bos(tokenizer: Any, family: str, declared: Declared) -> Bos:
    """TransformerLens 2.16: BOS for all families but some; the EOS of a tokenizer without BOS serves as one."""
    if not family_of(family).reference_bos:
        return Bos((), f"TransformerLens 2.16 puts none before {family}")
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is not None:
        return Bos((int(tokenizer.eos_token_id),), "a tokenizer without BOS lends its EOS")
    return declared_bos(tokenizer, declared)


def corrected_bos(tokenizer: Any, family: str, declared: Declared) -> Bos:
    """The BOS that the makers of a checkpoint declared; no EOS takes its place."""
    template = template_prefix(tokenizer)
    if template is not None:
        return Bos(template, "the tokenizer's template")
    if declared.add_bos_token is False:
        return Bos((), "add_bos_token of the tokenizer is false")
    if not family_of(family).trained_with_bos and not declared.add_bos_token:
        return Bos((), f"{family} is trained without BOS")
    return declared_bos(tokenizer, declared)


def declared_bos(tokenizer: Any, declared: Declared) -> Bos:
    """BOS of the tokenizer, else of config.json where it is one of the tokenizer's ids."""
    if tokenizer.bos_token_id is not None:
        return Bos((int(tokenizer.bos_token_id),), "bos_token of the tokenizer")
    bos_id = declared.bos_token_id
    if bos_id is None:
        return Bos((), "neither the tokenizer nor config.json declares a BOS")
    if bos_id not in tokenizer.get_vocab().values():
        rule = f"bos_token_id {bos_id} of config.json is no token of the tokenizer"
        return Bos((), rule, warning=f"{rule}: no BOS is read")
    return Bos((bos_id,), "bos_token_id of config.json")


def template_prefix(tokenizer: Any) -> tuple[int, ...] | None:
    """The ids that the tokenizer itself puts before a text; None where it puts nothing around one.

    What its template appends, such as EOS or [SEP], ends a text and is never read after a prompt.
    """
    for probe in PROBES:
        coded = tokenizer(probe, add_special_tokens=True, return_special_tokens_mask=True)
        added, ids = list(coded["special_tokens_mask"]), list(coded["input_ids"])
        if not all(added):
            size = len(list(takewhile(bool, added)))
            return tuple(map(int, ids[:size])) if any(added) else None
    return None
