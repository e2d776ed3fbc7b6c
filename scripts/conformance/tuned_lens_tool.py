"""The LogitLens of tuned-lens over a sequence, as its PredictionTrajectory decodes it; the last row is the model's own.

tuned-lens 0.2.0 asks an installed TransformerLens for a class that its version 4 no longer has, so it sees none here.
"""

import sys

from jobs import answer_jobs
from torch import Tensor, from_numpy
from transformers import AutoModelForCausalLM


def lens(folder: str, ids: Tensor) -> Tensor:
    from tuned_lens.nn.lenses import LogitLens
    from tuned_lens.plotting import PredictionTrajectory

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    trajectory = PredictionTrajectory.from_lens_and_model(
        LogitLens.from_model(model), model, ids[0].tolist()
    )
    return from_numpy(trajectory.log_probs[:, -1])


if __name__ == "__main__":
    sys.modules["transformer_lens"] = None  # type: ignore[assignment]
    answer_jobs(lens)
