"""The reference's tuned lens of low rank: its formula in float64, its files, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.core.norms import FormulaNorms
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses import tuned
from lenses_min.lenses.low_rank import LowRankLens
from lenses_min.lenses.norm import NormLens
from lenses_min.model.load import LoadedModel

N, D, V, R = 3, 6, 9, 2


def about(**changes: Any) -> dict[str, Any]:
    sizes = {"num_layers": N, "d_model": D, "rank": R}
    uses = {"final_identity": True, "has_preconditioner": True, "use_temperature": True}
    return sizes | uses | {"temperature_eps": 0.25} | changes


def weights(n: int = N, width: int = D, rank: int = R) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    state = {"log_tau": torch.randn(n, generator=draw)}
    for i in range(n):
        state[f"layers.{i}.U"] = torch.randn(width, rank, generator=draw)
        state[f"layers.{i}.V"] = torch.randn(width, rank, generator=draw)
        state[f"layers.{i}.c"] = torch.randn(width, generator=draw)
    return state


def basis(rotated: bool = True) -> dict[str, torch.Tensor | None]:
    draw = torch.Generator().manual_seed(7)
    inverse = 0.5 + torch.rand(D, generator=draw)
    inverse[2] = 0  # a direction that no text has varied
    rotation = torch.linalg.qr(torch.randn(D, D, generator=draw))[0]
    mean = torch.randn(D, generator=draw)
    return {"mean": mean, "inv_scale": inverse, "rotation": rotation if rotated else None}


def save(
    folder: Path, state: dict[str, Any], described: dict[str, Any], own: dict[str, Any] | None
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "weights.pt")
    (folder / "provenance.json").write_text(json.dumps({"translator": described}))
    if own is not None:
        torch.save(own, folder / "precond.pt")


def options(folder: Path) -> RunOptions:
    return RunOptions("model", tuned_dir=str(folder.parent), model_id=f"x/{folder.name}")


@pytest.fixture
def norms() -> FormulaNorms:
    scale = 1 + 0.2 * torch.randn(N + 1, D, generator=torch.Generator().manual_seed(1))
    return FormulaNorms(
        scale, torch.full((N + 1, 1), 1e-3), torch.zeros(N + 1, 1, dtype=torch.bool)
    )


@pytest.fixture
def head() -> Unembedding:
    draw = torch.Generator().manual_seed(2)
    return Unembedding(torch.randn(V, D, generator=draw), torch.randn(V, generator=draw))


def by_formula(
    h: Any, i: int, state: dict[str, Any], frame: dict[str, Any] | None, eps: float
) -> tuple[Any, float]:
    """The row that is unembedded and its temperature, float64, as the contract has them."""
    u, v, c = (state[f"layers.{i}.{part}"].double().numpy() for part in "UVc")
    tau = np.log1p(np.exp(float(state["log_tau"][i]))) + eps
    if frame is None:
        return h + (h @ u) @ v.T + c, tau
    mean, inverse = frame["mean"].double().numpy(), frame["inv_scale"].double().numpy()
    rotation = np.eye(D) if frame["rotation"] is None else frame["rotation"].double().numpy()
    p = ((h - mean) * inverse) @ rotation.T
    t = (p + (p @ u) @ v.T + c) @ rotation
    back = np.array([0.0 if s == 0 else x / s for x, s in zip(t, inverse, strict=True)])
    return back + mean, tau


@pytest.mark.parametrize("frame", [None, "plain", "rotated", "in weights.pt"])
@pytest.mark.parametrize("identity", [True, False])
def test_every_layer_is_read_by_the_formula(
    frame: str | None, identity: bool, norms: FormulaNorms, head: Unembedding, tmp_path: Path
) -> None:
    state, own = weights(), None if frame is None else basis(frame != "plain")
    saved: dict[str, Any] = dict(state)
    if frame == "in weights.pt":
        saved |= {f"_precond_{key}": value for key, value in basis().items()}
    described = about(final_identity=identity, has_preconditioner=own is not None)
    save(tmp_path / "m", saved, described, None if frame == "in weights.pt" else own)
    lens, _ = tuned.build(norms, head, options(tmp_path / "m"))

    layers = torch.tensor([0, 1, 1, 2, 3])
    x = torch.randn(len(layers), D, generator=torch.Generator().manual_seed(3))
    assert isinstance(lens, LowRankLens)
    logits = lens.decode(x, layers)
    normed = norms.apply(x, layers).double().numpy()
    assert head.bias is not None
    w, b = head.weight.double().numpy(), head.bias.double().numpy()
    for row, layer in enumerate(layers.tolist()):
        h, tau = normed[row], 1.0
        if layer > 0 and not (identity and layer == N):
            h, tau = by_formula(h, layer - 1, state, own, 0.25)
        expected = (h @ w.T + b) / tau
        assert logits[row].double().numpy() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_without_temperatures_every_tau_is_one(
    norms: FormulaNorms, head: Unembedding, tmp_path: Path
) -> None:
    state = {key: 0 * t for key, t in weights().items() if key != "log_tau"}
    save(tmp_path / "m", state, about(use_temperature=False, has_preconditioner=False), None)
    lens, _ = tuned.build(norms, head, options(tmp_path / "m"))
    layers = torch.tensor([0, 1, 2, 3])
    x = torch.randn(4, D, generator=torch.Generator().manual_seed(4))
    assert lens is not None
    assert torch.equal(lens.decode(x, layers), NormLens(norms, head).decode(x, layers))


WRONG: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], object], str]] = {
    "another key": (
        lambda state, config, own: state.update({"layers.0.W": torch.zeros(1)}),
        r"has an unknown layout: weights.pt has layers.0.W; lenses_min/README.md has those",
    ),
    "a missing layer": (
        lambda state, config, own: state.pop("layers.2.V"),
        r"unknown layout: layers.2.V of weights.pt is missing, not \(6, 2\)",
    ),
    "more layers": (
        lambda state, config, own: state.update({"layers.3.c": torch.zeros(D)}),
        r"unknown layout: weights.pt has layers.3.c",
    ),
    "another rank": (
        lambda state, config, own: config.update(rank=3),
        r"layers.0.U of weights.pt is \(6, 2\), not \(6, 3\)",
    ),
    "another model": (
        lambda state, config, own: config.update(d_model=8),
        r"is of another model: d_model 8, not 6",
    ),
    "another depth": (
        lambda state, config, own: config.update(num_layers=4),
        r"is of another model: num_layers 4, not 3",
    ),
    "no final_identity": (
        lambda state, config, own: config.pop("final_identity"),
        r"`translator` of provenance.json: final_identity",
    ),
    "a temperature of text": (
        lambda state, config, own: config.update(temperature_eps="1e-3"),
        r"`translator` of provenance.json: temperature_eps",
    ),
    "no temperatures": (
        lambda state, config, own: state.pop("log_tau"),
        r"log_tau of weights.pt is missing, not \(3,\)",
    ),
    "a temperature below 0": (
        lambda state, config, own: config.update(temperature_eps=-9.0),
        r"is corrupt \(a temperature is not above 0\)",
    ),
    "not finite": (
        lambda state, config, own: state["layers.1.c"].fill_(torch.nan),
        r"is corrupt \(layers.1.c: not finite\)",
    ),
    "a basis of another width": (
        lambda state, config, own: own.update(inv_scale=torch.ones(5)),
        r"inv_scale of precond.pt is \(5,\), not \(6,\)",
    ),
    "no basis": (
        lambda state, config, own: own.clear(),
        r"mean of precond.pt is missing, not \(6,\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_layout_is_refused(
    name: str, norms: FormulaNorms, head: Unembedding, tmp_path: Path
) -> None:
    change, message = WRONG[name]
    state, described, own = weights(), about(), dict(basis())
    change(state, described, own)
    save(tmp_path / "m", state, described, own)
    with pytest.raises(LensError, match=message):
        tuned.build(norms, head, options(tmp_path / "m"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("provenance.json", None, r"has no provenance.json, .* copy it from where weights.pt came"),
        ("provenance.json", "{}", r"`translator` of provenance.json: not there"),
        ("provenance.json", "{", r"is corrupt \(JSONDecodeError"),
        ("precond.pt", None, r"it has a preconditioner, but no precond.pt"),
        ("weights.pt", "x", r"is corrupt \(UnpicklingError"),
    ],
)
def test_a_missing_or_broken_file_is_refused(
    file: str,
    content: str | None,
    message: str,
    norms: FormulaNorms,
    head: Unembedding,
    tmp_path: Path,
) -> None:
    save(tmp_path / "m", weights(), about(), basis())
    (tmp_path / "m" / file).unlink()
    if content is not None:
        (tmp_path / "m" / file).write_text(content)
    with pytest.raises(LensError, match=message):
        tuned.build(norms, head, options(tmp_path / "m"))


def test_a_list_is_no_layout(norms: FormulaNorms, head: Unembedding, tmp_path: Path) -> None:
    save(tmp_path / "m", weights(), about(), basis())
    torch.save([torch.zeros(1)], tmp_path / "m" / "weights.pt")
    with pytest.raises(LensError, match=r"unknown layout: weights.pt is a list"):
        tuned.build(norms, head, options(tmp_path / "m"))


def test_a_run_reads_it_and_its_records_begin_behind_the_first_block(
    fact_model: LoadedModel, fact_options: RunOptions, tmp_path: Path
) -> None:
    n, width = fact_model.facts.n_layers, fact_model.head.weight.shape[1]
    state = weights(n, width)
    described = about(num_layers=n, d_model=width, has_preconditioner=False)
    save(tmp_path / "Fact", state, described, None)
    run = pipeline.run(
        RunOptions(
            fact_options.model,
            model_id="tiny/Fact",
            device="cpu",
            lenses=("norm", "tuned"),
            tuned_dir=str(tmp_path),
        )
    )
    assert run.pure("tuned")[0] == run.pure("norm")[0]
    assert run.pure("tuned")[n] == run.pure("norm")[n]
    assert run.pure("tuned")[1] != run.pure("norm")[1]
    assert min(row.layer for row in run.records("tuned")) == 1
