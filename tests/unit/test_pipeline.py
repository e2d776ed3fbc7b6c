"""Steps 5 and 6: one pass runner for every prompt and variant. A new lens touches nothing in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from lenses_min import LensError, RunOptions, lenses, pipeline
from lenses_min.core import forward, host
from lenses_min.core.milestones import milestones
from lenses_min.core.types import Lens
from lenses_min.core.unembedding import Unembedding
from lenses_min.output import store
from lenses_min.output.run import Run
from lenses_min.pipeline import analysis, passes
from lenses_min.prompts.suite import built_in
from spec.runs.run import read_run
from spec.schema.validate import validate

PASSES, TEST_PROMPTS = built_in().passes, built_in().test_prompts


@dataclass(frozen=True)
class ToyLens(Lens):
    """The residual turned round: a lens defined outside the package."""

    name = "toy"
    first_record_layer = 2
    head: Unembedding

    def decode(self, x: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
        return -self.head.logits(x)


def build_toy(norms: Any, head: Unembedding, options: RunOptions) -> tuple[ToyLens, dict[str, Any]]:
    return ToyLens(head), {}


@pytest.fixture
def toy_run(models: Path, tmp_path: Path) -> Iterator[Run]:
    with patch.dict(lenses.LENSES, {"toy": build_toy}):
        yield pipeline.run(
            RunOptions(
                str(models / "rms-rope"),
                device="cpu",
                out_dir=str(tmp_path),
                lenses=("norm", "toy"),
            )
        )


def test_a_new_lens_is_one_file_and_one_registry_line(toy_run: Run, tmp_path: Path) -> None:
    names = {path.name for path in toy_run.save()}
    assert names == {
        "output-rms-rope.json",
        "output-rms-rope-records.csv",
        "output-rms-rope-pure-next-token.csv",
        "output-rms-rope-records-toy.csv",
        "output-rms-rope-pure-next-token-toy.csv",
        "output-rms-rope-agreement.csv",
        "run-rms-rope.manifest.json",
    }
    assert [row.layer for row in toy_run.records("toy")] == [2, 3, 4]
    assert [row.layer for row in toy_run.pure("toy")] == [0, 1, 2, 3, 4] * 3
    header, *rows = (tmp_path / "output-rms-rope-pure-next-token-toy.csv").read_text().splitlines()
    assert header.split(",") == store.PURE_COLUMNS
    assert len(rows) == 15


def test_every_pass_runs_the_same_way(toy_run: Run) -> None:
    recorded = {row.pass_name for row in toy_run.records()}
    for (name, rows), prompt in zip(toy_run.passes().items(), PASSES, strict=True):
        assert name == f"{prompt.id}/{prompt.variant}"
        assert [row.layer for row in rows] == [0, 1, 2, 3, 4]
        assert (name in recorded) == prompt.write_records
        margins = [row.control_margin for row in rows]
        assert all((margin is not None) == (prompt.id == "ctl") for margin in margins)


def test_an_unknown_lens_lists_the_known_ones(models: Path) -> None:
    with pytest.raises(
        LensError, match=r"^unknown lens tuner, jacobian; known lenses: norm, final, raw, prism, t"
    ):
        pipeline.run(
            RunOptions(str(models / "rms-rope"), device="cpu", lenses=("norm", "tuner", "jacobian"))
        )


def test_passes_share_a_forward_and_each_has_one_transfer(fact_options: RunOptions) -> None:
    forwards: list[int] = []
    packed: list[int] = []
    real_capture, real_last, real_host = forward.capture_batch, forward.last_logits, host.to_host

    def count_capture(bridge: Any, asks: Any, n: int) -> Any:
        forwards.append(len(asks))
        return real_capture(bridge, asks, n)

    def count_last(bridge: Any, batch: Any) -> Any:
        forwards.append(len(batch))
        return real_last(bridge, batch)

    def count_host(groups: Any) -> Any:
        packed.append(1)
        return real_host(groups)

    with (
        patch.object(passes, "capture_batch", count_capture),
        patch.object(analysis, "last_logits", count_last),
        patch.object(passes, "to_host", count_host),
    ):
        pipeline.run(fact_options)
    assert packed == [1, 1, 1]
    assert forwards == [3, len(TEST_PROMPTS)], "temperatures come from the first pass's own logits"


def test_nothing_of_the_run_stays_in_torch(fact_options: RunOptions) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    pipeline.run(fact_options)
    assert not torch.are_deterministic_algorithms_enabled()


def test_two_runs_write_the_same_bytes(fact_run: Run, fact_options: RunOptions) -> None:
    again = pipeline.run(fact_options)
    assert store.json_text(again.document) == store.json_text(fact_run.document)
    for lens in fact_run.lenses:
        assert again.pure(lens) == fact_run.pure(lens)
        assert again.records(lens) == fact_run.records(lens)


def test_a_small_vocabulary_and_one_layer_clamp_top_k(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {
        word: i
        for i, word in enumerate(["<unk>", "<s>", "Germany", "Berlin", "France", "Paris", "simply"])
    }
    tokenizer = Tokenizer(kinds.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=7,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=1,
        )
    ).save_pretrained(tmp_path)
    run = pipeline.run(RunOptions(str(tmp_path), device="cpu", raw_lens="full"))
    assert {len(row.top) for row in run.records()} == {5, 7}
    assert len(run.document["final_prediction"]["topk"]) == 7
    assert [entry["layer"] for entry in run.document["raw_lens_check"]["samples"]] == [0, 1]


def test_only_the_detailed_pass_is_read_without_a_norm(
    sweep: Callable[[RunOptions], list[Any]], fact_options: RunOptions
) -> None:
    assert [len(result.raw_samples) for result in sweep(fact_options)] == [4, 0, 0]


@pytest.fixture(scope="module")
def side_by_side(fact_options: RunOptions) -> Run:
    return pipeline.run(replace(fact_options, lenses=("final", "raw")))


def test_further_lenses_share_the_forward_and_leave_the_contract_as_it_is(
    side_by_side: Run, fact_run: Run
) -> None:
    assert side_by_side.lenses == ["norm", "final", "raw"]
    assert store.json_text(side_by_side.document) == store.json_text(fact_run.document)
    assert (side_by_side.pure(), side_by_side.records()) == (fact_run.pure(), fact_run.records())


def test_the_final_lens_meets_the_norm_lens_at_the_last_layer_alone(side_by_side: Run) -> None:
    norm, final, raw = (side_by_side.passes(lens)["pos/orig"] for lens in side_by_side.lenses)
    assert [
        row.kl_to_final_bits == other.kl_to_final_bits
        for row, other in zip(norm, final, strict=True)
    ] == [False] * 6 + [True]
    assert all(row.entropy != other.entropy for row, other in zip(norm, raw, strict=True))


def test_the_manifest_tells_milestones_of_every_further_lens_and_how_any_two_agree(
    side_by_side: Run,
) -> None:
    manifest = side_by_side.manifest
    assert list(manifest["lenses"]) == ["final", "raw"]
    assert manifest["lenses"]["final"]["milestones"] == milestones(
        side_by_side.passes("final")["pos/orig"]
    )
    assert list(manifest["lenses"]["raw"]) == ["milestones", "ablation_summary", "control_summary"]
    pairs = {(entry["lens"], entry["against"]): entry for entry in manifest["last_layer_agreement"]}
    assert set(pairs) == {
        ("norm", "final"),
        ("norm", "raw"),
        ("final", "raw"),
        ("final", "model"),
        ("raw", "model"),
    }
    assert abs(pairs["norm", "final"]["kl_bits"]) < 1e-6
    assert pairs["raw", "model"]["kl_bits"] == pytest.approx(
        side_by_side.passes("raw")["pos/orig"][-1].kl_to_final_bits, abs=1e-6
    )
    assert pairs["norm", "raw"]["kl_bits"] > 1e-3


def test_sidecars_of_every_lens_obey_the_schema(side_by_side: Run, tmp_path: Path) -> None:
    names = {path.name for path in side_by_side.save(tmp_path)}
    assert {
        f"output-Fact-{table}-{lens}.csv"
        for table in ("records", "pure-next-token")
        for lens in ("final", "raw")
    } < names
    finished = read_run(tmp_path, "Fact")
    assert len(finished.tables) == 7
    assert validate(finished) == []


def test_without_prism_in_the_list_its_artifacts_are_not_read(models: Path) -> None:
    options = RunOptions(
        str(models / "fact"), device="cpu", prism="on", prism_dir="none", lenses=("norm",)
    )
    assert pipeline.run(options).document["diagnostics"]["prism_summary"]["mode"] == "off"


def test_an_unknown_lens_is_refused_before_a_model_is_read(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="unknown lens tuner"):
        pipeline.run(RunOptions(str(tmp_path / "no-model"), lenses=("tuner",)))
