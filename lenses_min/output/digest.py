"""passes → what the document and the manifest have of them, and the document of prompts of one's own."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.milestones import ablation_summary, control_summary, milestones
from ..core.raw_lens import raw_lens_check
from ..core.types import ModelInfo, PassResult
from ..model.proof import Measured, measured
from ..options import RunOptions
from .document import copy_rule, gold_block, heading, last_layer, model_stats, of_model


@dataclass(frozen=True)
class Digest:
    """What the JSON files have of some passes, in the order of the suite.

    `defects` are those of R14 and R15 that a prompt has; `blocks` the passes of the document, where the prompts are
    one's own; `prompts`, `lenses` and `agreement` those of the manifest; `measured` is what the proof rests on.
    """

    defects: Sequence[str]
    blocks: Iterable[Mapping[str, Any]]
    prompts: Iterable[Mapping[str, Any]]
    lenses: Mapping[str, Any]
    agreement: Sequence[Mapping[str, Any]]
    measured: Sequence[Measured]


def digest(facts: ModelInfo, options: RunOptions, passes: Sequence[PassResult]) -> Digest:
    own = bool(options.prompts)
    block = suite_block if own else lens_block
    encoded = [result.encoded for result in passes]
    return Digest(
        defects=sorted({defect for e in encoded for defect in e.defects}),
        blocks=[pass_block(facts, options, result) for result in passes] if own else [],
        prompts=[
            {
                "prompt_id": e.prompt.id,
                "prompt_variant": e.prompt.variant,
                "token_ids": list(e.token_ids),
            }
            for e in encoded
        ],
        lenses={lens: block(passes, lens) for lens in passes[0].pure if lens != "norm"},
        agreement=next((p.agreement for p in passes if p.encoded.prompt.write_records), []),
        measured=[measured(passes)],
    )


def lens_block(passes: Sequence[PassResult], lens: str) -> dict[str, Any]:
    """The milestones of a further lens; those of the norm lens stand in the document."""
    main, ablation, control = (result.pure[lens] for result in passes)
    summaries = {
        "ablation_summary": ablation_summary(main, ablation),
        "control_summary": control_summary(control),
    }
    return {"milestones": milestones(main)} | summaries


def suite_block(passes: Sequence[PassResult], lens: str) -> dict[str, Any]:
    """The milestones of a further lens by pass."""
    return {
        f"{p.encoded.prompt.id}/{p.encoded.prompt.variant}": milestones(p.pure[lens])
        for p in passes
    }


def suite_document(
    passes: Digest,
    keywords: Collection[str],
    facts: ModelInfo,
    options: RunOptions,
    test_prompts: Sequence[Mapping[str, Any]],
    prism: Mapping[str, Any],
) -> dict[str, Any]:
    """`output-<name>.json` of prompts of one's own: what is known of the model, then a block for each pass."""
    return {
        **heading(options, passes.defects),
        "test_prompts": list(test_prompts),
        "keywords": sorted(keywords),
        "diagnostics": of_model(facts, options)
        | {"prism_summary": dict(prism)}
        | copy_rule(options),
        "model_stats": model_stats(facts),
        "passes": passes.blocks,
    }


def pass_block(facts: ModelInfo, options: RunOptions, result: PassResult) -> dict[str, Any]:
    """One pass: prompt, gold answer, milestones under the norm lens; what only a pass with records has may be null.

    A pass without tags has no key for them.
    """
    prompt, gold, rows = result.encoded.prompt, result.encoded.gold, result.pure["norm"]
    control = f"{prompt.control.id}/{prompt.control.variant}" if prompt.control else None
    block: dict[str, Any] = {
        "prompt_id": prompt.id,
        "prompt_variant": prompt.variant,
        "context_prompt": prompt.text,
    }
    block |= {"gold_answer": gold_block(gold), "gold_alignment": gold.alignment, **milestones(rows)}
    block |= {"control": control, "control_summary": control_summary(rows) if control else None}
    block["last_layer_consistency"] = last_layer(facts, options, result.consistency)
    block["raw_lens_check"] = (
        raw_lens_check(options.raw_lens, result.raw_samples) if prompt.write_records else None
    )
    block |= {
        key: result.predictions.get(key) for key in ("final_prediction", "temperature_exploration")
    }
    return block | ({"tags": dict(prompt.tags)} if prompt.tags else {})
