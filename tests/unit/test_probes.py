"""Step 8: the model's own predictions, without a lens."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lenses_min.core.forward import last_logits
from lenses_min.core.host import to_host
from lenses_min.core.probes import at_temperatures, final_and_temperatures
from lenses_min.core.probes import test_prompts as run_test_prompts
from lenses_min.model.load import LoadedModel
from lenses_min.model.verify import capture
from lenses_min.prompts.suite import built_in
from spec import oracle

MAIN, TEST_PROMPTS = built_in().passes[0], built_in().test_prompts


def test_temperatures_rescale_the_first_prompts_logits(fact_model: LoadedModel) -> None:
    final = capture(fact_model.bridge, fact_model.tokens.model_input(MAIN.text), 6, [0])[1]
    blocks = final_and_temperatures(to_host(at_temperatures(final)), fact_model.tokens)
    entries = [(1.0, 20, blocks["final_prediction"])]
    entries += [(entry["temperature"], 15, entry) for entry in blocks["temperature_exploration"]]
    assert [temperature for temperature, _, _ in entries] == [1.0, 0.1, 2.0]
    for temperature, k, entry in entries:
        z = final.double().numpy() / temperature
        p = oracle.softmax(z)
        assert entry["entropy"] == pytest.approx(oracle.entropy_bits(z), rel=1e-4, abs=2e-6)
        assert [text for text, _ in entry["topk"]] == [
            fact_model.tokens.text(i) for i in oracle.top_k(p, k)
        ]
        assert [value for _, value in entry["topk"]] == pytest.approx(
            np.sort(p)[::-1][:k], rel=1e-4, abs=2e-6
        )


def test_prompts_keep_their_order_and_equal_each_prompt_alone(fact_model: LoadedModel) -> None:
    entries = run_test_prompts(
        TEST_PROMPTS, fact_model.tokens, lambda batch: last_logits(fact_model.bridge, batch), None
    )
    assert [entry["prompt"] for entry in entries] == list(TEST_PROMPTS)
    for entry in entries:
        alone = capture(fact_model.bridge, fact_model.tokens.model_input(entry["prompt"]), 6, [0])[
            1
        ]
        assert entry["entropy"] == pytest.approx(
            oracle.entropy_bits(alone.double().numpy()), rel=1e-4, abs=2e-6
        )
        assert len(entry["topk"]) == 10
        assert entry["topk"][0][1] == pytest.approx(float(torch.softmax(alone, -1).max()), rel=1e-4)


def test_probabilities_are_taken_in_the_models_dtype(fact_model: LoadedModel) -> None:
    def half(batch: Sequence[Sequence[int]]) -> torch.Tensor:
        return last_logits(fact_model.bridge, batch).bfloat16()

    entries = run_test_prompts(TEST_PROMPTS, fact_model.tokens, half, None)
    values = [p for entry in entries for _, p in entry["topk"]]
    assert torch.tensor(values).bfloat16().double().tolist() == values
    assert any(
        float(torch.tensor(entry["entropy"]).bfloat16()) != entry["entropy"] for entry in entries
    )
