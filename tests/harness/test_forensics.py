"""Forensics of the last layer: what is planted is named with its value, and nothing else is claimed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import e, inf, log, tanh
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec.__main__ import main
from spec.audit.forensics import Cause, Forensics, examine
from spec.audit.log_bases import entropy_bounds, kl_bounds
from spec.golden import GOLDEN
from spec.runs.csv_dialect import encode, parse
from spec.runs.json_text import layout
from spec.runs.json_text import parse as parse_json
from spec.runs.run import PURE, RECORDS, Run, read_run, sole_run

TOKENS = 40
Logits = Sequence[float]
Function = Callable[[float], float]
ROUND = {
    "float32": lambda t: t,
    "bfloat16": lambda t: t.bfloat16().float(),
    "float16": lambda t: t.half().float(),
}


@dataclass(frozen=True)
class Planted:
    """A run of one layer: the lens's logits, the model's, the raw lens's, and how the run writes them."""

    lens: Logits
    model: Logits
    raw: Logits = ()
    dtype: str = "float32"  # of the model's logits and probabilities
    base: float = 2.0
    kinds: tuple[str, ...] = (PURE, RECORDS)
    kl: float | None = None
    labels: Callable[[int], str] = "t{}".format
    listed: int = 20

    def run(self) -> Run:
        tables = {kind: self.table(kind, self.lens) for kind in self.kinds}
        if self.raw:
            tables[f"{RECORDS}-raw"] = self.table(RECORDS, self.raw)
        q, entropy = self.distribution(ROUND[self.dtype](torch.tensor(self.model)))
        document = {
            "diagnostics": {
                "use_fp32_unembed": self.dtype != "float32",
                "unembed_dtype": "torch.float32",
            },
            "final_prediction": {"entropy": entropy, "topk": self.topk(ROUND[self.dtype](q))},
            "model_stats": {"num_layers": 1, "d_vocab": len(self.lens)},
        }
        parsed = {kind: parse(text) for kind, text in tables.items()}
        return Run("Planted", tables=parsed, document=parse_json(layout(document)))

    def distribution(self, logits: torch.Tensor) -> tuple[torch.Tensor, float]:
        p = torch.softmax(logits, 0)
        return p, float(torch.special.entr(p).sum()) / log(self.base)

    def topk(self, p: torch.Tensor) -> list[list[Any]]:
        values, ids = p.topk(self.listed)
        return [[self.labels(i), x] for i, x in zip(ids.tolist(), values.tolist(), strict=True)]

    def table(self, kind: str, logits: Logits) -> str:
        p, entropy = self.distribution(torch.tensor(logits))
        pairs = self.topk(p)[: 5 if kind == PURE else None]
        head = ["prompt_id", "prompt_variant", "layer", "pos", "entropy"]
        cells = ["pos", "orig", "1", "4", repr(entropy)]
        for i, (token, value) in enumerate(pairs, start=1):
            head += [f"top{i}", f"prob{i}"]
            cells += [encode(token), repr(value)]
        if kind == PURE and self.kl is not None:
            head, cells = [*head, "kl_to_final_bits"], [*cells, repr(self.kl)]
        return ",".join(head) + "\n" + ",".join(cells) + "\n"


def drawn(seed: int, high: float = 25.0) -> list[float]:
    """Logits all over a range, in any order."""
    random = Random(seed)
    return random.sample([high * (i + random.random()) / TOKENS for i in range(TOKENS)], TOKENS)


def planted(logits: Logits, function: Function, **how: Any) -> Planted:
    """The lens has the logits, the model a function of them."""
    return Planted(logits, [function(z) for z in logits], **how)


def capped(cap: float, scale: float = 1.0) -> Function:
    return lambda z: scale * cap * tanh(z / cap)


def claim(result: Forensics) -> tuple[Cause, float | None] | None:
    return None if result.claim is None else (result.claim.cause, result.claim.value)


