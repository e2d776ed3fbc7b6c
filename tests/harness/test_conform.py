"""`python -m spec conform`: a fault is named where it shows and nowhere else, and a tool that fails is one line."""

import io
import json
import runpy
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from wrong_lenses import FAULTS, Parts, parts, right, twice_at_last, without_cap

from spec.__main__ import main
from spec.audit.conform import Judged, conform, judge
from spec.audit.hypotheses import HYPOTHESES, REFERENCE, layer_kls
from spec.recipe import build, new_model
from spec.recipe.conform import CONFORM, IDS
from spec.report.conform import finding
from spec.runners.lens_tool import LensJob, LensTool, ToolProblem, ToolRows, layers_of, read_rows
from spec.runners.plain import TOLERANCE, Readout, UnreadModel, prove, read_model, read_norm

ADAPTERS = Path(__file__).parents[2] / "scripts" / "conformance"
SHOWING = ("llama", "gemma", "gpt2-big-eps", "phi", "gemma2-wide", "cohere-large")
OURS = ("gemma2-wide", "gpt2-big-eps", "mixtral", "cohere-large")
# Each kind of norm, block, head and output transform; every model is run at night.
KINDS = tuple(dict.fromkeys((*SHOWING, *OURS, "opt", "bloom", "olmo2", "granite", "qwen3")))
Array = NDArray[np.float64]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    root = tmp_path_factory.mktemp("conform")
    return {name: build(CONFORM[name], root / name) for name in KINDS}


@pytest.fixture(scope="session")
def readouts(folders: Mapping[str, Path]) -> Mapping[str, Readout]:
    return {name: read_model(folder, IDS) for name, folder in folders.items()}


def planted(folder: Path, fault: Any) -> Array:
    with torch.no_grad():
        return fault(parts(folder, IDS)).double().numpy()


@pytest.fixture(scope="session")
def wrong(folders: Mapping[str, Path]) -> Mapping[tuple[str, str], Array]:
    """The logits of every planted fault on every model of SHOWING."""
    return {
        (fault, name): planted(folders[name], plant)
        for fault, plant in FAULTS.items()
        for name in SHOWING
    }


def judged(readout: Readout, logits: Array) -> Judged:
    return judge("tool", readout, ToolRows(logits, *layers_of(len(logits), None, readout.n_layers)))


