"""The command line: help, exit statuses, quiet and verbose, and one clear error for each bad input."""

import argparse
import json
import logging
import re
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from syrupy.assertion import SnapshotAssertion

from lenses_min import LensError, RunOptions, pipeline
from lenses_min.cli import command_line, sweep
from lenses_min.model import load as loading
from lenses_min.version import __version__


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network call was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def described(parser: argparse.ArgumentParser) -> list[str]:
    """A line for every argument and every command. Python lays a help page out otherwise in each version."""
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            lines += [f"{choice.dest}: {choice.help}" for choice in action._choices_actions]
            continue
        if action.dest in ("help", "version"):
            continue  # in Python's words
        takes = action.metavar or ",".join(action.choices or []) or action.type or ""
        name = ", ".join(action.option_strings) or "argument"
        help_text = (action.help or "") % {**vars(action), "prog": parser.prog}
        lines.append(f"{name} {getattr(takes, '__name__', takes)}: {help_text}")
    return lines


def parser_of(*command: str) -> argparse.ArgumentParser:
    parser = command_line.parser()
    for name in command:
        below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        parser = below[0].choices[name]
    return parser


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "batch",
        "show",
        "report",
        "figure",
        "sweep",
        "doctor",
        "cache",
        "completion",
        "fit tuned",
        "fit prism",
    ],
)
def test_help(
    command: str, capsys: pytest.CaptureFixture[str], snapshot: SnapshotAssertion
) -> None:
    lines = described(parser_of(*command.split()))
    assert lines == snapshot
    with pytest.raises(SystemExit) as stopped:
        command_line.main([*command.split(), "--help"])
    assert stopped.value.code == 0
    page = "".join(capsys.readouterr().out.split())
    for line in lines:
        assert "".join(line.partition(": ")[2].split()) in page


def run(model: Path | str, out: Path, *more: str) -> int:
    return command_line.main(["run", str(model), "--device", "cpu", "--out-dir", str(out), *more])


def test_a_run_prints_its_layers_and_its_files(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models / "fact", tmp_path, "--model-id", "tiny/Fact") == 0
    out, err = capsys.readouterr()
    assert " 4 ␣Berlin 0.9739" in out
    assert "L_semantic = 4" in out
    assert "max_control_margin = 0.9829" in out
    assert str(tmp_path / "output-Fact.json") in out
    assert err == ""
    manifest = json.loads((tmp_path / "run-Fact.manifest.json").read_text())
    assert manifest["model_id"] == "tiny/Fact"
    assert manifest["options"]["device"] == manifest["device"] == "cpu"
    assert manifest["prompts"][0]["token_ids"][0] == 1
    assert len(manifest["fingerprint"]) == 64
    assert manifest["versions"]["transformer-lens"].startswith("4.")


def test_quiet_prints_nothing_and_verbose_tells_steps(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models / "rms-rope", tmp_path, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert run(models / "fact", tmp_path, "--verbose") == 0
    assert "fact: starting" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "defect"), [("softcap-postnorm", "R3"), ("layernorm-parallel", "R1")]
)
def test_a_defect_that_bites_is_one_warning(
    model: str, defect: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models / model, tmp_path) == 0
    err = capsys.readouterr().err
    assert err.count("WARNING") == 1
    assert f"WARNING {defect}: " in err
    manifest = json.loads((tmp_path / f"run-{model}.manifest.json").read_text())
    assert manifest["warnings"][0].startswith(defect)


