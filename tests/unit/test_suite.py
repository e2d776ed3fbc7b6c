"""Prompts of one's own: the file and its faults, batches, whole answers, and what such a run writes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import lenses_min
from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line
from lenses_min.core.bridge import Bridge
from lenses_min.core.forward import Captured, ForwardRequest, capture_batch
from lenses_min.output.run import Run
from lenses_min.pipeline import passes
from lenses_min.prompts.suite import BUILT_IN, built_in, prompts_text, read_suite, suite_of
from spec import oracle
from spec.runs.run import read_run
from spec.schema.document import CONTROL, POSITIVE, TEST_PROMPTS
from spec.schema.validate import validate


def test_the_built_in_prompts_are_those_of_run_py() -> None:
    suite = built_in()
    main, ablation, control = suite.passes
    assert (main.text, control.text) == (POSITIVE, CONTROL)
    assert ablation.text == POSITIVE.removesuffix(" simply")
    assert [(p.id, p.variant, p.answer, p.write_records) for p in suite.passes] == [
        ("pos", "orig", "Berlin", True),
        ("pos", "no_filler", "Berlin", False),
        ("ctl", "orig", "Paris", False),
    ]
    assert (main.control, ablation.control, control.control) == (None, None, main)
    assert suite.test_prompts == TEST_PROMPTS
    assert suite.keywords == {"germany", "berlin", "capital", "answer", "word", "simply"}


def test_json_lines_say_the_same(own: str, tmp_path: Path) -> None:
    import yaml

    content = yaml.safe_load(Path(own).read_text(encoding="utf-8"))
    lines = [*content["passes"], *({"test_prompt": text} for text in content["test_prompts"])]
    path = tmp_path / "own.jsonl"
    path.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert read_suite(path) == replace(read_suite(Path(own)), keywords=frozenset())
    assert read_suite(Path(own)).keywords == {"capital"}


FAULTS = {
    "fields.yaml": (
        "passes:\n - {id: a, context: 3, answer: yes}\n - {id: a/b, answer: x, foo: 1}\n - 7\ntest_prompts: ['', 3]\n",
        [
            "passes[0] (a/orig): context: must be a text; put it in quotes, got 3",
            "passes[0] (a/orig): answer: must be a text; put it in quotes, got true",
            'passes[1] (a/b/orig): id: must not be blank; an id or a variant has neither space nor slash, got "a/b"',
            "passes[1] (a/b/orig): context: is missing",
            "passes[1] (a/b/orig): foo: is no field here; "
            "a pass has id, variant, context, answer, control, records, join, tags",
            "passes[2]: must be an object with fields, got 7",
            'test_prompts[0]: String should have at least 1 character, got ""',
            "test_prompts[1]: must be a text; put it in quotes, got 3",
        ],
    ),
    "between.json": (
        json.dumps(
            {
                "passes": [
                    {"id": "a", "context": "", "answer": "b", "control": c} for c in (None, "c/d")
                ]
            }
        ),
        [
            "passes[0] (a/orig): variant: 2 passes have this id and variant; give each its own",
            "passes[1] (a/orig): variant: 2 passes have this id and variant; give each its own",
            "passes[1] (a/orig): control: 'c/d' is no other pass of the file; there are none",
        ],
    ),
    "itself.yml": (
        "passes: [{id: a, context: x, answer: y, control: a/orig}, {id: b, context: x, answer: y}]",
        ["passes[0] (a/orig): control: 'a/orig' is no other pass of the file; there are b/orig"],
    ),
    "lines.jsonl": (
        '{"id": "a", "context": "b"}\n\n{"test_prompt": 4}\n{"id": "b", "context": "b", "answer": " "}',
        [
            "line 1 (a/orig): answer: is missing",
            'line 4 (b/orig): answer: must not be blank; an id or a variant has neither space nor slash, got " "',
            "line 3: must be a text; put it in quotes, got 4",
        ],
    ),
    "tags.yaml": (
        "passes:\n - {id: a, context: x, answer: y, tags: [en]}\n"
        " - {id: b, context: x, answer: y, tags: {language: 3, 7: x, a=b: x, c: ' '}}\n",
        [
            'passes[0] (a/orig): tags: must be a mapping of texts, such as {language: en}, got ["en"]',
            "passes[1] (b/orig): tags: language: must be a text; put it in quotes, got 3",
            "passes[1] (b/orig): tags: 7: [key]: must be a text; put it in quotes, got 7",
            "passes[1] (b/orig): tags: a=b: [key]: must not be blank; the name of a tag has neither space, "
            'slash nor =, its value no space at an end and no line end, got "a=b"',
            "passes[1] (b/orig): tags: c: must not be blank; the name of a tag has neither space, "
            'slash nor =, its value no space at an end and no line end, got " "',
        ],
    ),
    "broken.jsonl": (
        '{"id": "a"\nx',
        [
            "line 1: Expecting ',' delimiter: line 1 column 11 (char 10)",
            "line 2: Expecting value: line 1 column 1 (char 0)",
        ],
    ),
    "empty.yaml": ("", ["must be an object with fields, got null"]),
    "no-pass.yaml": (
        "passes: []",
        ["passes: there is none; give at least one with id, context and answer"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_reported_at_once_with_file_entry_and_field(
    name: str, tmp_path: Path
) -> None:
    text, lines = FAULTS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(LensError) as caught:
        read_suite(tmp_path / name)
    assert str(caught.value).splitlines() == [f"{tmp_path / name}: {line}" for line in lines]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.yaml", None, "cannot read the prompts of .*none.yaml: .*No such file"),
        ("open.yaml", "passes: [\n", "cannot read the prompts of .*open.yaml: .*line 2, column 1"),
        ("bytes.yaml", b"\xff\xfe\xfa", "cannot read the prompts of .*bytes.yaml: "),
        (
            "own.txt",
            "passes: []",
            "own.txt is no file of prompts; its name ends in .yaml, .yml, .json or .jsonl",
        ),
    ],
)
def test_an_unreadable_file_fails_before_the_model_is_read(
    name: str, text: str | bytes | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LensError, match=message):
        pipeline.run(RunOptions("no/model", prompts=str(tmp_path / name)))


def test_the_built_in_file_given_as_one_s_own_says_what_the_default_run_says(
    fact_options: RunOptions, fact_run: Run
) -> None:
    """Its three prompts share a padded forward here, and none in the default run."""
    run = pipeline.run(replace(fact_options, prompts=str(BUILT_IN)))
    assert len(run.pure()) == len(fact_run.pure())
    for a, b in [
        *zip(run.pure(), fact_run.pure(), strict=True),
        *zip(run.records(), fact_run.records(), strict=True),
    ]:
        assert words(a) == words(b)
        assert numbers(a) == pytest.approx(numbers(b), rel=1e-4, abs=2e-6)
    assert run.document["test_prompts"] == fact_run.document["test_prompts"]
    first = run.document["passes"][0]
    assert first["raw_lens_check"]["summary"]["lens_artifact_risk"] == "high"
    assert (
        first["final_prediction"]["topk"][0][0]
        == fact_run.document["final_prediction"]["topk"][0][0]
    )
    assert first["L_semantic"] == fact_run.document["diagnostics"]["L_semantic"]


def numbers(row: Any) -> dict[str, float]:
    """The floats of a row, the listed probabilities among them."""
    listed = {f"prob{i}": p for i, (_, p) in enumerate(getattr(row, "top", ()))}
    return listed | {key: value for key, value in vars(row).items() if isinstance(value, float)}


def words(row: Any) -> dict[str, Any]:
    """What must be equal: everything but the floats, and the listed tokens, of which near ties may swap."""
    return {
        key: value
        for key, value in vars(row).items()
        if not isinstance(value, float) and key != "top"
    }


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_a_batch_equals_each_prompt_alone(
    size: int, fact_options: RunOptions, own: str, own_run: Run
) -> None:
    other = pipeline.run(
        replace(fact_options, prompts=own, lenses=("final", "raw"), batch_size=size)
    )
    for table, lens in [
        ("pure", "norm"),
        ("pure", "raw"),
        ("records", "final"),
        ("agreement", ""),
        ("answers", ""),
    ]:
        left, right = own_run.rows(table, lens), other.rows(table, lens)
        assert len(left) == len(right) > 20
        for a, b in zip(left, right, strict=True):
            assert numbers(a) == pytest.approx(numbers(b), rel=1e-4, abs=2e-6)
            assert words(a) == words(b)


def test_forwards_are_shared_by_prompts_of_like_length(
    fact_options: RunOptions, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    real = capture_batch

    def count(bridge: Bridge, requests: Sequence[ForwardRequest], n: int) -> list[Captured]:
        batches.append([len(request.ids) for request in requests])
        return real(bridge, requests, n)

    monkeypatch.setattr(passes, "capture_batch", count)
    run = pipeline.run(replace(fact_options, prompts=own, batch_size=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert [n for batch in batches for n in batch] == sorted(n for batch in batches for n in batch)
    ids = [block["prompt_id"] for block in run.document["passes"]]
    assert ids == ["be", "pa", "long", "none", "two"], "in the file's order"


def test_the_rows_of_a_run_of_one_s_own(own_run: Run, tmp_path: Path) -> None:
    names = {path.name for path in own_run.save(tmp_path)}
    assert {
        "output-Fact-agreement.csv",
        "output-Fact-answers.csv",
        "output-Fact-records-raw.csv",
    } < names
    assert validate(read_run(tmp_path, "Fact")) == []
    assert {row.prompt_id for row in own_run.records()} == {"be", "two"}
    wide = {
        (row.prompt_id, row.token)
        for row in own_run.records()
        if len(row.top) == 20 and row.layer == 0
    }
    assert wide == {("be", " capital"), ("be", " simply"), ("two", " capital"), ("two", " simply")}
    margins = {row.prompt_id for row in own_run.pure() if row.control_margin is not None}
    assert margins == {"pa"}
    assert [block["control"] for block in own_run.document["passes"]] == [
        None,
        "be/orig",
        None,
        None,
        None,
    ]
    assert own_run.document["passes"][3]["gold_alignment"] == "unresolved", "an unknown token"
    manifest = own_run.manifest
    assert list(manifest["lenses"]["raw"]) == [
        "be/orig",
        "pa/orig",
        "long/tail",
        "none/orig",
        "two/orig",
    ]
    assert {entry["lens"] for entry in manifest["last_layer_agreement"]} == {"norm", "final", "raw"}
    for table in ("agreement", "answers"):
        assert len(own_run.frame(table)) == len(own_run.rows(table)) > 50


def test_an_answer_without_an_id_has_no_joint_probability(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "prompts" / "p.yaml"
    path.parent.mkdir()
    path.write_text(
        "passes: [{id: a, context: x, answer: Paris}, {id: b, context: x, answer: the}]"
    )
    run = pipeline.run(
        RunOptions(
            str(models / "dropped-answer"), device="cpu", prompts=str(path), out_dir=str(tmp_path)
        )
    )
    assert [block["gold_alignment"] for block in run.document["passes"]] == ["unresolved", "ok"]
    assert {row.prompt_id for row in run.rows("answers")} == {"b"}
    rows = [row for row in run.pure() if row.prompt_id == "a"]
    assert [row.is_answer for row in rows] == [row.top[0][0].strip() == "Paris" for row in rows], (
        "never Berlin (R6)"
    )
    run.save()
    assert validate(read_run(tmp_path, "dropped-answer")) == []


def test_the_joint_probability_is_the_product_along_the_answer(own_run: Run, models: Path) -> None:
    """By plain transformers, one forward for each beginning of the answer; the raw lens by the oracle."""
    plain = AutoModelForCausalLM.from_pretrained(models / "fact").eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(models / "fact")
    head = plain.lm_head.weight.detach().double().numpy().T
    ids = next(p["token_ids"] for p in own_run.manifest["prompts"] if p["prompt_id"] == "long")
    answer = next(
        p["gold_answer"]["answer_ids"]
        for p in own_run.document["passes"]
        if p["prompt_id"] == "long"
    )
    assert tokenizer.decode(answer).strip() == "called simply Paris"
    assert len(answer) == 3
    z, raw = [], []
    for i in range(3):
        with torch.no_grad():
            out = plain(torch.tensor([ids + answer[:i]]), output_hidden_states=True)
        z.append(out.logits[0, -1].double().numpy())
        raw.append(
            oracle.raw_lens(
                out.hidden_states[2][0, -1].double().numpy(), head, np.zeros(head.shape[1])
            )
        )
    by_key = {
        (row.lens, row.layer): row for row in own_run.rows("answers") if row.prompt_id == "long"
    }
    for key, rows in ((("model", 6), z), (("norm", 6), z), (("raw", 2), raw)):
        bits = oracle.surprisal_bits(rows, answer)
        assert by_key[key].surprisal_bits == pytest.approx(bits, rel=1e-4, abs=1e-4), key
        assert by_key[key].p_joint == pytest.approx(2**-bits, rel=1e-3), key
        assert by_key[key].n_tokens == 3
    assert len(by_key) == 3 * 7 + 1


def test_prompts_that_are_too_long_are_named_together(
    fact_options: RunOptions, tmp_path: Path
) -> None:
    path = tmp_path / "long.json"
    passes = [
        {"id": f"p{n}", "context": "The" + " the" * n, "answer": "is called simply"}
        for n in (9, 200, 300)
    ]
    path.write_text(json.dumps({"passes": passes}))
    each = r"prompt p{}/orig has \d+ tokens and 2 of its answer, "
    message = f"^{each.format(200)}{each.format(300)}the model reads 1 to "
    with pytest.raises(LensError, match=message):
        pipeline.run(replace(fact_options, prompts=str(path)))


def test_residuals_are_those_of_the_first_pass_with_records(
    fact_options: RunOptions, own: str, sweep: Callable[[RunOptions], list[Any]], tmp_path: Path
) -> None:
    options = replace(fact_options, prompts=own, keep_residuals=True)
    assert [bool(p.residuals) for p in sweep(options)] == [True, False, False, False, False]
    run = pipeline.run(options)
    assert {tuple(x.shape) for x in run.residuals.values()} == {
        (1, len(run.manifest["prompts"][0]["token_ids"]), 128)
    }
    run.save(tmp_path)
    assert validate(read_run(tmp_path, "Fact")) == []


def test_on_the_command_line(
    models: Path, own: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "run",
        str(models / "fact"),
        "--device",
        "cpu",
        "--out-dir",
        str(tmp_path),
        "--prompts",
    ]
    assert command_line.main([*command, own, "--batch-size", "2"]) == 0
    assert "… and 4 more passes" in capsys.readouterr().out
    assert command_line.main([*command, own, "--batch-size", "0"]) == 2
    assert "batch_size must be a whole number from 1 on, got 0" in capsys.readouterr().err
    assert command_line.main([*command, str(tmp_path / "none.yaml")]) == 1
    assert "cannot read the prompts of" in capsys.readouterr().err


def test_faults_in_full(tmp_path: Path) -> None:
    """What stands there is quoted in the letters of the file, as far as its first 80 characters."""
    path = tmp_path / "own.yaml"
    entry = f"{{id: a, variant: v, context: 2020-01-01, answer: [{'é' * 99}]}}"
    path.write_text(f"passes:\n - {entry}\ntest_prompts: 3\n", encoding="utf-8")
    with pytest.raises(LensError) as refused:
        read_suite(path)
    text = "must be a text; put it in quotes, got"
    context, answer, tests = str(refused.value).splitlines()
    assert context == f'{path}: passes[0] (a/v): context: {text} "2020-01-01"'
    assert answer == f'{path}: passes[0] (a/v): answer: {text} ["{"é" * 78}'
    assert tests.startswith(f"{path}: test_prompts: ")
    assert tests.endswith(", got 3")


def test_the_passes_that_a_control_may_name_are_listed_as_far_as_120_characters(
    tmp_path: Path,
) -> None:
    path = tmp_path / "own.jsonl"
    entries = [{"id": f"p{i:03}", "context": "The", "answer": "Berlin"} for i in range(20)]
    entries[0]["control"] = "none"
    path.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    with pytest.raises(LensError) as refused:
        read_suite(path)
    known = ", ".join(f"p{i:03}/orig" for i in range(1, 20))[:120]
    message = f"control: 'none' is no other pass of the file; there are {known}"
    assert str(refused.value) == f"{path}: line 1 (p000/orig): {message}"


def test_prompts_of_a_list_are_those_of_a_file(fact_options: RunOptions, own: str) -> None:
    """Mappings in Python, lists of passes, and the same in a file, make the same rows."""
    content = yaml.safe_load(Path(own).read_text(encoding="utf-8"))
    of_file = pipeline.run(replace(fact_options, prompts=own))
    of_mapping, of_list = (
        lenses_min.run(
            fact_options.model,
            model_id=fact_options.model_id,
            device="cpu",
            prism="off",
            prompts=prompts,
        )
        for prompts in (content, content["passes"])
    )
    assert of_file.document == of_mapping.document
    assert of_file.document["passes"] == of_list.document["passes"]
    for key in of_file.tables:
        assert of_file.text(*key) == of_mapping.text(*key)


def test_passes_without_an_id_are_numbered() -> None:
    entries = [{"context": "A", "answer": "b"}, {"context": "C", "answer": "d", "id": "c"}]
    suite = suite_of(prompts_text(entries))
    assert [(p.id, p.text, p.answer) for p in suite.passes] == [("1", "A", "b"), ("c", "C", "d")]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([{"context": "A"}], "prompts: passes[0] (1/orig): answer: is missing"),
        (["A"], 'prompts: passes[0]: must be an object with fields, got "A"'),
        ({"pass": []}, "prompts: passes: is missing\nprompts: pass: is no field here"),
        ([], "prompts: passes: there is none; give at least one with id, context and answer"),
        ([{"context": {1}, "answer": "b"}], "Object of type set is not JSON serializable"),
        ("{", "cannot read the prompts of prompts: "),
    ],
)
def test_faults_of_prompts_given_in_python(prompts: Any, message: str) -> None:
    with pytest.raises(LensError) as raised:
        lenses_min.run("no/model", prompts=prompts)
    assert message in str(raised.value)
