"""Steps 1, 4, 7 and 9: the lens interface, the norm lens, Prism behind the same interface, frozen contexts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lenses_min import LensError, RunOptions
from lenses_min.core.norms import FormulaNorms, ModuleNorms
from lenses_min.core.unembedding import Unembedding
from lenses_min.lenses import LENSES, prism
from lenses_min.lenses.norm import NormLens
from lenses_min.lenses.raw import RawLens

D, V, L = 6, 11, 3


@pytest.fixture
def norms() -> FormulaNorms:
    draw = torch.Generator().manual_seed(0)
    identity = torch.tensor([[False], [False], [True]])
    return FormulaNorms(
        1 + 0.2 * torch.randn(L, D, generator=draw), torch.full((L, 1), 1e-2), identity
    )


@pytest.fixture
def head() -> Unembedding:
    draw = torch.Generator().manual_seed(1)
    return Unembedding(torch.randn(V, D, generator=draw), torch.randn(V, generator=draw))


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(4, D, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1, 1, 2])


def test_each_row_meets_the_norm_of_its_own_layer(norms: FormulaNorms) -> None:
    x, layers = rows()
    normed = norms.apply(x, layers)
    for i, layer in enumerate(layers.tolist()):
        by_hand = x[i] / (x[i].pow(2).mean() + 1e-2).sqrt() * norms.scale[layer]
        assert torch.allclose(normed[i], x[i] if norms.identity[layer] else by_hand)


def test_the_norm_keeps_the_dtype_and_logits_are_float32(
    norms: FormulaNorms, head: Unembedding
) -> None:
    x, layers = rows()
    assert norms.apply(x.bfloat16(), layers).dtype == torch.bfloat16
    assert NormLens(norms, head).decode(x.bfloat16(), layers).dtype == torch.float32


def test_half_precision_ends_at_the_norm_and_begins_behind_it(
    norms: FormulaNorms, head: Unembedding
) -> None:
    """A bfloat16 residual is normed in float32, rounded once, and meets a float32 unembedding."""
    x, layers = rows()
    assert head.bias is not None
    half = x.bfloat16()
    normed = norms.apply(half.float(), layers).bfloat16()
    assert torch.equal(norms.apply(half, layers), normed)
    for lens, read in ((NormLens(norms, head), normed), (RawLens(head), half)):
        expected = read.double() @ head.weight.T.double() + head.bias
        assert torch.allclose(lens.decode(half, layers).double(), expected, rtol=1e-5, atol=1e-6)


def test_raw_readout_is_the_unembedding_alone(head: Unembedding) -> None:
    x, layers = rows()
    assert head.bias is not None
    assert torch.allclose(RawLens(head).decode(x, layers), x @ head.weight.T + head.bias)


def test_contexts_are_frozen(norms: FormulaNorms, head: Unembedding) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NormLens(norms, head).head = head  # type: ignore[misc]


def save_artifacts(
    folder: Path, width: int = D, q: torch.Tensor | None = None, **whiten: object
) -> None:
    folder.mkdir(parents=True)
    content = {"mean": torch.zeros(width), "var": torch.ones(width), "eps": 0.0} | whiten
    torch.save(content, folder / "whiten.pt")
    torch.save(torch.eye(width) if q is None else q, folder / "Q_prism.pt")


def options(folder: Path, mode: str) -> RunOptions:
    return RunOptions("m", model_id="tiny/M", prism=mode, prism_dir=str(folder))


def test_prism_with_identity_artifacts_is_the_norm_lens(
    tmp_path: Path, norms: FormulaNorms, head: Unembedding
) -> None:
    save_artifacts(tmp_path / "M")
    lens, summary = LENSES["prism"](norms, head, options(tmp_path, "on"))
    x, layers = rows()
    assert lens is not None
    assert torch.allclose(
        lens.decode(x, layers), NormLens(norms, head).decode(x, layers), atol=1e-6
    )
    assert (summary["present"], summary["compatible"], summary["k"]) == (True, True, None)


def save_truncated(folder: Path) -> None:
    save_artifacts(folder)
    path = folder / "Q_prism.pt"
    path.write_bytes(path.read_bytes()[:99])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: None, "Missing prism artifacts in"),
    "width": (lambda f: save_artifacts(f, D + 1), rf"incompatible with model dims \(d_model={D}\)"),
    "width of the mean": (
        lambda f: save_artifacts(f, mean=torch.zeros(D + 1)),
        "incompatible with model dims",
    ),
    "width of the variance": (
        lambda f: save_artifacts(f, var=torch.ones(D + 1)),
        "incompatible with model dims",
    ),
    "width of Q": (lambda f: save_artifacts(f, q=torch.eye(D + 1)), "incompatible with model dims"),
    "constant": (lambda f: save_artifacts(f, var=torch.zeros(D)), "corrupt .*variance below zero"),
    "skewed": (
        lambda f: save_artifacts(f, q=2 * torch.eye(D)),
        r"not orthogonal .* is 3, at most 0.001",
    ),
    "infinite": (
        lambda f: save_artifacts(f, mean=torch.full((D,), torch.inf)),
        "corrupt .*not finite",
    ),
    "negative": (lambda f: save_artifacts(f, var=-torch.ones(D)), "corrupt .*variance below zero"),
    "keyless": (lambda f: save_artifacts(f, var=None), "corrupt .*AttributeError"),
    "truncated": (
        save_truncated,
        "corrupt",
    ),
    "pickled code": (lambda f: save_artifacts(f, mean=Path("x")), "corrupt .*UnpicklingError"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_artifacts_skip_in_auto_and_fail_in_on(
    name: str, tmp_path: Path, norms: FormulaNorms, head: Unembedding
) -> None:
    make, message = BROKEN[name]
    make(tmp_path / "M")
    lens, summary = prism.build(norms, head, options(tmp_path, "auto"))
    assert lens is None
    assert (summary["present"], summary["compatible"]) == (False, False)
    assert summary["artifact_path"] == str(tmp_path / "M")
    with pytest.raises(LensError, match=message) as caught:
        prism.build(norms, head, options(tmp_path, "on"))
    assert "--prism auto or off" in str(caught.value)
    assert summary["error"] == str(caught.value).split("; fit the artifacts")[0]


def test_prism_off_reads_nothing(tmp_path: Path, norms: FormulaNorms, head: Unembedding) -> None:
    assert prism.build(norms, head, options(tmp_path / "nowhere", "off"))[1]["error"] is None


def test_whitening_adds_eps_to_the_variance(tmp_path: Path) -> None:
    save_artifacts(tmp_path / "M", var=torch.full((D,), 0.5), eps=1.75)
    frame, _ = prism.read_artifacts(tmp_path / "M", D, torch.device("cpu"))
    assert torch.allclose(frame.inverse_std, torch.full((D,), 1 / 1.5))


def test_module_norms_call_the_module_of_each_layer_on_its_rows(head: Unembedding) -> None:
    x, layers = rows()
    first, last = torch.nn.LayerNorm(D), torch.nn.LayerNorm(D, eps=0.5)
    norms = ModuleNorms((first, None, last))
    normed = norms.apply(x, layers)
    assert norms.last == 2
    assert torch.allclose(normed[:1], first(x[:1]))
    assert torch.equal(normed[1:3], x[1:3])
    assert torch.allclose(normed[3:], last(x[3:]))
    assert not normed.requires_grad


def test_the_output_transform_comes_after_the_unembedding(
    norms: FormulaNorms, head: Unembedding
) -> None:
    x, layers = rows()
    capped = dataclasses.replace(head, transform=lambda z: 3 * torch.tanh(z / 3))
    for make in (lambda h: NormLens(norms, h), RawLens):
        assert torch.allclose(
            make(capped).decode(x, layers), 3 * torch.tanh(make(head).decode(x, layers) / 3)
        )
