"""Device and dtype by the contract's policy; what is taken holds the model."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from lenses_min import LensError, RunOptions
from lenses_min.model import estimate, placement
from lenses_min.model.placement import Need, Placement, place

GIB = 2**30


def config(family: str = "llama", head: tuple[int, int] = (0, 0)) -> Any:
    """A config that transformers builds no model from; `head` are vocabulary and width."""
    text = SimpleNamespace(vocab_size=head[0], hidden_size=head[1])
    return SimpleNamespace(model_type=family, dtype=None, get_text_config=lambda: text)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with so many GiB free: machine(cuda=[20, 30], cpu=[48])."""

    def build(**free: list[float]) -> None:
        monkeypatch.setattr(placement, "available", free.__contains__)
        names = {
            kind: [kind] if len(sizes) == 1 else [f"{kind}:{i}" for i in range(len(sizes))]
            for kind, sizes in free.items()
        }
        monkeypatch.setattr(
            placement,
            "free_memory",
            lambda kind: {n: int(s * GIB) for n, s in zip(names[kind], free[kind], strict=True)},
        )

    return build


@pytest.mark.parametrize(
    ("device", "model_id", "family", "dtype"),
    [
        ("cpu", "org/M-8B", "llama", torch.float32),
        ("cpu", "org/M-34B", "llama", torch.bfloat16),
        ("cpu", "org/M-30b-it", "llama", torch.bfloat16),
        ("cpu", "org/B34-model", "llama", torch.float32),
        ("cpu", "org/8x34Big", "llama", torch.float32),
        ("cuda", "org/M-8B", "llama", torch.float16),
        ("cuda", "org/g-9b", "gemma2", torch.bfloat16),
        ("mps", "org/gemma-2-9b", "gemma2", torch.float16),
    ],
)
def test_compute_dtype(device: str, model_id: str, family: str, dtype: torch.dtype) -> None:
    assert placement.compute_dtype(device, model_id, family) == dtype


def test_the_dtype_of_a_family_is_known_by_its_type_and_by_its_name(machine: Any) -> None:
    machine(cuda=[99], cpu=[99])
    kinds = {("org/g-9b", "gemma2"), ("org/gemma-9b", "mine"), ("org/g-9b", "mine")}
    placed = {kind: place(RunOptions(kind[0], device="cuda"), config(kind[1])) for kind in kinds}
    assert {kind for kind in kinds if placed[kind].dtype == torch.float16} == {("org/g-9b", "mine")}


