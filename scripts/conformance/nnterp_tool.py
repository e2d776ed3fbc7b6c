"""The logit lens of nnterp: project_on_vocab on what goes into the first block and what comes out of each."""

import torch
from jobs import answer_jobs
from nnterp import StandardizedTransformer
from torch import Tensor


def lens(folder: str, ids: Tensor) -> Tensor:
    model = StandardizedTransformer(folder, device_map="cpu", dtype=torch.float32)
    rows = []
    with model.trace(ids):
        rows.append(model.project_on_vocab(model.layers_input[0])[0, -1].save())
        for layer in range(model.num_layers):
            rows.append(model.project_on_vocab(model.layers_output[layer])[0, -1].save())
    return torch.stack(rows)


if __name__ == "__main__":
    answer_jobs(lens)
