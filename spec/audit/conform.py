"""Is a tool's logit lens right on a model? What it wrote, against the float64 formulas and the model's own logits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runners.lens_tool import LensJob, LensTool, ToolProblem, ToolRows, read_rows
from ..runners.plain import TOLERANCE, Readout, UnreadModel, read_model
from .hypotheses import explanations, layer_kls, right_lens

NO_LAYER_0 = "no layer 0"


@dataclass(frozen=True)
class Judged:
    """A tool on one model: KL(tool || right lens) of each of its `layers`, KL(tool || model) at the last; bits.

    `faults` are what explains the rows: alternatives, of one name or two each. `problem` says why there are no rows.
    """

    model: str
    layers: tuple[int, ...] = ()
    kls: tuple[float, ...] = ()
    last_kl: float | None = None
    faults: tuple[tuple[str, ...], ...] = ()
    problem: str = ""

    @property
    def worst(self) -> tuple[float, int] | None:
        """The largest KL and its layer."""
        return max(zip(self.kls, self.layers, strict=True), default=None)

    @property
    def passes(self) -> bool:
        """Every layer and the last one within the tolerance, and nothing to say against the rows."""
        kls = [*self.kls, *([] if self.last_kl is None else [self.last_kl])]
        return not self.problem and not self.faults and max(kls, default=np.inf) <= TOLERANCE


@dataclass(frozen=True)
class Conformance:
    """A tool on every model, and how it stopped after it had written every file: empty where it exited with 0."""

    judged: tuple[Judged, ...]
    problem: str

    @property
    def passes(self) -> bool:
        return not self.problem and all(one.passes for one in self.judged)


def conform(models: Mapping[str, Path], ids: Sequence[int], tool: LensTool) -> Conformance:
    """Run a tool on checkpoint folders, by name, and judge what it writes.

    Raises SpecError where its command cannot be started.
    """
    readouts: dict[str, Readout | UnreadModel] = {}
    for name, folder in models.items():
        try:
            readouts[name] = read_model(folder, ids)
        except UnreadModel as error:
            readouts[name] = error
    jobs = {
        name: LensJob(models[name], tuple(ids), tool.work / f"{name}.npz")
        for name, readout in readouts.items()
        if isinstance(readout, Readout)
    }
    stopped, problem = tool.run(list(jobs.values()))
    judged = []
    for name, readout in readouts.items():
        if isinstance(readout, UnreadModel):
            judged.append(Judged(name, problem=f"not judged: {readout}"))
        else:
            judged.append(judge_file(name, readout, jobs[name].out, stopped))
    return Conformance(tuple(judged), problem)


def judge_file(model: str, readout: Readout, out: Path, stopped: Mapping[Path, str]) -> Judged:
    if out in stopped:
        return Judged(model, problem=stopped[out])
    try:
        rows = read_rows(out, readout.n_layers, len(readout.own_logits))
    except ToolProblem as error:
        return Judged(model, problem=str(error))
    return judge(model, readout, rows)


def judge(model: str, readout: Readout, rows: ToolRows) -> Judged:
    """Compare the rows of a tool with the right lens, and name what is wrong where they differ."""
    layers = list(rows.layers)
    kls = layer_kls(rows.logits, right_lens(readout).logits()[layers])
    last = rows.logits[layers.index(readout.n_layers)]
    last_kl = float(layer_kls(last[None], readout.own_logits[None])[0])
    wrong = max(*kls, last_kl) > TOLERANCE
    faults = explanations(rows.logits, layers, readout) if wrong else ()
    if rows.unnamed and (faults or not wrong):
        faults = tuple((NO_LAYER_0, *names) for names in faults or ((),))
    return Judged(model, rows.layers, tuple(map(float, kls)), last_kl, faults)
