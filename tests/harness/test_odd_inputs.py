"""Harmed checkpoints, odd sizes, and prompts of any characters: a right answer or one clear error; a little fuzz."""

import json
import os
import runpy
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.prompts.suite import read_suite
from lenses_min.sweep import job
from spec.golden import GOLDEN
from spec.recipe import build, new_model
from spec.runs.run import read_run
from spec.schema.validate import validate

FUZZ = runpy.run_path(str(GOLDEN.parent / "scripts" / "fuzz.py"))


def flip(folder: Path, at: int) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[at] ^= 0xFF
    (folder / "model.safetensors").write_bytes(data)


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


UP = "model.layers.1.mlp.up_proj.weight"
LACKS = f"lacks weights: {UP}; get a sound checkpoint"
SHAPE = f"{UP} ([3, 3] in the file, [64, 32] by the config); get a sound checkpoint"
HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "one byte short": (
        lambda f: os.truncate(f / "model.safetensors", 100_000),
        "cannot read the weights of",
    ),
    "length of the header": (lambda f: flip(f, 7), "cannot read the weights of"),
    "text of the header": (lambda f: flip(f, 20), "cannot read the weights of"),
    "no byte": (lambda f: os.truncate(f / "model.safetensors", 0), "cannot read the weights of"),
    "a tensor gone": (weights(lambda t: t.pop(UP)), LACKS),
    "another shape": (weights(lambda t: t.update({UP: torch.zeros(3, 3)})), SHAPE),
    "overflow": (
        weights(lambda t: t["lm_head.weight"].mul_(1e38)),
        "overflows in float32: the head of transformers' own model gives values that are not finite; get a",
    ),
    "another tokenizer": (
        lambda f: shutil.copy(GOLDEN / "models" / "byte-bpe" / "tokenizer.json", f),
        "the model has 115; they belong to different checkpoints",
    ),
}


