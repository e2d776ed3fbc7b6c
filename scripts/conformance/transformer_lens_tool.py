"""TransformerLens: its function logit_lens, or with --by-hand the recipe in the docstring of accumulated_resid.

The recipe is the one with b_U, on a bridge in compatibility mode.
"""

import argparse

import torch
from jobs import answer_jobs
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import logit_lens


def by_function(folder: str, ids: Tensor) -> Tensor:
    bridge = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)
    return logit_lens(bridge, ids).values[:, 0]


def by_hand(folder: str, ids: Tensor) -> Tensor:
    bridge = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)
    bridge.enable_compatibility_mode()
    _, cache = bridge.run_with_cache(ids)
    residuals, _ = cache.accumulated_resid(apply_ln=True, return_labels=True)
    bias = getattr(bridge, "b_U", None)
    logits = residuals[:, 0, -1, :] @ bridge.W_U
    return logits if bias is None else logits + bias


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by-hand", action="store_true")
    parser.add_argument("jobs")
    answer_jobs(by_hand if parser.parse_args().by_hand else by_function)
