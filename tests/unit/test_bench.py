"""What the benchmarks compare is the same work: batches and padding of a battery, rows of a long prompt."""

from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch

from lenses_min import RunOptions
from lenses_min.core.unembedding import Unembedding
from lenses_min.model.load import LoadedModel

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
TEXT = "The capital of Germany is called simply Berlin . The capital of France is called simply Paris . "


@pytest.fixture
def battery(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)
    import bench_battery

    monkeypatch.setattr(bench_battery, "SHORTEST", 3)
    monkeypatch.setattr(bench_battery, "LONGEST", 9)
    return bench_battery


def test_prompts_of_a_battery_follow_the_seed(battery: Any, fact_model: LoadedModel) -> None:
    tokens = fact_model.tokens
    entries = battery.draw_prompts(tokens, 12, TEXT * 4)
    assert entries == battery.draw_prompts(tokens, 12, TEXT * 4)
    assert entries != battery.draw_prompts(tokens, 12, TEXT * 4, seed=1)
    lengths = {len(tokens.model_input(entry["context"])) for entry in entries}
    assert lengths <= set(range(3, 10))
    assert len(lengths) > 1
    with pytest.raises(ValueError, match="too few prompts"):
        battery.draw_prompts(tokens, 2, ". " * 40)


def test_bare_forwards_have_the_batches_and_padding_of_a_run(
    battery: Any, fact_model: LoadedModel, tmp_path: Path
) -> None:
    entries = battery.draw_prompts(fact_model.tokens, 11, TEXT * 4)
    file = battery.write_prompts(entries, tmp_path / "prompts.jsonl")
    options = RunOptions(
        "m", device="cpu", lenses=("norm", "final"), prompts=file, out_dir=str(tmp_path / "out")
    )
    read: list[torch.Tensor] = []
    embeddings: Any = fact_model.bridge.original_model.get_input_embeddings()
    handle = embeddings.register_forward_pre_hook(lambda _, given: read.append(given[0].clone()))
    try:
        battery.analyse(fact_model, options)
    finally:
        handle.remove()
    expected = battery.padded_batches(fact_model, options)
    shown = {str(ids.tolist()) for ids in read}
    assert {str(ids.tolist()) for ids in expected} <= shown
    assert len(expected) == 2  # of 8 prompts and of 3


def test_a_shape_is_measured_on_the_rows_that_the_lens_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    import bench_shapes

    shape = partial(bench_shapes.SHAPES["small"], num_hidden_layers=2, vocab_size=512)
    monkeypatch.setitem(bench_shapes.SHAPES, "small", shape)
    bench = bench_shapes.build("small", 9, "cpu", "bfloat16", tmp_path)
    decoded: list[int] = []
    product = Unembedding.product

    def counted(head: Unembedding, x: torch.Tensor) -> torch.Tensor:
        decoded.append(len(x))
        return product(head, x)

    monkeypatch.setattr(Unembedding, "product", counted)
    bench.product()
    assert sum(decoded) == bench.rows == 3 * 9
    decoded.clear()
    run = bench.analyse()
    assert bench.rows <= sum(decoded) <= bench.rows + 2  # the proof reads the last layer again
    assert len(run.tables["records", "norm"]) == bench.rows
    report = bench_shapes.measure(bench, rounds=1)["subjects"]
    assert [*report] == ["forward", "product", "lenses-min", "TransformerLens", "files"]


def test_a_lens_that_runs_out_of_memory_has_no_seconds_and_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    import bench_shapes

    def fail(bench: bench_shapes.Bench) -> None:
        raise torch.OutOfMemoryError

    shape = partial(bench_shapes.SHAPES["small"], num_hidden_layers=2, vocab_size=512)
    monkeypatch.setitem(bench_shapes.SHAPES, "small", shape)
    monkeypatch.setattr(bench_shapes.Bench, "analyse", fail)
    bench = bench_shapes.build("small", 9, "cpu", "float32", tmp_path)
    subjects = bench_shapes.measure(bench, 1, with_transformer_lens=False)["subjects"]
    missing = {name: isnan(numbers["seconds"]) for name, numbers in subjects.items()}
    assert missing == {"forward": False, "product": False, "lenses-min": True, "files": True}


def test_every_tool_and_every_stage_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in ("TQDM_DISABLE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")  # bench.py sets it where it is not set
    import bench
    from bench_subjects import Subjects

    subjects = Subjects(str(ROOT / "golden" / "models" / "fact"), "tiny", tmp_path / "out")
    for functions in subjects.groups().values():
        for name, numbers in bench.compare(functions, 1, subjects).items():
            assert numbers["forwards"] > 0, name
            assert numbers["seconds"] > 0, name
    stages = bench.time_stages(subjects, 1)
    whole = stages.pop("whole")
    assert all(seconds > 0 for seconds in stages.values()), stages
    assert sum(stages.values()) <= whole