@pytest.mark.parametrize("name", HARM)
def test_a_harmed_checkpoint_is_one_clear_error(
    name: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, message = HARM[name]
    folder, out = Path(shutil.copytree(models / "rms-rope", tmp_path / "model")), tmp_path / "out"
    harm(folder)
    assert job.perform(RunOptions(str(folder), device="cpu"), False, out) == 1
    output = capsys.readouterr().err
    assert message in output
    assert output.count("\n") == 1
    assert [path.name for path in out.iterdir()] == ["output-model.error.json"]


def prompts(path: Path, tests: list[str], *contexts: str) -> str:
    passes = [
        {"id": f"p{i}", "context": text, "answer": "Berlin", "records": True}
        for i, text in enumerate(contexts)
    ]
    path.write_text(json.dumps({"passes": passes, "test_prompts": tests}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("contract", ["reference", "corrected"])
@pytest.mark.parametrize(("family", "context"), [("llama", ""), ("qwen3", " capital")])
def test_one_layer_and_one_token(family: str, context: str, contract: str, tmp_path: Path) -> None:
    folder = build(new_model(family, seed=3, num_hidden_layers=1), tmp_path / family)
    own = prompts(tmp_path / "own.json", [" of"], context)
    run = pipeline.run(
        RunOptions(
            str(folder), device="cpu", prompts=own, contract=contract, lenses=("final", "raw")
        )
    )
    run.save(tmp_path / "out")
    assert validate(read_run(tmp_path / "out")) == []
    assert [(row.layer, row.pos) for row in run.pure()] == [(0, 0), (1, 0)]
    assert run.manifest["last_layer_proof"]["holds"]


def test_a_vocabulary_of_300_000(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    folder = build(new_model("llama", seed=3, vocab_size=300_000, **sizes), tmp_path / "wide")
    run = pipeline.run(
        RunOptions(str(folder), device="cpu", contract="corrected", lenses=("norm",))
    )
    run.save(tmp_path / "out")
    assert validate(read_run(tmp_path / "out")) == []
    assert run.manifest["last_layer_proof"]["holds"]
    assert max(row.answer_rank or 0 for row in run.pure()) > 1000


def test_prompts_that_do_not_fit_are_refused_together(models: Path, tmp_path: Path) -> None:
    """Passes and test prompts, too long or of no token at all: this tokenizer drops the answers."""
    model = replace(new_model("qwen3", seed=3), tokenizer="words-dropped")
    long, dropped, folder = " of" * 129, "Berlin", build(model, tmp_path / "dropped")
    own = prompts(tmp_path / "own.json", [" the", dropped, long], long, " of", "")
    with pytest.raises(LensError) as caught:
        pipeline.run(RunOptions(str(folder), device="cpu", prompts=own))
    problems = [
        f"test prompt '{dropped}' has 0 tokens",
        f"test prompt {long[:40]!r} has 129 tokens",
    ]
    problems += [
        "prompt p0/orig has 129 tokens",
        "prompt p2/orig has 0 tokens, the model reads 1 to 128; use another prompt",
    ]
    assert str(caught.value).startswith(", ".join(problems))


@pytest.mark.parametrize("name", ["own.json", "own.jsonl", "own.yaml"])
def test_prompts_of_any_characters_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    """Found by the fuzz: JSON writes an emoji as two escapes, and JSON Lines may hold every line end but one."""
    entry = {"id": "👩\u200d👧", "context": "a\u2028b\x85c\x0b𐍈", "answer": "北京"}
    document = {"passes": [entry]}
    text = {"own.json": json.dumps(document), "own.jsonl": json.dumps(entry, ensure_ascii=False)}
    (tmp_path / name).write_text(
        text.get(name) or yaml.safe_dump(document), encoding="utf-8", newline=""
    )
    (prompt,) = read_suite(tmp_path / name).passes
    assert (prompt.id, prompt.text, prompt.answer) == tuple(entry.values())


def test_half_a_character_is_no_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.json").write_text(
        r'{"passes": [{"id": "a", "context": "\ud83d", "answer": "b"}]}'
    )
    with pytest.raises(
        LensError, match="context: holds half of a surrogate pair, which is no character, got"
    ):
        read_suite(tmp_path / "own.json")
    (tmp_path / "own.json").write_text("{")
    with pytest.raises(
        LensError, match=r"cannot read the prompts of .*own.json: Expecting property name"
    ):
        read_suite(tmp_path / "own.json")


SAME = """
passes:
  - {id: a, context: The capital of, answer: Berlin}
  - {id: b, context: The capital of, answer: Berlin is, control: a/orig}
  - {id: two, context: The capital of England, answer: Rome is, records: true}
keywords: [and]
"""


def test_answers_that_begin_alike_and_parts_of_words(models: Path, tmp_path: Path) -> None:
    """Found by the fuzz: a margin of 0 is right where both answers begin with one token; keywords may be parts."""
    (tmp_path / "own.yaml").write_text(SAME)
    run = pipeline.run(
        RunOptions(str(models / "fact"), device="cpu", prompts=str(tmp_path / "own.yaml"))
    )
    run.save(tmp_path / "out")
    assert validate(read_run(tmp_path / "out")) == []
    assert {row.control_margin for row in run.pure() if row.prompt_id == "b"} == {0.0}
    assert {len(row.top) for row in run.records() if "England" in row.token} == {20}
    copy = replace(
        run,
        tables=dict(run.tables)
        | {("pure", "norm"): [replace(r, control_margin=r.p_answer) for r in run.pure()]},
    )
    copy.save(tmp_path / "out")
    broken = {
        v.place.column_text
        for v in validate(read_run(tmp_path / "out"))
        if v.rule == "control-margin"
    }
    assert broken == {"control_margin"}


def test_a_first_token_too_unlikely_for_float32(tmp_path: Path) -> None:
    """Found by the fuzz: its probability is 0, and that of the whole answer, from logarithms, is not."""
    own = Path(prompts(tmp_path / "own.json", [], " The capital of"))
    own.write_text(own.read_text().replace('"Berlin"', '"Berlin Paris"'))
    folder = build(new_model("llama", seed=1, hidden_size=96), tmp_path / "steep")
    run = pipeline.run(RunOptions(str(folder), device="cpu", prompts=str(own), lenses=("raw",)))
    run.save(tmp_path / "out")
    assert validate(read_run(tmp_path / "out")) == []
    first = {row.layer: row.p_answer for row in run.pure("raw")}
    assert any(
        row.p_joint > first[row.layer] == 0 for row in run.rows("answers") if row.lens == "raw"
    )


def test_an_answer_without_an_id_is_matched_by_its_text_in_rows_alone(
    models: Path, tmp_path: Path
) -> None:
    """Found by the fuzz: the raw-lens check ranks, and what has no id has no rank."""
    run = pipeline.run(RunOptions(str(models / "dropped-answer"), device="cpu"))
    rows = [
        replace(row, top=(("Berlin", row.p_top1 or 0.0), *row.top[1:]), is_answer=True)
        for row in run.pure()
    ]
    for flag, rules in ((False, set()), (True, {"raw-lens.rows"})):
        run.document["raw_lens_check"]["samples"][1]["is_answer_norm"] = flag
        replace(run, tables=dict(run.tables) | {("pure", "norm"): rows}).save(tmp_path)
        broken = {v.rule for v in validate(read_run(tmp_path))}
        assert broken & {"raw-lens.rows", "is-answer"} == rules


@pytest.mark.parametrize("index", range(8))
def test_some_examples_of_the_fuzz(index: int, tmp_path: Path) -> None:
    """scripts/fuzz.py runs as many as one likes; these are always the same."""
    assert FUZZ["perform"](FUZZ["Draw"](f"suite/{index}").example(), tmp_path) in (
        "whole",
        "refused",
    )