def edit_config(**values: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return edit


def edit_weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def drop(*names: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return apply


TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
BAD = {
    "no config": (
        drop("config.json"),
        "holds no config.json; give a Hugging Face checkpoint folder",
    ),
    "no tokenizer": (drop(*TOKENIZER), "cannot read the tokenizer of"),
    "no weights": (drop("model.safetensors"), "cannot read the weights of"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "cannot read the config of"),
    "half the weights": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:5000]
        ),
        "cannot read the weights of",
    ),
    "NaN": (
        edit_weights(lambda t: t["model.norm.weight"].fill_(torch.nan)),
        "has weights that are not finite: model.norm.weight; get a sound checkpoint",
    ),
    "encoder": (
        edit_config(architectures=["BertForMaskedLM"]),
        "is BertForMaskedLM, not a causal language model",
    ),
    "short context": (
        edit_config(max_position_embeddings=8),
        "has 17 tokens, the model reads 1 to 8",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_checkpoint_is_one_clear_error(
    name: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, message = BAD[name]
    folder, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(models / "rms-rope", folder)
    harm(folder)
    assert run(folder, out) == 1
    stdout, err = capsys.readouterr()
    assert stdout == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in out.iterdir()] == ["output-model.error.json"]
    report = json.loads((out / "output-model.error.json").read_text())
    assert message in report["message"]
    assert set(report) == {"model", "options", "error_type", "message", "time"}


@pytest.mark.parametrize("model", ["/no/such/folder", "./missing", "missing.gguf", "a/b/c"])
def test_a_missing_folder_or_file(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, tmp_path / "out", "--model-id", "x") == 1
    assert f"there is no checkpoint folder or .gguf file at {model}" in capsys.readouterr().err


def test_prism_on_without_artifacts_and_an_unwritable_target(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(models / "fact", tmp_path / "out", "--prism", "on", "--prism-dir", str(tmp_path)) == 1
    )
    assert "Missing prism artifacts in" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(models / "fact", tmp_path / "file") == 1
    assert "cannot write to" in capsys.readouterr().err


def test_wrong_options_exit_with_2(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models / "fact", tmp_path, "--copy-threshold", "1.5") == 2
    assert (
        "copy_threshold must be a probability between 0 and 1, got 1.5" in capsys.readouterr().err
    )
    for wrong in (["--prism", "maybe"], ["--copy-margin", "much"], ["--lense", "x"]):
        with pytest.raises(SystemExit) as stopped:
            run(models / "fact", tmp_path, *wrong)
        assert stopped.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_batch_goes_on_after_a_failure(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        {"model": str(models / name), "out_dir": str(tmp_path), "device": "cpu"}
        for name in ("nothing", "fact")
    ]
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(map(json.dumps, jobs)))
    assert command_line.main(["batch", str(path)]) == 1
    assert {"output-fact.json", "output-nothing.error.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no job"),
        ('{"model": "a"}\n{"modle": 1}\n[2]\n{', ":2: unknown job keys modle"),
        ('{"model": "a", "prism": "maybe", "out_dir": 5}', ":1: prism must be one of"),
    ],
)
def test_every_bad_job_is_refused_with_its_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(text)
    assert command_line.main(["batch", str(path)]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_jobs_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["batch", str(tmp_path / "none.jsonl")]) == 2
    assert "cannot read the jobs file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "prog", "missing"),
    [
        ([], "lenses-min", "COMMAND"),
        (["fit"], "lenses-min fit", "lens"),
        (["fit", "tuned", "m", "--text", "t"], "lenses-min fit tuned", "--out"),
        (["run"], "lenses-min run", "MODEL"),
        (["show"], "lenses-min show", "DIR"),
    ],
)
def test_what_is_missing_on_the_command_line_is_named(
    command: list[str], prog: str, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(command)
    assert stopped.value.code == 2
    message = f"{prog}: error: the following arguments are required: {missing}"
    assert capsys.readouterr().err.splitlines()[-1] == message


def test_the_program_tells_its_name_its_version_and_what_it_is_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["--version"])
    assert capsys.readouterr().out == f"lenses-min {__version__}\n"
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    page = capsys.readouterr().out.splitlines()
    assert page[0].startswith("usage: lenses-min [-h] [--version] COMMAND")
    assert "Read a causal language model layer by layer." in page


def test_a_sweep_tells_how_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        command_line.main(["sweep", "--help"])
    page = " ".join(capsys.readouterr().out.split())
    assert " ".join(sweep.ABOUT.split()) in page
    args = command_line.parser().parse_args(["sweep"])
    assert (args.models, args.listed, args.out_dir, args.jobs) == ([], None, ".", 1)
    assert (args.engine, args.address, args.fresh) == ("local", "", False)
    assert command_line.parser().parse_args(["sweep", "--fresh"]).fresh is True


def test_quiet_keeps_warnings_back_and_errors_not(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models / "softcap-postnorm", tmp_path, "--quiet") == 0
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("ERROR softcap-postnorm: the last layer IS NOT THE MODEL'S OWN OUTPUT")


