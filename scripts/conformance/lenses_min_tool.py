"""The final lens of lenses-min under its corrected contract, as a run decodes it."""

from jobs import answer_jobs
from torch import Tensor

from lenses_min import RunOptions, pipeline
from lenses_min.model.load import load
from lenses_min.model.verify import capture


def lens(folder: str, ids: Tensor) -> Tensor:
    options = RunOptions(folder, device="cpu", contract="corrected", lenses=("final",))
    model = load(options)
    lenses, _ = pipeline.build_lenses(model, options)
    final = next(lens for lens in lenses if lens.name == "final")
    residuals, _ = capture(model.bridge, ids[0].tolist(), model.facts.n_layers, ())
    rows = residuals.rows(())
    return final.decode(rows.x, rows.layers)


if __name__ == "__main__":
    answer_jobs(lens)
