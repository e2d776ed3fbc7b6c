"""The logit lens by hand on plain transformers: the model's own last norm and head, its logits scaled and capped."""

from typing import Any

import torch
from jobs import answer_jobs
from torch import Tensor
from transformers import AutoModelForCausalLM

FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def lens(folder: str, ids: Tensor) -> Tensor:
    """Read every hidden state through the last norm; transformers' last one has passed it already."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    body = getattr(model.base_model, "decoder", model.base_model)
    norm = next(getattr(body, name) for name in FINAL_NORMS if hasattr(body, name))
    states = model(ids, output_hidden_states=True).hidden_states
    residuals = torch.stack([state[0, -1] for state in states])
    normed = torch.cat([norm(residuals[:-1]), residuals[-1:]])
    return transformed(model.get_output_embeddings()(normed), model.config)


def transformed(logits: Tensor, config: Any) -> Tensor:
    """What Cohere, Granite and Gemma 2 do to their logits."""
    logits = logits * getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


if __name__ == "__main__":
    answer_jobs(lens)
