"""The protocol of `python -m spec conform`, seen from a tool: jobs in, one .npz a job out."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# checkpoint folder, token ids [1, S] -> logits [L + 1, V] at the last position
Lens = Callable[[str, Tensor], Tensor]


def answer_jobs(lens: Lens) -> None:
    """Answer every job of the file that the command line ends with; an exception is its answer too."""
    for line in Path(sys.argv[-1]).read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        try:
            with torch.no_grad():
                logits = lens(job["model"], torch.tensor([job["ids"]]))
            np.savez(job["out"], logits=logits.float().cpu().numpy())
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            np.savez(job["out"], error=f"{type(error).__name__}: {reason}")
