"""Tuned lenses from files: the device they come to, their least sizes, and what an error names."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lenses_min import LensError, RunOptions
from lenses_min.core.norms import FormulaNorms
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses import low_rank, tuned
from lenses_min.lenses.low_rank import LowRankLens, State, Translators
from lenses_min.lenses.tuned import TunedLens

D, V, R = 2, 5, 1
HOST, META = torch.device("cpu"), torch.device("meta")  # meta tensors have no values
ABOUT = {
    "num_layers": 1,
    "d_model": D,
    "rank": R,
    "final_identity": False,
    "has_preconditioner": False,
    "use_temperature": True,
    "temperature_eps": 0.25,
}


def state(**changes: Any) -> dict[str, Any]:
    """Of one translator."""
    of_layer = {"U": torch.ones(D, R), "V": torch.ones(D, R), "c": torch.ones(D)}
    return {f"layers.0.{key}": t for key, t in of_layer.items()} | {
        "log_tau": torch.zeros(1),
        **changes,
    }


def write(folder: Path, tensors: dict[str, Any], about: dict[str, Any]) -> None:
    torch.save(tensors, folder / "weights.pt")
    (folder / "provenance.json").write_text(json.dumps({"translator": about}))


def read(folder: Path, tensors: dict[str, Any], about: dict[str, Any] = ABOUT) -> Translators:
    write(folder, tensors, about)
    return low_rank.read(folder, 1, D, HOST)


def norms(n: int, device: torch.device) -> FormulaNorms:
    return FormulaNorms(
        torch.ones(n + 1, D, device=device),
        torch.full((n + 1, 1), 1e-3, device=device),
        torch.zeros(n + 1, 1, dtype=torch.bool, device=device),
    )


def test_a_model_of_one_block_has_one_temperature_and_its_embeddings_have_none(
    tmp_path: Path,
) -> None:
    translators = read(tmp_path, state(log_tau=torch.tensor([1.0])))
    temperatures = [float(translators.temperature(layer)) for layer in (0, 1)]
    assert temperatures == pytest.approx([1.0, math.log(1 + math.e) + 0.25])


def test_a_temperature_of_nothing_is_refused_and_a_small_one_is_not(tmp_path: Path) -> None:
    """The softplus of −200 is 0 in float32."""
    nothing = state(log_tau=torch.tensor([-200.0]))
    small = read(tmp_path, nothing, ABOUT | {"temperature_eps": 1e-6})
    assert small.tau.tolist() == pytest.approx([1e-6])
    with pytest.raises(LensError, match=r"is corrupt \(a temperature is not above 0\)$"):
        read(tmp_path, nothing, ABOUT | {"temperature_eps": 0.0})


def test_every_unknown_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"unknown layout: weights.pt has a, b, layers.1.c; "):
        read(tmp_path, state(b=torch.ones(1), a=torch.ones(1), **{"layers.1.c": torch.ones(D)}))


def test_every_wrong_size_is_named(tmp_path: Path) -> None:
    wrong = {key: value for key, value in ABOUT.items() if key != "d_model"} | {"rank": "1"}
    with pytest.raises(LensError, match=r": `translator` of provenance.json: d_model, rank; "):
        read(tmp_path, state(), wrong)


def test_weights_are_read_as_data_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # the default of old versions
    torch.save({"code": Path("x")}, tmp_path / "weights.pt")
    with pytest.raises(Exception, match=r"^Weights only load failed\."):
        State(tmp_path / "weights.pt", HOST)


def test_translators_of_low_rank_come_to_the_device_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, state(), ABOUT | {"use_temperature": False})
    with META:  # where a tensor lands whose device nobody names
        translators = low_rank.read(tmp_path, 1, D, HOST)
    assert translators.tau.device == HOST
    assert translators.tau.tolist() == [1.0]
    loaded = State(tmp_path / "weights.pt", META).values
    assert {tensor.device for tensor in loaded.values()} == {META}


def test_translators_of_full_rank_come_to_the_device_of_the_head(tmp_path: Path) -> None:
    written = {"0.weight": torch.ones(D, D), "0.bias": torch.ones(D)}
    (tmp_path / "m").mkdir()
    save_file(written, tmp_path / "m" / "translators.safetensors")
    head = Unembedding(torch.ones(V, D, device=META), None)
    options = RunOptions("model", model_id="x/m", tuned_dir=str(tmp_path))
    lens, _ = tuned.build(norms(1, HOST), head, options)
    assert isinstance(lens, TunedLens)
    assert (lens.weight.device, lens.bias.device) == (META, META)


def test_layers_on_the_host_serve_rows_on_another_device() -> None:
    """And no value of that device is asked for, which would wait for it."""
    u, c = torch.ones(2, D, R, device=META), torch.ones(2, D, device=META)
    translators = Translators(u, u, c, torch.ones(2, device=META), None, final_identity=False)
    head = Unembedding(torch.ones(V, D, device=META), None)
    lens = LowRankLens(norms(2, META), head, translators)
    logits = lens.decode(torch.ones(4, D, device=META), torch.tensor([0, 1, 1, 2]))
    assert (logits.device, logits.shape) == (META, (4, V))
