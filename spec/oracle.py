"""The metrics and lens formulas of the contract in NumPy float64, one plain formula each.

D width, V vocabulary, L blocks. z: lens logits [V]; p, q: probabilities [V]; x: residual [D]; W_U [D, V].
A sum whose last bit leaves the range of its quantity is clamped.
Sources: logit lens, nostalgebraist, "interpreting GPT: the logit lens" (2020); LayerNorm, Ba et al. (2016);
RMSNorm, Zhang and Sennrich (2019); KL divergence, Kullback and Leibler (1951).
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = Sequence[int]

KL_TINY = 1e-30
COSINE_TINY = 1e-12
TEMPERATURES = np.logspace(np.log10(0.1), np.log10(10.0), 25)
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"  # ASCII


# Norms and lenses: residual -> logits


def norm_name(layer: int, n_layers: int) -> str:
    """The norm that reads layer 0 <= layer <= L next: `blocks.<layer>.ln1`, or `ln_final` for layer L."""
    if not 0 <= layer <= n_layers:
        raise ValueError(
            f"layer must be in 0..{n_layers}, got {layer}; pass the residual's own layer index"
        )
    return "ln_final" if layer == n_layers else f"blocks.{layer}.ln1"


def reference_norm(x: Array, scale: Array, eps: float) -> Array:
    """rms_norm for every norm module, LayerNorm too: no centring, no bias (R1); [D] -> [D]."""
    return rms_norm(x, scale, eps)


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
    """x / sqrt(mean(x^2) + eps) * scale, [D] -> [D]; Zhang and Sennrich 2019. Gemma's scale is 1 + weight."""
    return x / np.sqrt(np.mean(x**2) + eps) * scale


def layer_norm(x: Array, scale: Array, bias: Array, eps: float) -> Array:
    """(x - mean(x)) / sqrt(var(x) + eps) * scale + bias, [D] -> [D], var with 1/D; Ba et al. 2016."""
    centred = x - np.mean(x)
    return centred / np.sqrt(np.mean(centred**2) + eps) * scale + bias


# Lenses beside run.py's two; a run has a table of records and one of the next token for each.
FURTHER_LENSES = ("final", "raw", "tuned")


def raw_lens(x: Array, W_U: Array, b_U: Array) -> Array:
    """x @ W_U + b_U, [D] -> [V]: the un-normalised residual read out."""
    return x @ W_U + b_U


def norm_lens(x: Array, scale: Array, eps: float, W_U: Array, b_U: Array) -> Array:
    """reference_norm(x) @ W_U + b_U, [D] -> [V], with the scale and eps of `norm_name`; no soft cap (R3)."""
    return reference_norm(x, scale, eps) @ W_U + b_U


def final_lens(x: Array, ln_final: Callable[[Array], Array], W_U: Array, b_U: Array) -> Array:
    """ln_final(x) @ W_U + b_U, [D] -> [V]: the usual logit lens, ln_final at every layer."""
    return ln_final(x) @ W_U + b_U


def tuned_lens(
    x: Array, A: Array, c: Array, ln_final: Callable[[Array], Array], W_U: Array, b_U: Array
) -> Array:
    """ln_final(x + A x + c) @ W_U + b_U, [D] -> [V]: translator A [D, D], c [D] first; Belrose et al. 2023."""
    return ln_final(x + A @ x + c) @ W_U + b_U


def prism_lens(
    y: Array, whitening: tuple[Array, Array, float], Q: Array, W_U: Array, b_U: Array
) -> Array:
    """((y - mean) / sqrt(var + eps)) @ Q @ W_U + b_U, [D] -> [V]; y = norm(x), Q [D, D].

    `whitening` is mean [D], var [D] and eps.
    """
    mean, var, eps = whitening
    return (y - mean) / np.sqrt(var + eps) @ Q @ W_U + b_U


def output_transform(z: Array, scale: float = 1.0, soft_cap: float | None = None) -> Array:
    """z * scale, then c * tanh(z / c) where the model caps at c, [V] -> [V]; Gemma 2 (2024)."""
    scaled = z * scale
    return scaled if soft_cap is None else soft_cap * np.tanh(scaled / soft_cap)


# Metrics of one row


def log_softmax(z: Array) -> Array:
    """z - ln sum exp(z), shifted by max(z) against overflow; [V] -> [V], nats, <= 0."""
    shifted = z - np.max(z)
    return shifted - np.log(np.sum(np.exp(shifted)))


def softmax(z: Array) -> Array:
    """exp(z) / sum exp(z); [V] -> [V], 0..1, sums to 1."""
    return np.exp(log_softmax(z))


def entropy_bits(z: Array) -> float:
    """-sum p log2 p of p = softmax(z), from the log-softmax, 0 log 0 = 0; bits, 0..log2 V; Shannon 1948."""
    log_p = log_softmax(z)
    p = np.exp(log_p)
    positive = p > 0
    return float(np.clip(-np.sum(p[positive] * log_p[positive]) / np.log(2), 0, np.log2(len(z))))


def kl_bits(p: Array, q: Array) -> float:
    """sum p (ln(p + 1e-30) - ln(q + 1e-30)) / ln 2; bits, 0..about 100, 0 when p = q."""
    nats = np.sum(p * (np.log(p + KL_TINY) - np.log(q + KL_TINY)))
    return max(0.0, float(nats / np.log(2)))


