from dataclasses import dataclass
from typing import Any

import pytest

import lenses_min
from lenses_min import LensError, RunOptions
from lenses_min.options import Option, option, options_of


def test_every_bad_value_is_reported_at_once() -> None:
    with pytest.raises(LensError) as caught:
        RunOptions("m", device="gpu", copy_margin=2.0, prism="maybe", raw_lens="some")
    text = str(caught.value)
    assert "device must be one of auto, cuda, mps, cpu, got 'gpu'" in text
    assert "prism must be one of auto, on, off, got 'maybe'" in text
    assert "raw_lens must be one of off, sample, full, got 'some'" in text
    assert "copy_margin must be a probability between 0 and 1, got 2.0" in text


@pytest.mark.parametrize("value", [float("nan"), -0.1, True, "0.5"])
def test_thresholds_are_probabilities(value: object) -> None:
    with pytest.raises(LensError, match="copy_threshold must be a probability"):
        RunOptions("m", copy_threshold=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "model_id", "recorded", "file_stem"),
    [
        ("org/name-8B", "", "org/name-8B", "name-8B"),
        ("some/where/model.Q4.gguf", "", "model.Q4", "model.Q4"),
        ("golden/models/fact/", "", "fact", "fact"),
        ("golden/models/fact", "tiny/Fact", "tiny/Fact", "Fact"),
        ("org/nameX", "", "org/nameX", "nameX"),
        ("m", "org/team/name", "org/team/name", "name"),
    ],
)
def test_recorded_name(model: str, model_id: str, recorded: str, file_stem: str) -> None:
    options = RunOptions(model, model_id=model_id)
    assert (options.model_id, options.file_stem) == (recorded, file_stem)


@pytest.mark.parametrize("model_id", ["org/", "org/..", "."])
def test_names_that_are_no_file_names(model_id: str) -> None:
    with pytest.raises(LensError, match="model_id must end in a name"):
        RunOptions("m", model_id=model_id)


def test_environment_gives_the_default_of_raw_lens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGOS_RAW_LENS", "full")
    assert RunOptions("m").raw_lens == "full"
    assert RunOptions("m", raw_lens="off").raw_lens == "off"
    monkeypatch.setenv("LOGOS_RAW_LENS", "half")
    with pytest.raises(LensError, match="got 'half'"):
        RunOptions("m")


def test_jobs_name_unknown_and_missing_keys() -> None:
    with pytest.raises(LensError, match=r"unknown job keys modle; known keys: .*model"):
        RunOptions.from_job({"modle": "x"})
    with pytest.raises(LensError, match="needs a string 'model', got None"):
        RunOptions.from_job({"out_dir": "x"})


def test_the_package_runs_a_model_with_the_fields_of_its_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lenses_min.pipeline.run", lambda options: options)
    options: object = lenses_min.run("org/m", device="cpu", prism="off")
    assert options == RunOptions("org/m", device="cpu", prism="off")


def test_the_ends_of_a_probability_are_probabilities() -> None:
    lenses: Any = ["norm"]
    options = RunOptions("m", copy_threshold=0, copy_margin=1.0, lenses=lenses)
    assert (options.copy_threshold, options.copy_margin, options.lenses) == (0, 1.0, ("norm",))


def test_wrong_types_are_refused_word_for_word() -> None:
    wrong: dict[str, Any] = {"keep_residuals": "yes", "out_dir": 5}
    with pytest.raises(LensError) as caught:
        RunOptions("", model_id="m", **wrong)
    assert str(caught.value) == (
        "keep_residuals must be true or false, got 'yes'; out_dir must be a string, got 5; "
        "model must be a Hugging Face id, a checkpoint folder or a .gguf file, got an empty string"
    )


@pytest.mark.parametrize(
    ("given", "lenses"),
    [
        ("norm,final", ("norm", "final")),
        ("raw", ("norm", "raw")),
        (" final, raw,", ("norm", "final", "raw")),
        ("", ("norm",)),
        (["final", "norm", "final"], ("norm", "final")),
        ((), ("norm",)),
    ],
)
def test_the_norm_lens_is_always_first_and_none_comes_twice(
    given: Any, lenses: tuple[str, ...]
) -> None:
    assert RunOptions("m", lenses=given).lenses == lenses


@pytest.mark.parametrize("given", [None, 3, {"norm": 1}])
def test_lenses_that_are_no_list_are_refused(given: Any) -> None:
    with pytest.raises(LensError) as caught:
        RunOptions("m", lenses=given)
    assert (
        str(caught.value)
        == f"lenses must be names such as norm,final,raw,prism,tuned, got {given!r}"
    )


@pytest.mark.parametrize("given", [-1, 1.5, True, "2"])
def test_threads_are_counted(given: object) -> None:
    with pytest.raises(LensError) as caught:
        RunOptions("m", threads=given)  # type: ignore[arg-type]
    message = (
        f"threads must be a whole number, 0 for as many as torch takes by itself, got {given!r}"
    )
    assert str(caught.value) == message


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "2"])
def test_prompts_of_a_forward_are_counted_from_1_on(given: object) -> None:
    with pytest.raises(LensError) as caught:
        RunOptions("m", batch_size=given)  # type: ignore[arg-type]
    assert str(caught.value) == f"batch_size must be a whole number from 1 on, got {given!r}"
    assert RunOptions("m", batch_size=1).batch_size == 1


def test_an_option_is_a_field_with_its_default_and_texts() -> None:
    @dataclass
    class Sizes:
        size: int = option(3, "how many", metavar="N")

    assert Sizes() == Sizes(3)
    assert [(name, one) for name, _, one in options_of(Sizes)] == [
        ("size", Option("how many", metavar="N"))
    ]


def test_a_device_map_is_for_gpus_alone() -> None:
    with pytest.raises(LensError, match="leave device auto, got 'cpu'"):
        RunOptions("m", device="cpu", device_map="auto")
    with pytest.raises(LensError) as caught:
        RunOptions("m", device="mps", device_map="auto", dtype="half")
    assert str(caught.value) == (
        "dtype must be one of auto, float32, bfloat16, float16, got 'half'; "
        "device_map auto shards a model over GPUs; leave device auto, got 'mps'"
    )
    assert [
        RunOptions("m", device=device, device_map="auto").device for device in ("auto", "cuda")
    ] == ["auto", "cuda"]
