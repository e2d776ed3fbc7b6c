"""Which model a configuration describes, and whether transformers and TransformerLens have the code for it built in."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge.sources.transformers import helpers
from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.auto_factory import _get_model_class
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from ..errors import LensError, library_text

CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
# Entries of a configuration that change no number of a forward.
NO_OPTION = re.compile(
    "drop|^tie_|use_cache|_id$|dtype|initializer|architectures|_version|^model_type|^_"
)
DECODERS = "not a causal language model; the lens reads decoders only"


def check_type(name: str, location: Mapping[str, Any], model: str) -> None:
    """Raises LensError where config.json names no type of model that transformers has the code for."""
    config, _ = PretrainedConfig.get_config_dict(name, **location)
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in CONFIG_MAPPING:
        return
    own = ", and the code that comes with it is never run" if config.get("auto_map") else ""
    raise LensError(
        f"{model} is of the type {kind!r}, which transformers {version('transformers')} does not know{own}; "
        "use a model whose code is part of transformers"
    )


def check_causal(config: Any, model: str) -> None:
    """Raises LensError for encoders, models of two halves, and models without a layer."""
    names, kind = config.architectures or [], config.model_type
    causal = any(str(name).endswith(CAUSAL) for name in names)
    if names and (not causal or getattr(config, "is_encoder_decoder", False)):
        raise LensError(f"{model} is {', '.join(map(str, names))}, {DECODERS}")
    encodes = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)
    if getattr(config, "is_encoder_decoder", False) or encodes:
        raise LensError(f"{model} is of the type {kind!r}, {DECODERS}")
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if layers is not None and (not isinstance(layers, int) or layers < 1):
        raise LensError(
            f"{model} has num_hidden_layers {layers!r}; the lens reads one layer or more"
        )


def model_class(config: Any, model: str) -> tuple[Any, Any]:
    """The class of transformers that loads a model by its configuration, and the model's own class.

    Raises LensError where transformers or TransformerLens has none, and where the makers' class is in the checkpoint.
    """
    names = config.architectures or ()
    known = next((name for name in names if name in SUPPORTED_ARCHITECTURES), "")
    loader = helpers.get_hf_model_class_for_architecture(known)
    if type(config) not in loader._model_mapping:
        raise LensError(f"{model} is of the type {config.model_type!r}, {DECODERS}")
    own = _get_model_class(config, loader._model_mapping)
    shipped = shipped_class(config, loader.__name__)
    if shipped not in ("", own.__name__):
        raise LensError(
            f"{model} is {shipped}, whose code comes with the checkpoint and is never run; {own.__name__} of "
            "transformers may be another model; use a checkpoint that needs no code of its own"
        )
    adapter_name(own, model)
    return loader, own


def shipped_class(config: Any, loader: str) -> str:
    """The class for a loader that a checkpoint brings along itself; empty where it brings none."""
    code = getattr(config, "auto_map", None) or {}
    return str(code.get(loader, "")).rsplit(".", 1)[-1]


def unused_code(config: Any) -> list[str]:
    """A warning where a checkpoint brings code along for a class that transformers has, too."""
    if not getattr(config, "auto_map", None):
        return []
    return [
        "the code that comes with the checkpoint is not run; transformers has its own for this model"
    ]


def adapter_name(own: type, model: str) -> str:
    """What TransformerLens calls the class of a model. Raises LensError where it does not know it."""
    name = own.__name__
    by_case = {known.lower(): known for known in SUPPORTED_ARCHITECTURES}
    if name in SUPPORTED_ARCHITECTURES:
        return name
    if name.lower() in by_case:
        return by_case[name.lower()]
    raise LensError(
        f"{model} is {name}, which TransformerLens {version('transformer-lens')} does not know; use a model of one "
        "of the architectures that TransformerBridge.list_supported_models lists"
    )


@contextmanager
def wrapping_errors(hf_model: Any, model: str) -> Iterator[None]:
    """Whatever TransformerLens raises about a model that transformers has run becomes one LensError.

    It gives TransformerLens's own reason, which often is an assertion, and the options that may be the cause.
    """
    try:
        yield
    except LensError:
        raise
    except Exception as error:
        reason = library_text(error, named=False) or "it gives no reason"
        raise LensError(
            f"{model} cannot be read: TransformerLens {version('transformer-lens')} does not take it, though "
            f"transformers runs it: {reason}; options of its config that are not its family's defaults: "
            f"{unusual_options(hf_model.config)}"
        ) from error


def unusual_options(config: Any) -> str:
    """Options of the text model's configuration that are not its family's defaults, for an error to name.

    Sizes, ids and lists are left out: most checkpoints have their own, and they are no cause to look at first.
    """
    text = config.get_text_config()
    usual = dict(leaves(type(text)().to_dict()))
    options = dict(leaves(text.to_dict()))
    named = [
        f"{key}={value}"
        for key, value in sorted(options.items())
        if usual.get(key) != value and not NO_OPTION.search(key)
    ]
    return ", ".join(named) or "none"


def leaves(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of switches, numbers with a fraction, texts and absent values; nested ones as `a.b`."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from leaves({str(k): v for k, v in value.items()}, f"{above}{key}.")
        elif value is None or isinstance(value, bool | float | str):
            yield above + key, value
