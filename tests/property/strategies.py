"""Logits, prompts and token texts to draw from; tensors are never constant."""

import numpy as np
import torch
from hypothesis import strategies as st

SIZES = st.integers(2, 40)
SEEDS = st.integers(0, 2**32 - 10)
SCALES = st.sampled_from([0.01, 1.0, 10.0, 60.0])


def logits(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    """float32 normal deviates of the given spread."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape) * scale).float()


# Any text a tokenizer may decode to, the characters that break files first.
TEXTS = st.one_of(
    st.sampled_from(
        [
            "\\",
            "\r",
            "\n",
            "\r\n",
            '"',
            ",",
            '",\\',
            "",
            " ",
            "�",
            "<b>",
            "\x00",
            "\x85",
            "\u2028",
            "⟨NEXT⟩",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