def js_bits(p: Array, q: Array) -> float:
    """(KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2; bits, 0..total variation, symmetric; Lin 1991."""
    m = (p + q) / 2
    return min((kl_bits(p, m) + kl_bits(q, m)) / 2, total_variation(p, q))


def total_variation(p: Array, q: Array) -> float:
    """sum |p - q| / 2; 0..1, the largest difference of the probabilities of any set of tokens."""
    return min(1.0, float(np.sum(np.abs(p - q)) / 2))


def surprisal_bits(rows: Iterable[Array], ids: Ids) -> float:
    """-sum log2 p(id) of the tokens of an answer, logits [V] of one position each; bits, >= 0."""
    return -sum(float(log_softmax(z)[i]) for z, i in zip(rows, ids, strict=True)) / float(np.log(2))


def cosine(a: Array, b: Array) -> float:
    """a . b / ((|a| + 1e-12) (|b| + 1e-12)) of two logit vectors [V]; -1..1."""
    norms = (np.linalg.norm(a) + COSINE_TINY) * (np.linalg.norm(b) + COSINE_TINY)
    return float(np.clip(a @ b / norms, -1, 1))


def answer_probability(p: Array, answer_id: int | None) -> float | None:
    """p[answer_id], 0..1; None where the answer has no id."""
    return None if answer_id is None else float(p[answer_id])


def answer_rank(p: Array, answer_id: int | None) -> int | None:
    """1 + #{p > p[answer_id]}, 1..V, ties share the better rank; None where the answer has no id."""
    return None if answer_id is None else 1 + int(np.sum(p > p[answer_id]))


def top_k(p: Array, k: int) -> list[int]:
    """The ids of the k largest p, descending, ties by the lower id; at most V of them."""
    return [int(i) for i in np.argsort(-p, kind="stable")[:k]]


def p_top5(p: Array) -> float:
    """The sum of the 5 largest probabilities; 0..1."""
    return min(1.0, float(sum(p[i] for i in top_k(p, 5))))


def rest_mass(listed: Sequence[float]) -> float:
    """max(0, 1 - sum of the listed probabilities), added left to right; 0..1."""
    total = 0.0
    for value in listed:  # the built-in sum compensates from Python 3.12 on
        total += value
    return max(0.0, 1.0 - total)


def control_margin(p: Array, own_id: int | None, other_id: int | None) -> float | None:
    """p[first id of Paris] - p[first id of Berlin]; -1..1, None where either has no id."""
    return None if own_id is None or other_id is None else float(p[own_id] - p[other_id])


# Flags of one row and milestones of one pass


def is_contiguous_run(window: Ids, ctx_ids: Ids) -> bool:
    """Whether ctx_ids contain the window in order and without a gap; an empty window is in none."""
    size = len(window)
    return size > 0 and any(
        list(ctx_ids[i : i + size]) == list(window) for i in range(len(ctx_ids))
    )


def copy_collapse(
    window: Ids,
    ctx_ids: Ids,
    p: tuple[float, float],
    limits: tuple[float, float],
    top1_text: str,
) -> bool:
    """The last top-1 ids are a run of the prompt, p1 > threshold, p1 - p2 > margin, the text has a word.

    `p` are p1 and p2, `limits` threshold and margin.

    It has one where at least one character is neither whitespace nor ASCII punctuation.
    """
    (p1, p2), (threshold, margin) = p, limits
    has_word = any(not (char.isspace() or char in PUNCTUATION) for char in top1_text)
    return is_contiguous_run(window, ctx_ids) and p1 > threshold and p1 - p2 > margin and has_word


def entropy_collapse(entropy: float) -> bool:
    """entropy <= 1.0 bit."""
    return entropy <= 1.0


def is_answer(rank: int | None, top1_text: str, gold: str) -> bool:
    """rank = 1; where the answer has no id, the stripped top-1 text equals gold (always "Berlin" by R6)."""
    return top1_text.strip() == gold if rank is None else rank == 1


def first_layer(values: Iterable[float | None], holds: Callable[[float], bool]) -> int | None:
    """The first layer whose value holds, in layer order from 0; an empty cell (None) never does.

    L_copy, L_copy_H, L_semantic: true flags; KL <= 0.5 or 1.0; rank <= 1, 5 or 10; control margin > 0.
    """
    for layer, value in enumerate(values):
        if value is not None and holds(value):
            return layer
    return None


# Diagnostics


def temperature_estimate(z: Array, q: Array) -> tuple[float, float]:
    """(s, KL(softmax(z / s) || q) in bits) of the s with least KL among 25 log-spaced ones in 0.1..10."""
    kls = [kl_bits(softmax(z / s), q) for s in TEMPERATURES]
    best = int(np.argmin(kls))
    return float(TEMPERATURES[best]), kls[best]


def raw_lens_layers(n_layers: int, mode: str) -> list[int]:
    """Layers of the raw-lens check: off = none, full = 0..L, sample = 0 and 1 + {L//4, L//2, 3L//4}."""
    sample = sorted({0, 1 + n_layers // 4, 1 + n_layers // 2, 1 + 3 * n_layers // 4})
    return {"off": [], "sample": sample, "full": list(range(n_layers + 1))}[mode]


def raw_lens_risk(max_kl_bits: float, norm_only_answer: bool) -> str:
    """high: the norm lens alone ranks the answer first, or max KL >= 1.0 bit; medium: >= 0.5; else low."""
    if norm_only_answer or max_kl_bits >= 1.0:
        return "high"
    return "medium" if max_kl_bits >= 0.5 else "low"
