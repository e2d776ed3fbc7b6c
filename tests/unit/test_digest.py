"""What the document and the manifest have of some passes, of rows whose every number is given."""

from types import SimpleNamespace
from typing import Any

import pytest
from stub_passes import encoded, result, row

from lenses_min import RunOptions
from lenses_min.core.types import PassResult
from lenses_min.model.proof import Measured
from lenses_min.output.digest import Digest, digest
from lenses_min.prompts.suite import Prompt

OWN = '{"passes": []}'
FACTS: Any = SimpleNamespace(logit_scale=None, soft_cap=None)
MAIN = Prompt("pos", "orig", "The capital is", "Berlin")
SUITE = [
    Prompt("pos", "orig", "The capital is", "Berlin", write_records=True),
    Prompt("pos", "no_filler", "The capital", "Berlin"),
    Prompt("ctl", "orig", "The other is", "Paris", control=MAIN, tags=(("language", "en"),)),
]
ERROR = {"kl_bits": 0.0, "bound_bits": 1.0}
NONE = dict.fromkeys(
    (
        "L_copy",
        "L_copy_H",
        "L_semantic",
        "delta_layers",
        "first_kl_below_0.5",
        "first_kl_below_1.0",
        "first_rank_le_1",
        "first_rank_le_5",
        "first_rank_le_10",
    )
)


def digested(prompts: str, *passes: PassResult) -> Digest:
    return digest(FACTS, RunOptions("m", prompts=prompts, raw_lens="sample"), passes)


@pytest.fixture
def passes() -> list[PassResult]:
    """Main, ablation and control; under the lens `final` their first copies are at layers 1, 2 and none."""
    final = [
        [row(0), row(1, copy_collapse=True), row(2, is_answer=True)],
        [row(0), row(1, is_answer=True), row(2, copy_collapse=True)],
        [row(0, control_margin=-0.5), row(1, control_margin=0.25)],
    ]
    answers: list[tuple[int, ...]] = [(7,), (7,), ()]
    defects: list[list[str]] = [["R15"], [], ["R14", "R15"]]
    sample = {
        "layer": 0,
        "kl_norm_vs_raw_bits": 0.25,
        "is_answer_norm": False,
        "is_answer_raw": False,
    }
    return [
        result(
            encoded(prompt, *ids, defects=of),
            {"norm": [row(0, control_margin=0.125)], "final": rows},
            agreement=[{"of": f"{prompt.id}/{prompt.variant}"}],
            consistency={"of": f"{prompt.id}/{prompt.variant}"},
            raw_samples=[sample],
            predictions={"final_prediction": "f"} if prompt.write_records else {},
        )
        for prompt, ids, of, rows in zip(SUITE, answers, defects, final, strict=True)
    ]


FINAL = [
    NONE | {"L_copy": 1, "L_semantic": 2, "delta_layers": 1},
    NONE | {"L_copy": 2, "L_semantic": 1, "delta_layers": -1},
    NONE,
]


def test_the_digest_of_the_built_in_prompts(passes: list[PassResult]) -> None:
    of = digested("", *passes)
    assert of.defects == ["R14", "R15"]
    assert of.blocks == []
    assert of.prompts == [
        {"prompt_id": p.id, "prompt_variant": p.variant, "token_ids": [1, 5]} for p in SUITE
    ]
    assert of.lenses == {
        "final": {
            "milestones": FINAL[0],
            "ablation_summary": {
                "L_copy_orig": 1,
                "L_sem_orig": 2,
                "L_copy_nf": 2,
                "L_sem_nf": 1,
                "delta_L_copy": 1,
                "delta_L_sem": -1,
            },
            "control_summary": {"first_control_margin_pos": 1, "max_control_margin": 0.25},
        }
    }
    assert of.agreement == [{"of": "pos/orig"}]
    assert of.measured == [Measured(ERROR, (1, 5), {})]


def test_the_digest_of_own_prompts(passes: list[PassResult]) -> None:
    """A pass without a control, without records or without tags has nothing in their place."""
    of = digested(OWN, *passes)
    names = ("pos/orig", "pos/no_filler", "ctl/orig")
    assert of.lenses == {"final": dict(zip(names, FINAL, strict=True))}
    gold = {"pieces": ["▁x"], "first_id": 7, "answer_ids": [7], "variant": "with_space"}
    no_gold = gold | {"pieces": [], "first_id": None, "answer_ids": []}
    samples = passes[0].raw_samples
    risk = {
        "first_norm_only_semantic_layer": None,
        "max_kl_norm_vs_raw_bits": 0.25,
        "lens_artifact_risk": "low",
    }
    assert of.blocks == [
        {
            "prompt_id": "pos",
            "prompt_variant": "orig",
            "context_prompt": "The capital is",
            "gold_answer": {"string": "Berlin", **gold},
            "gold_alignment": "ok",
            **NONE,
            "control": None,
            "control_summary": None,
            "last_layer_consistency": {"of": "pos/orig"},
            "raw_lens_check": {"mode": "sample", "samples": samples, "summary": risk},
            "final_prediction": "f",
            "temperature_exploration": None,
        },
        {
            "prompt_id": "pos",
            "prompt_variant": "no_filler",
            "context_prompt": "The capital",
            "gold_answer": {"string": "Berlin", **gold},
            "gold_alignment": "ok",
            **NONE,
            "control": None,
            "control_summary": None,
            "last_layer_consistency": {"of": "pos/no_filler"},
            "raw_lens_check": None,
            "final_prediction": None,
            "temperature_exploration": None,
        },
        {
            "prompt_id": "ctl",
            "prompt_variant": "orig",
            "context_prompt": "The other is",
            "gold_answer": {"string": "Paris", **no_gold},
            "gold_alignment": "unresolved",
            **NONE,
            "control": "pos/orig",
            "control_summary": {"first_control_margin_pos": 0, "max_control_margin": 0.125},
            "last_layer_consistency": {"of": "ctl/orig"},
            "raw_lens_check": None,
            "final_prediction": None,
            "temperature_exploration": None,
            "tags": {"language": "en"},
        },
    ]


def test_without_a_pass_with_records_no_agreement_is_written(passes: list[PassResult]) -> None:
    assert digested(OWN, *passes[1:]).agreement == []
    assert digested(OWN, *passes[::-1]).agreement == [{"of": "pos/orig"}]