@pytest.mark.parametrize("device", ["cpu", "cuda", "auto"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_named_dtype_overrides_the_policy(device: str, dtype: str, machine: Any) -> None:
    machine(cuda=[999], cpu=[99])
    placement_ = place(RunOptions("org/M-34B", device=device, dtype=dtype), config("gemma2"))
    assert (placement_.device, placement_.dtype) == (
        "cuda" if device == "auto" else device,
        getattr(torch, dtype),
    )


def test_a_broken_weight_file_is_one_clear_error(
    models: Path, tmp_path: Path, machine: Any
) -> None:
    from lenses_min.model.load import load

    (tmp_path / "model.safetensors").write_bytes(b"broken")
    (tmp_path / "config.json").write_bytes((models / "rms-rope" / "config.json").read_bytes())
    with pytest.raises(LensError, match=f"cannot read the weights of {tmp_path}: "):
        load(RunOptions(str(tmp_path)))


def test_auto_takes_the_first_device_that_holds_the_model(machine: Any) -> None:
    machine(cuda=[20], cpu=[48])
    small = place(RunOptions("org/M-7B"), config())
    assert (small.device, small.dtype) == ("cuda", torch.float16)
    large = place(RunOptions("org/M-8B"), config())
    assert (large.device, large.dtype) == ("cpu", torch.float32)
    assert large.notes[0] == (
        "cuda: 8,000,000,000 parameters (by its name) × 2 bytes + 30% on top + 1.5 GiB = 20.9 GiB needed, "
        "20.0 GiB free: too little"
    )
    assert large.notes[1].endswith(
        "× 4 bytes + 20% on top + 4.0 GiB = 39.8 GiB needed, 48.0 GiB free: taken"
    )
    with pytest.raises(
        LensError,
        match=r"fits on no device \(cuda: .*; cpu: .* 48.0 GiB free: too little\); free mem",
    ):
        place(RunOptions("org/M-70B"), config())


def test_of_several_gpus_the_emptiest_is_taken(machine: Any) -> None:
    machine(cuda=[3, 21, 9])
    assert place(RunOptions("org/M-8B"), config()).device == "cuda:1"


def test_half_precision_takes_no_copy_of_a_large_vocabulary(machine: Any) -> None:
    """Gemma-2-2B: 2.6 billion parameters, of which 590 million unembed: 2.2 GiB in float32."""
    gemma, options = config("gemma2", (256_000, 2304)), RunOptions("org/gemma-2-2.6b")
    needed = 2.6e9 * 2 * 1.3 / GIB + 1.5
    for free, device in ((needed + 0.01, "cuda"), (needed - 0.01, "cpu")):
        machine(cuda=[free], cpu=[99])
        assert place(options, gemma).device == device
    assert "2 bytes + 30% on top + 1.5 GiB" in place(options, gemma).notes[0]


def test_the_first_device_of_a_sharded_model_takes_a_copy_of_the_unembedding(machine: Any) -> None:
    gemma = config("gemma2", (256_000, 2304))
    options = RunOptions("org/gemma-2-2.6b", device_map="auto")
    machine(cuda=[24, 24], cpu=[99])
    (need,) = placement.needs(options, gemma, ["cuda"])
    assert need.copy == 256_000 * 2304 * 2
    (whole,) = placement.needs(replace(options, device_map="none"), gemma, ["cuda"])
    assert whole.copy == 0


@pytest.mark.parametrize("size", [0.1, 1, 7, 70, 700])
@pytest.mark.parametrize("free", [0.5, 8, 80])
def test_what_is_taken_fits_by_the_contract(size: float, free: float, machine: Any) -> None:
    machine(cuda=[free, free / 2], cpu=[free * 2])
    try:
        taken = place(RunOptions(f"org/x-{size}b"), config())
    except LensError:
        assert size * 1e9 * 2 * 1.3 / GIB + 1.5 >= free
        return
    share, base = placement.OVERHEAD[taken.device.split(":")[0]]
    room = {"cuda:0": free, "cpu": 2 * free}[taken.device]
    assert size * 1e9 * taken.dtype.itemsize * (1 + share) / GIB + base < room


def test_sharding_leaves_every_gpu_its_room(machine: Any) -> None:
    machine(cuda=[24, 24], cpu=[99])
    taken = place(RunOptions("org/M-13B", device_map="auto"), config(head=(32_000, 5120)))
    assert (taken.device, taken.device_map, taken.dtype) == ("cuda", "auto", torch.float16)
    assert taken.max_memory == {i: int((24 - 1.5) * GIB / 1.3) for i in range(2)}
    room = "cuda:0 17.3 GiB of 24.0 GiB free, cuda:1 17.3 GiB of 24.0 GiB free"
    assert taken.notes == (f"weights of 24.2 GiB (by its name), room for weights: {room}",)
    with pytest.raises(
        LensError, match=r"M-70B does not fit on the GPUs together \(weights of 130.4 GiB"
    ):
        place(RunOptions("org/M-70B", device_map="auto"), config())


def test_sharding_without_gpus_is_one_clear_error(machine: Any) -> None:
    machine(cpu=[99])
    with pytest.raises(
        LensError, match="shards a model over GPUs, and no CUDA device is available; use --device"
    ):
        place(RunOptions("m", device_map="auto"), config())


def test_an_absent_device_falls_back_with_a_warning(machine: Any) -> None:
    machine(cpu=[1])
    taken = place(RunOptions("m", device="cuda"), config())
    warning = "device cuda was asked for but is not available: running on cpu"
    assert taken == Placement("cpu", torch.float32, (), (warning,))


@pytest.mark.parametrize(("cuda", "mps"), [(False, True), (True, False)])
def test_what_is_available_comes_from_torch(
    cuda: bool, mps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert [placement.available(device) for device in ("cpu", "cuda", "mps")] == [True, cuda, mps]


def test_free_memory_is_each_devices_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (5 + i, 80))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7, total=90))
    for gpus, free in ((1, {"cuda": 5}), (2, {"cuda:0": 5, "cuda:1": 6})):
        monkeypatch.setattr(torch.cuda, "device_count", lambda gpus=gpus: gpus)
        assert placement.free_memory("cuda") == free
    assert (placement.free_memory("mps"), placement.free_memory("cpu")) == ({"mps": 7}, {"cpu": 7})


def test_a_wanted_device_that_is_there_is_taken(machine: Any) -> None:
    machine(cuda=[0], cpu=[0])
    assert place(RunOptions("m", device="cuda"), config()) == Placement("cuda", torch.float16)