def test_every_hypothesis_has_a_planted_fault() -> None:
    assert set(FAULTS) == {one.name for one in (*HYPOTHESES, REFERENCE)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_where_it_shows_and_nowhere_else(
    fault: str, readouts: Mapping[str, Readout], wrong: Mapping[tuple[str, str], Array]
) -> None:
    alone = []
    for name in SHOWING:
        result = judged(readouts[name], wrong[fault, name])
        if max(result.kls) <= TOLERANCE:
            assert result.passes, name
            assert result.faults == (), name
            continue
        assert not result.passes
        assert (fault,) in result.faults, (name, result)
        for (other,) in result.faults:
            apart = layer_kls(wrong[fault, name], wrong[other, name])
            assert max(apart) <= 4 * TOLERANCE, (name, other)
        alone += [name] * (result.faults == ((fault,),))
    assert alone, "no model shows this fault and no other"


@pytest.mark.parametrize(
    ("tool", "name"),
    [*(("transformers", name) for name in KINDS), *(("lenses_min", name) for name in OURS)],
)
def test_a_right_lens_is_right(
    tool: str,
    name: str,
    folders: Mapping[str, Path],
    readouts: Mapping[str, Readout],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert judged(readouts[name], by_adapter(tool, folders[name], monkeypatch)).passes


def by_adapter(tool: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    monkeypatch.syspath_prepend(str(ADAPTERS))
    adapter = runpy.run_path(str(ADAPTERS / f"{tool}_tool.py"))
    with torch.no_grad():
        return adapter["lens"](str(folder), torch.tensor([IDS])).double().numpy()


@pytest.mark.nightly
@pytest.mark.parametrize("tool", ["lenses_min", "transformers"])
def test_the_adapters_are_right_on_every_model(tool: str) -> None:
    assert main(["conform", "--tool", f"{sys.executable} {ADAPTERS / tool}_tool.py"]) == 0


def test_two_faults_together_are_named(
    folders: Mapping[str, Path], readouts: Mapping[str, Readout]
) -> None:
    def both(p: Parts) -> torch.Tensor:
        p.cap = None
        return twice_at_last(p)

    result = judged(readouts["gemma2-wide"], planted(folders["gemma2-wide"], both))
    assert result.faults == (("norm applied twice at the last layer", "soft cap left out"),)
    assert finding(result) == "norm applied twice at the last layer and soft cap left out"


def test_what_no_fault_gives_is_unexplained(readouts: Mapping[str, Readout]) -> None:
    readout = readouts["llama"]
    noise = np.random.default_rng(0).normal(size=(readout.n_layers + 1, len(readout.own_logits)))
    result = judged(readout, noise)
    assert (result.faults, result.passes, finding(result)) == ((), False, "unexplained")


def test_a_wrong_last_layer_alone_fails(
    folders: Mapping[str, Path], readouts: Mapping[str, Readout]
) -> None:
    logits = planted(folders["llama"], right)
    logits[-1, 0] += 1
    result = judged(readouts["llama"], logits)
    assert not result.passes
    assert result.worst is not None
    assert result.worst[1] == readouts["llama"].n_layers


def test_layer_0_may_be_missing_where_the_tool_says_so(
    folders: Mapping[str, Path], readouts: Mapping[str, Readout]
) -> None:
    readout = readouts["gemma2-wide"]
    logits = planted(folders["gemma2-wide"], right)[1:]
    named = judge("tool", readout, ToolRows(logits, (1, 2, 3, 4)))
    assert (named.passes, finding(named)) == (True, "right from layer 1 on")
    assert finding(judged(readout, logits)) == "no layer 0"
    capless = judged(readout, planted(folders["gemma2-wide"], without_cap)[1:])
    assert finding(capless) == "no layer 0 and soft cap left out"


# What the formulas do not give is not judged


def test_a_model_without_a_last_norm_is_not_judged(tmp_path: Path) -> None:
    folder = build(new_model("opt", 5, do_layer_norm_before=False), tmp_path / "opt")
    result = conform({"opt": folder}, IDS, LensTool([sys.executable, "-c", ""], tmp_path, 60.0))
    assert not result.passes
    assert finding(result.judged[0]).startswith("not judged: OPTDecoder has no blocks or no last")


def test_a_norm_of_another_formula_is_refused() -> None:
    class Halved(torch.nn.LayerNorm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / 2

    with pytest.raises(UnreadModel, match="Halved is neither"), torch.no_grad():
        read_norm(Halved(8).double(), torch.randn(3, 8, dtype=torch.float64))


def test_formulas_that_miss_the_models_own_logits_are_refused(
    readouts: Mapping[str, Readout],
) -> None:
    readout = readouts["phi"]
    changed = {**vars(readout), "own_logits": readout.own_logits * 1.1}
    with pytest.raises(UnreadModel, match="bits from the model's own"):
        prove(Readout(**changed))


# What a tool writes

LOGITS = np.zeros((5, 7), dtype=np.float32)
NAN = np.where(np.arange(7) == 3, np.nan, LOGITS)
BAD_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "the file holds nothing, not one of the arrays logits and log_probs"),
    "both": ({"logits": LOGITS, "log_probs": LOGITS}, "holds log_probs, logits, not one"),
    "NaN": ({"logits": NAN}, "logits has NaN or infinity in row 0"),
    "infinity": ({"logits": LOGITS + np.inf}, "NaN or infinity in row 0"),
    "vocabulary": ({"logits": LOGITS[:, 1:]}, r"float32 \[5, 6\], not floats of shape \[layers, 7"),
    "positions": ({"logits": LOGITS[None]}, r"\[1, 5, 7\]"),
    "integers": ({"logits": LOGITS.astype(int)}, "int64"),
    "layers": ({"logits": LOGITS[2:]}, "3 rows of a model with 4 blocks; 5 are needed, or 4"),
    "no row": ({"logits": LOGITS[:0]}, "0 rows"),
    "probabilities": ({"log_probs": LOGITS}, "sum to 7 in row 0"),
    "names": ({"logits": LOGITS[:2], "layers": np.array([3, 5])}, r"layers is \[3, 5\] for 2"),
    "twice": ({"logits": LOGITS[:2], "layers": np.array([4, 4])}, r"layers is \[4, 4\]"),
    "not last": ({"logits": LOGITS[:2], "layers": np.array([0, 1])}, "without the last layer 4"),
    "refusal": ({"error": "KeyError: h"}, "the tool cannot: KeyError: h"),
    "pickle": ({"logits": np.array([None])}, "the file is no .npz"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_judged_says_why(name: str, tmp_path: Path) -> None:
    arrays, message = BAD_FILES[name]
    np.savez(tmp_path / "out.npz", **arrays)
    with pytest.raises(ToolProblem, match=message) as raised:
        read_rows(tmp_path / "out.npz", 4, 7)
    assert "\n" not in str(raised.value)


def torn() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, logits=LOGITS)
    content = stream.getvalue()
    return content[:60] + b"torn" + content[64:]


@pytest.mark.parametrize("content", [b"", b"logits", torn()[:80], torn()], ids=range(4))
def test_a_file_that_is_no_npz_says_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "out.npz").write_bytes(content)
    with pytest.raises(ToolProblem, match=r"the file is no \.npz"):
        read_rows(tmp_path / "out.npz", 4, 7)


def test_log_probs_and_half_precision_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "out.npz", log_probs=LOGITS.astype(np.float16) - np.float16(np.log(7)))
    rows = read_rows(tmp_path / "out.npz", 4, 7)
    assert (rows.layers, rows.unnamed) == ((0, 1, 2, 3, 4), False)
    assert rows.logits.dtype == np.float64


# How a tool ends

TOUCH = """
import json, os, sys, time
for line in open(sys.argv[-1]):
    out = json.loads(line)["out"]
    {accident}
    open(out, "w").close()
"""


def run_tool(tmp_path: Path, accident: str, timeout: float = 60.0) -> tuple[dict[str, str], str]:
    """Run a tool that touches each file after `accident`; how it stopped by job, and after all files."""
    command = [sys.executable, "-c", TOUCH.format(accident=accident)]
    jobs = [LensJob(tmp_path, IDS, tmp_path / f"{name}.npz") for name in "abc"]
    stopped, problem = LensTool(command, tmp_path, timeout).run(jobs)
    return {path.stem: how for path, how in stopped.items()}, problem


def test_a_crash_ends_one_job(tmp_path: Path) -> None:
    stopped, problem = run_tool(tmp_path, "if 'b.npz' in out: raise RuntimeError('no b')")
    assert stopped == {"b": "the tool exited with status 1: RuntimeError: no b"}
    assert problem == ""
    assert (tmp_path / "c.npz").exists()


def test_a_tool_that_writes_nothing_is_not_started_again(tmp_path: Path) -> None:
    stopped, _ = run_tool(tmp_path, "open(sys.argv[-1] + '.runs', 'a').write('x'); os.abort()")
    assert set(stopped) == set("abc")
    assert (tmp_path / "jobs.jsonl.runs").read_text() == "x"
    assert set(stopped.values()) == {"the tool was killed by signal 6: its log is empty"}


def test_a_tool_that_hangs_is_stopped(tmp_path: Path) -> None:
    started = time.monotonic()
    stopped, _ = run_tool(tmp_path, "if 'b.npz' in out: time.sleep(60)", timeout=1.0)
    assert stopped == {"b": "the tool wrote nothing for 1 s and was stopped"}
    assert time.monotonic() - started < 30


def test_a_bad_status_after_all_files_counts(tmp_path: Path) -> None:
    stopped, problem = run_tool(tmp_path, "'c.npz' in out and (open(out, 'w'), sys.exit(3))")
    assert (stopped, problem) == ({}, "the tool exited with status 3: its log is empty")


# The command

ZEROS = """
import json, sys, numpy
for line in open(sys.argv[-1]):
    job = json.loads(line)
    assert sorted(job) == ["ids", "model", "out"]
    if not job["model"].endswith("phi"):
        numpy.savez(job["out"], logits=numpy.zeros((5, 115)))
"""


def test_the_command_tells_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    tool = shlex.join([sys.executable, "-c", ZEROS])
    assert main(["conform", "llama", "phi", "--tool", tool, "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["passes"], result["verdict"]) == (False, "right on 0 of 2 models")
    llama, phi = result["models"]
    assert (llama["faults"], llama["problem"], len(llama["kl_to_right_bits"])) == ([], "", 5)
    assert (phi["problem"], phi["last_kl_to_model_bits"]) == ("the tool wrote no file", None)
    assert main(["conform", "llama", "--tool", tool]) == 1
    assert "unexplained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tool", ""], "the runner command is empty"),
        (["--tool", "x 'y"], "balance its quotes"),
        (["--tool", "/no/such/tool", "llama"], "cannot start the tool '/no/such/tool'"),
        (["--tool", "x", "lama"], "no model lama; there are llama, mistral"),
        (["--tool", "x", "--timeout", "0"], "--timeout takes seconds > 0, got 0"),
    ],
)
def test_a_bad_command_line_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["conform", *arguments]) == 2
    assert message in capsys.readouterr().err