def names(result: Forensics, cause: Cause, value: float, rel: float) -> bool:
    """Whether a cause is claimed with about that value."""
    return (
        result.claim is not None
        and result.claim.cause == cause
        and result.claim.value == pytest.approx(value, rel=rel)
    )


SEEDS = st.integers(0, 10**6)


@given(SEEDS, st.floats(5, 100), st.floats(0.8, 1.3))
def test_a_soft_cap_is_named_with_its_value(seed: int, cap: float, reach: float) -> None:
    result = examine(planted(drawn(seed, cap * reach), capped(cap)).run())
    assert result.same is False
    assert names(result, Cause.SOFT_CAP, cap, 0.01), result.hypotheses
    assert result.claim is not None
    least, largest = result.claim.between or (0, 0)
    assert least <= cap <= largest <= 1.1 * least
    assert result.numbers == 20


@given(SEEDS, st.floats(0.3, 3).filter(lambda t: abs(log(t)) > 0.05))
def test_a_temperature_is_named_with_its_value(seed: int, temperature: float) -> None:
    result = examine(planted(drawn(seed), lambda z: z / temperature).run())
    assert result.same is False
    assert names(result, Cause.TEMPERATURE, temperature, 1e-3), result.hypotheses


@given(SEEDS, st.floats(-50, 50))
def test_the_same_distribution_is_the_same(seed: int, offset: float) -> None:
    """Whatever constant the logits have."""
    assert examine(planted(drawn(seed), lambda z: z + offset).run()).same is True


@given(SEEDS, st.sampled_from(["bfloat16", "float16"]))
def test_the_same_distribution_is_the_same_in_the_precision_of_the_model(
    seed: int, dtype: str
) -> None:
    rounded = planted(drawn(seed, 8.0), lambda z: z, dtype=dtype).run()
    assert examine(rounded).same is True
    document = {**(rounded.document or {}), "diagnostics": {"use_fp32_unembed": False}}
    assert examine(replace(rounded, document=document)).same is False, "it says float32"
    below = {**document, "diagnostics": {"unembed_dtype": f"torch.{dtype}"}}
    assert examine(replace(rounded, document=below)).same is True


@given(SEEDS, st.sampled_from(["bfloat16", "float16"]))
def test_rounding_hides_no_large_soft_cap_and_invents_no_other_cause(seed: int, dtype: str) -> None:
    result = examine(planted(drawn(seed, 45.0), capped(30.0), dtype=dtype).run())
    assert result.same is False
    if result.claim is not None:
        assert result.claim.cause == Cause.SOFT_CAP
        least, largest = result.claim.between or (0, 0)
        assert least <= 30 <= largest


def test_a_soft_cap_of_a_bfloat16_model_is_named() -> None:
    logits = [float(z) for z in range(-14, 46)]
    result = examine(planted(logits, capped(30.0), dtype="bfloat16").run())
    assert names(result, Cause.SOFT_CAP, 30, 0.1)
    assert result.claim is not None
    assert result.claim.between is not None
    least, largest = result.claim.between
    assert 20 < least < 30 < largest < 45


def noisy(size: float) -> Callable[[Logits, Random], Logits]:
    return lambda logits, random: [z + random.gauss(0, size) for z in logits]


def mixture(logits: Logits, random: Random) -> Logits:
    """The lens's distribution and another one, half of each."""
    other = torch.tensor([random.uniform(0, 25) for _ in logits]).softmax(0)
    return ((torch.tensor(logits).softmax(0) + other) / 2).log().tolist()