# its W_U takes 1 GiB in half precision, which is more than 30% of 2e9 bytes
EXACT = config(head=(2**18, 2**11))


def test_memory_that_is_just_as_large_as_the_need_is_too_little_for_one_device(
    machine: Any,
) -> None:
    """The free memory must be larger; GPUs together may be just as large, since their share is left out before."""
    needed = 2.6e9 / GIB + 1.5
    machine(cuda=[needed], cpu=[99])
    assert place(RunOptions("org/M-1B"), EXACT).device == "cpu"
    machine(cuda=[needed + 1 / GIB], cpu=[99])
    assert place(RunOptions("org/M-1B"), EXACT).device == "cuda"
    needed = (2e9 + 2**30) / GIB + 1.5
    machine(cuda=[needed])
    sharded = RunOptions("org/M-1B", device_map="auto")
    assert place(sharded, EXACT).max_memory == {0: 2_000_000_000}
    machine(cuda=[needed - 1 / GIB])
    with pytest.raises(LensError, match="does not fit on the GPUs together"):
        place(sharded, EXACT)


def test_a_gpu_without_room_takes_no_weights(machine: Any) -> None:
    machine(cuda=[24, 1], cpu=[99])
    taken = place(RunOptions("org/M-8B", device_map="auto"), config())
    assert taken.max_memory == {0: int(22.5 * GIB / 1.3), 1: 0}


@pytest.mark.parametrize(
    ("need", "text"),
    [
        (
            Need("cpu", 0, "its size is unknown", torch.float32, 0.0),
            "0 parameters (its size is unknown) × 4 bytes + 20% on top + 4.0 GiB = 4.0 GiB needed",
        ),
        (
            Need("cuda", 2**30, "by its files", torch.float16, 2.0**30),
            "1,073,741,824 parameters (by its files) × 2 bytes + 1.0 GiB for a copy of W_U + 1.5 GiB = 4.5 GiB needed",
        ),
        (
            Need("mps", 2**30, "by its files", torch.float16, 2.0**29),
            "1,073,741,824 parameters (by its files) × 2 bytes + 35% on top + 3.5 GiB = 6.2 GiB needed",
        ),
    ],
)
def test_a_need_is_explained_by_its_arithmetic(need: Need, text: str) -> None:
    assert str(need) == text


def test_a_device_holds_what_the_base_and_the_larger_of_share_and_copy_leave() -> None:
    need = Need("cuda", 1, "", torch.float16, 4.0 * GIB)
    assert need.holds(8 * GIB) == 2.5 * GIB
    assert replace(need, copy=0.0).holds(8 * GIB) == 6.5 * GIB / 1.3


def test_a_config_without_sizes_has_no_copy_of_the_head() -> None:
    for known in ({"vocab_size": 9}, {"hidden_size": 9}, {}):
        text = SimpleNamespace(**known)
        bare: Any = SimpleNamespace(model_type="x", dtype=None, get_text_config=lambda t=text: t)
        for options in (RunOptions("org/x"), RunOptions("org/x", device_map="auto")):
            (need,) = placement.needs(options, bare, ["cuda"])
            assert (need.copy, need.bytes) == (0.0, 1.5 * GIB)


@pytest.fixture
def without_weights(models: Path, tmp_path: Path) -> Path:
    shutil.copy(models / "rms-rope" / "config.json", tmp_path)
    return tmp_path


def test_what_a_run_will_need_is_known_by_the_config_before_there_are_weights(
    models: Path, without_weights: Path
) -> None:
    stored = load_file(models / "rms-rope" / "model.safetensors").values()
    size = sum(tensor.numel() for tensor in stored)
    options = RunOptions(str(without_weights), dtype="float32")
    assert estimate.parameters(options) == size
    assert estimate.needs(options, "cpu") == size * 4 * 1.2 + 4 * GIB
    unknown = RunOptions(str(without_weights / "absent"))
    assert estimate.parameters(unknown) == 0
    assert estimate.needs(unknown, "cuda") == 1.5 * GIB


def test_a_model_is_counted_without_its_code_and_without_a_connection(
    without_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    def note(source: Any, **more: Any) -> None:
        calls.append((source, more))
        raise ValueError("noted")

    monkeypatch.setattr(AutoConfig, "from_pretrained", note)
    monkeypatch.setattr(AutoModelForCausalLM, "from_config", note)
    assert estimate.parameters(RunOptions(str(without_weights))) == 0
    (first, second) = calls
    assert first == (without_weights, {"local_files_only": True, "trust_remote_code": False})
    assert second[1] == {"trust_remote_code": False}