def test_a_batch_tells_warnings_only(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = {"model": str(models / "rms-rope"), "out_dir": str(tmp_path), "device": "cpu"}
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps(job))
    assert command_line.main(["batch", str(path)]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("lens", "contract"), [("tuned", "corrected"), ("prism", "reference")])
def test_a_fit_loads_the_model_with_its_options(
    lens: str,
    contract: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[RunOptions] = []

    def refuse(options: RunOptions) -> None:
        loaded.append(options)
        raise LensError("mend it")

    monkeypatch.setattr(loading, "load", refuse)
    text = tmp_path / "text.txt"
    text.touch()
    command = ["fit", lens, "m", "--out", str(tmp_path / "out"), "--model-id", "org/X"]
    assert command_line.main([*command, "--text", str(text), "--device", "cpu"]) == 1
    assert loaded == [RunOptions("m", "org/X", device="cpu", contract=contract)]
    assert capsys.readouterr() == ("", "lenses-min: error: org/X: mend it\n")
    assert command_line.main(command) == 2
    message = "lenses-min: error: a fit needs a --text file to learn from\n"
    assert capsys.readouterr() == ("", message)
    missing = ["--text", "a.txt", str(text), "b.txt"]
    assert command_line.main([*command, *missing]) == 2
    message = "there is no text file a.txt, b.txt; --text takes files of plain text"
    assert capsys.readouterr().err == f"lenses-min: error: {message}\n"


def test_blank_lines_are_no_jobs_and_every_problem_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text('{"model": "a"}\n  \n{"modle": 1, "x": 2}\n[2]\n{"model": 3}\n')
    assert command_line.main(["batch", str(path)]) == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith(
        f"lenses-min: error: {path}:3: unknown job keys modle, x; known keys: batch_size, bos, cache"
    )
    assert others == [
        f"{path}:4: a job is a JSON object, got [2]",
        f"{path}:5: a job needs a string 'model', got 3",
    ]


@pytest.mark.parametrize(
    ("error", "message"), [(LensError("mend it"), "mend it"), (KeyError("k"), "KeyError: 'k'")]
)
def test_an_unforeseen_error_is_printed_with_its_type(
    error: Exception,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(options: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    assert run("org/m", tmp_path, "--quiet") == 1
    assert capsys.readouterr().err == f"lenses-min: error: org/m: {message}\n"


def test_every_step_on_a_line_of_its_own(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And once: the handlers of the root logger do not see our messages too."""
    root = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging.root, "handlers", [root])
    assert run(models / "fact", tmp_path, "--verbose") == 0
    assert re.fullmatch(
        r"INFO fact: starting\nINFO fact: done in \d+\.\d s\n", capsys.readouterr().err
    )


def test_lenses_are_listed_with_commas(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(models / "fact", tmp_path, "--lens", "norm,final", "--quiet") == 0
    assert (tmp_path / "output-fact-records-final.csv").is_file()
    assert not (tmp_path / "output-fact-records-raw.csv").exists()
    assert run(models / "fact", tmp_path / "other", "--lens", "final,tune") == 1
    assert (
        "unknown lens tune; known lenses: norm, final, raw, prism, tuned" in capsys.readouterr().err
    )


def test_a_command_that_is_stopped_prints_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*given: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "perform", stop)
    assert command_line.main(["run", "m", "--out-dir", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_auto_prints_its_arithmetic(
    models: Path, tmp_path: Path, cpu_of_16_gib: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(models / "fact"), "--out-dir", str(tmp_path)]
    assert command_line.main(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    (line,) = json.loads((tmp_path / "run-fact.manifest.json").read_text())["placement"]
    counted = r"cpu: [\d,]+ parameters \(by its files\) × 4 bytes \+ 20% on top \+ 4.0 GiB = 4.0 GiB needed"
    assert re.fullmatch(rf"{counted}, 16.0 GiB free: taken", line)
    assert line in printed
    assert command_line.main([*command, "--device-map", "auto"]) == 1
    message = (
        "device_map auto shards a model over GPUs, and no CUDA device is available; use --device"
    )
    assert capsys.readouterr().err == f"lenses-min: error: fact: {message}\n"