UNEXPLAINED: dict[str, Callable[[Logits, Random], Logits]] = {
    "little noise": noisy(0.05),
    "noise": noisy(1.0),
    "a mixture": mixture,
    "a cap and a temperature": lambda logits, _: [capped(30.0, 0.7)(z) for z in logits],
    "a clamp": lambda logits, _: [min(z, 18.0) for z in logits],
    "another function that saturates": lambda logits, _: [z / (1 + z / 30) for z in logits],
    "a cap and noise": lambda logits, random: noisy(0.05)([capped(30.0)(z) for z in logits], random),
    "another order": lambda logits, random: random.sample(logits, len(logits)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNEXPLAINED)
@given(SEEDS)
def test_nothing_is_claimed_where_no_cause_holds(name: str, seed: int) -> None:
    logits = drawn(seed)
    result = examine(Planted(logits, UNEXPLAINED[name](logits, Random(str(seed)))).run())
    assert (result.same, claim(result)) == (False, None)


def test_a_difference_too_small_to_tell_causes_apart_is_no_cause() -> None:
    result = examine(planted(drawn(1), lambda z: z / 1.0003).run())
    assert (result.same, claim(result)) == (False, None)


def test_a_token_of_one_list_alone_refutes_every_cause() -> None:
    """All other tokens have one constant: without the order it would be a temperature of 1."""
    logits = drawn(1)
    without_best = [z if z < max(logits) else -50.0 for z in logits]
    result = examine(Planted(logits, without_best).run())
    assert (result.same, claim(result)) == (False, None)
    assert (result.misfit(Cause.TEMPERATURE) or 0) > 1
    nothing_shared = examine(planted(logits, lambda z: -z).run())
    assert (nothing_shared.same, nothing_shared.numbers) == (False, 0)


def test_too_few_numbers_show_no_cause() -> None:
    for function in (capped(20.0), lambda z: z / 1.3):
        result = examine(planted(drawn(1), function, listed=5).run())
        assert (result.same, claim(result)) == (False, None)
        assert examine(planted(drawn(1), function, listed=6).run()).claim is not None


def test_equal_labels_are_paired_in_their_order() -> None:
    how = {"labels": lambda i: "?" if i % 2 else f"t{i}"}
    result = examine(planted(drawn(3), capped(20.0), **how).run())
    assert names(result, Cause.SOFT_CAP, 20, 1e-2)
    assert result.numbers == 20


def two_passes(first: Function, second: Function) -> Run:
    """A run with prompts of its own: a prediction for each pass, and no prediction at the head of the document."""
    runs = [planted(drawn(seed), f).run() for seed, f in ((8, first), (9, second))]
    table = runs[0].tables[RECORDS]
    rows = [list(run.tables[RECORDS].rows[0]) for run in runs]
    rows[1][0] = "other"
    blocks = [
        {"prompt_id": name, "prompt_variant": "orig", "final_prediction": document["final_prediction"]}
        for name, document in zip(("pos", "other"), (run.document or {} for run in runs), strict=True)
    ]  # fmt: skip
    document = {**(runs[0].document or {}), "final_prediction": None, "passes": blocks}
    written = tuple(map(tuple, rows))
    whole = replace(table, rows=written, sources=written)
    return replace(runs[0], tables={RECORDS: whole}, document=document)


def test_passes_share_one_cause() -> None:
    result = examine(two_passes(capped(30.0), capped(30.0)))
    assert names(result, Cause.SOFT_CAP, 30, 1e-2)
    assert result.numbers == 40
    assert examine(two_passes(lambda z: z, lambda z: z + 1)).same is True
    for second in (capped(20.0), lambda z: z / 1.2, lambda z: z):
        mixed = examine(two_passes(capped(30.0), second))
        assert (mixed.same, claim(mixed)) == (False, None)


def test_tables_without_passes_and_those_of_several_facts_have_the_first_one() -> None:
    run = planted(drawn(4), lambda z: z).run()
    table = run.tables[RECORDS]
    old = replace(table, header=("a", "b", *table.header[2:]))
    other = planted(drawn(5), lambda z: z).run().tables[RECORDS].rows[0]
    rows = (("1", *other), ("0", *table.rows[0]))
    later = replace(table, header=("fact_index", *table.header), rows=rows, sources=rows)
    for changed in (old, later):
        result = examine(replace(run, tables={RECORDS: changed}))
        assert (result.same, result.numbers) == (True, 20)


def test_a_norm_left_out_is_named_where_the_raw_lens_shows_it() -> None:
    raw, normed = drawn(5), drawn(6)
    assert claim(examine(Planted(raw, normed, raw).run())) == (Cause.NORM, None)
    assert claim(examine(Planted(raw, normed).run())) is None, "no raw lens"
    assert claim(examine(Planted(raw, normed, drawn(7)).run())) is None, "another raw lens"
    both = [z / 1.5 for z in raw]
    assert claim(examine(Planted(raw, both, raw).run())) is None, "a temperature fits as well"


def test_one_divergence_refutes_equal_lists() -> None:
    same = planted(drawn(2), lambda z: z, kl=1e-15)
    assert examine(same.run()).same is True
    apart = examine(replace(same, kl=0.6).run())
    assert (apart.same, apart.divergence, claim(apart)) == (False, 0.6, None)
    assert "KL" in apart.reason


def test_a_document_without_prediction_is_judged_by_its_divergences() -> None:
    def without(run: Run) -> Run:
        return replace(run, document={**(run.document or {}), "final_prediction": None})

    same = planted(drawn(2), lambda z: z, kl=0.0)
    assert examine(without(same.run())).same is True
    assert examine(without(replace(same, kl=0.2).run())).same is False
    nothing = examine(without(replace(same, kl=None).run()))
    assert nothing.same is None
    assert "output-Planted.json has no final_prediction" in nothing.reason


def with_rows(base: float, other: float | None = None) -> Run:
    """Four layers whose entropies are of a base, and the last of another one."""
    bases = [base] * 3 + [other or base]
    runs = [Planted(drawn(seed), drawn(seed), base=b).run() for seed, b in enumerate(bases)]
    table = runs[0].tables[RECORDS]
    rows = tuple(run.tables[RECORDS].rows[0] for run in runs)
    whole = replace(table, rows=rows, sources=rows)
    return replace(runs[-1], tables={RECORDS: whole})


@pytest.mark.parametrize(("name", "base"), [("2", 2.0), ("e", e), ("10", 10.0)])
def test_the_base_of_logarithms_is_named(name: str, base: float) -> None:
    place, *_ = examine(with_rows(base)).bases
    assert (place.place, place.base, place.numbers) == ("records: entropy", name, 4)
    assert place.misfits[name] < 1e-4
    assert not any(mixed.base for mixed in examine(with_rows(base, 5.0)).bases)


def test_two_numbers_name_no_base() -> None:
    run = with_rows(e)
    table = run.tables[RECORDS]
    for count, name in ((2, None), (3, "e")):
        part = replace(table, rows=table.rows[:count], sources=table.rows[:count])
        named = {b.place: b.base for b in examine(replace(run, tables={RECORDS: part})).bases}
        assert named.get("records: entropy") == name


@given(SEEDS, st.integers(1, TOKENS), st.floats(1, 60))
def test_listed_probabilities_bound_entropy_and_divergence(
    seed: int, listed: int, high: float
) -> None:
    """The values of the whole distributions lie between the bounds, and meet them where all is listed."""
    p, q = (torch.tensor(drawn(s, high)).double().softmax(0) for s in (seed, seed + 1))
    lists = [
        tuple((str(i), float(side[i])) for i in side.topk(listed).indices.tolist())
        for side in (p, q)
    ]
    entropy, divergence = -float((p * p.log()).sum()), float((p * (p / q).log()).sum())
    least, largest = entropy_bounds([x for _, x in lists[0]], TOKENS)
    assert least - 1e-9 <= entropy <= largest + 1e-9
    low, high_kl = kl_bounds(lists[0], lists[1])
    assert low - 1e-9 <= divergence <= high_kl + 1e-9
    if listed == TOKENS:
        assert (least, largest) == pytest.approx((entropy, entropy))
        assert low == pytest.approx(divergence)


@given(SEEDS)
def test_the_mass_that_both_lists_cover_pins_the_divergence(seed: int) -> None:
    p, q = ([("a", 0.9), ("b", 0.1 - 1e-9)], [("a", 0.4), ("b", 0.5 + seed / 10**8)])
    low, high = kl_bounds(tuple(p), tuple(q))
    assert 0.3 < low <= high < low + 1e-6
    assert kl_bounds((*p, p[0]), tuple(q)) == (0.0, inf), "one label, two ids"


# The captured runs
CASES = sorted(path.name for path in (GOLDEN / "outputs").iterdir())
LAYER_NORMS = [case for case in CASES if case.startswith("layernorm")]


def captured(case: str, contract: str = "outputs") -> Run:
    folder = GOLDEN / contract / case
    name = sole_run(folder)
    files = {path.name: path for path in folder.iterdir() if path.suffix in (".csv", ".json")}
    return read_run(folder, name, files)


@pytest.mark.parametrize("case", CASES)
def test_captures_whose_divergence_vanishes_are_the_same(case: str) -> None:
    run = captured(case)
    assert run.document is not None
    kl = run.document["diagnostics"]["last_layer_consistency"]["kl_to_final_bits"]
    result = examine(run)
    assert result.same is (kl < 1e-4)
    named = {base.place: base.base for base in result.bases}
    assert named[f"{RECORDS}: entropy"] == named[f"{PURE}: entropy"] == "2"
    assert set(named.values()) == {"2"}


@pytest.mark.parametrize("path", sorted((GOLDEN / "corrected").glob("*/")), ids=lambda p: p.name)
def test_the_corrected_contract_is_the_models_own_prediction(path: Path) -> None:
    assert examine(captured(path.name, "corrected")).same is True


def test_the_soft_cap_of_a_capture_is_that_of_its_configuration() -> None:
    config = json.loads((GOLDEN / "models" / "softcap-postnorm" / "config.json").read_text())
    result = examine(captured("softcap-postnorm"))
    assert names(result, Cause.SOFT_CAP, config["final_logit_softcapping"], 1e-3)


@pytest.mark.parametrize("case", [*LAYER_NORMS, "biased-head", "gemma-bf16"])
def test_a_norm_by_another_formula_is_taken_for_nothing_else(case: str) -> None:
    """R1; and a soft cap that bfloat16 cannot tell from a temperature."""
    result = examine(captured(case))
    assert (result.same, claim(result)) == (False, None)


# The command
def test_the_command_names_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(GOLDEN / "outputs" / "softcap-postnorm")
    assert main(["forensics", folder]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "softcap-postnorm: the last layer is not the model's own prediction: soft cap 30.00 left out "
        "(20 numbers, worst misfit "
    )
    assert first.endswith("nats; a temperature leaves 0.024)")
    assert main(["forensics", folder, "--json"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["claim"]["cause"] == "soft cap"
    assert run["numbers"] == 20


def test_exit_status_and_choice_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for case in ("rms-rope", "layernorm-parallel"):
        for path in (GOLDEN / "outputs" / case).iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert main(["forensics", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count(": the last layer is ") == 2
    assert main(["forensics", str(tmp_path), "--run", "rms-rope"]) == 0
    assert main(["forensics", str(tmp_path / "output-rms-rope.json")]) == 0
    assert "rms-rope: the last layer is the model's own prediction" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["nowhere"], [".", "--run", "other"], ["output-A.json", "--run", "B"]]
)
def test_a_wrong_command_line_is_one_error(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "output-A.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert main(["forensics", *arguments]) == 2
    assert capsys.readouterr().err.startswith("spec: error: ")


def test_an_unreadable_document_cannot_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "output-A.json").write_text('{"model_stats": 3, "final_prediction": [1]')
    assert main(["forensics", str(tmp_path)]) == 1
    assert "the files cannot tell" in capsys.readouterr().out
