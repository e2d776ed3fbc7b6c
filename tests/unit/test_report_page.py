"""The parts of the page of a report: its title and scripts, its figures, and what it says about a run."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from stub_passes import row

from lenses_min.core.rows import AgreementRow
from lenses_min.output.run import Run
from lenses_min.report.agreement import DISTANCES, agreement_curves
from lenses_min.report.concerns import Concern
from lenses_min.report.figures import over_layers
from lenses_min.report.listed import TITLE, Listed, token_curves
from lenses_min.report.page import CODE, HERE, about, drawn, page, shown

PURE = [row(layer, p_answer=0.5 / (1 + layer)) for layer in range(3)]


def run_of(name: str, document: dict[str, Any] | None = None, **more: Any) -> Run:
    """A run with a further table."""
    tables: dict[tuple[str, str], Sequence[Any]] = {("pure", "norm"): PURE}
    return Run(name, {**tables, ("notes", "norm"): [{"a": 1}]}, document or {}, **more)


def test_a_page_of_several_runs_has_their_names_legibly_their_tables_and_its_scripts() -> None:
    text = page([run_of("m\u200b"), run_of("n")])
    head, _, data = text.partition('<script type="application/json"')
    assert "<title>Lens report: 2 models</title>" in head
    assert '<th scope="row">m⟨U+200B⟩</th>' in head
    assert "m\u200b" not in head
    for i, label in enumerate(("m⟨U+200B⟩", "n")):
        assert (
            f"""<details data-show='{{"model": ["{i}"]}}'><summary><b>{label}</b> notes\n"""
        ) in head
    scripts = [(HERE / name).read_text(encoding="utf-8") for name in CODE]
    assert data.partition("</script>")[2].startswith(f"\n<script>{''.join(scripts)}</script>\n")


def test_the_figures_of_a_page_are_those_with_content() -> None:
    """The panels of curves have the defects that concern them, by run."""
    agreement = [AgreementRow("a", "orig", 1, 1, "norm", "final", 0.75, 0.5, 0.25, True)]
    run = Run("m", {("pure", "norm"): PURE, ("agreement", "norm"): agreement}, {})
    margins = Concern("R15: b", "R15", ("answer_rank", "p_answer", "control_margin"))
    tokens = [Listed(0, "norm", "a/orig", " x", {1: 0.5}, (0, 1, 2))]
    listed = {"peaks": [], "tracked": tokens}
    figures = drawn([run], [[Concern("c", "", ()), margins]], listed)
    assert list(figures) == ["curves", "changes", "tracked", "agreement"]
    assert figures["tracked"] == over_layers(token_curves([run], tokens), TITLE, True)
    assert figures["agreement"] == over_layers(list(agreement_curves([run])), DISTANCES, True)
    concerned = [{"model": "0", "defect": "R15"}]
    assert figures["curves"]["warned"] == [[], [], concerned, concerned, [], concerned]
    plain_run = run_of("n")
    figures = drawn([plain_run, plain_run], [[], [margins]], {"peaks": []})
    assert list(figures) == ["curves", "changes"]
    assert figures["curves"]["warned"][2] == [{"model": "1", "defect": "R15"}]


def test_texts_and_numbers_are_shown_legibly_and_markup_as_it_is() -> None:
    assert [shown(value) for value in ("a\nb", 3, 0.5)] == ["a⏎b", "3", "0.5"]
    markup = Markup("a\nb")
    assert shown(markup) is markup
    assert shown(None) is None


def test_what_a_page_says_about_a_run_with_a_manifest() -> None:
    known = {"fingerprint": "f", "seed": 1, "finished_at": "noon", "elapsed_s": 2.5}
    options, versions = {"device": "cpu"}, {"torch": "2"}
    manifest = {"options": options, "versions": versions, "last_layer_proof": {"kl_bits": 0.012345}}
    manifest |= known | {"device": "cpu", "dtype": "float32"}
    document = {
        "contract": "corrected",
        "diagnostics": {"model": "org/m", "last_layer_consistency": {"kl_to_final_bits": 3.0}},
        "model_stats": {"num_layers": 2, "d_model": 64, "d_vocab": 300},
        "prompt": {"context_prompt": "The capital", "ground_truth": "Rome"},
    }
    assert about(run_of("m", document, manifest=manifest, folder="runs/m"), "label") == {
        "label": "label",
        "folder": "runs/m",
        "about": {
            "model": "org/m",
            "blocks": 2,
            "width": 64,
            "vocabulary": 300,
            "computed on": "cpu float32",
            "contract": "corrected",
            "lenses": "norm",
            "last layer to the model's output": "0.0123 bits",
        },
        "details": {"run": known, "options": options, "versions": versions},
        "prompts": {"pos/orig": ("The capital", "Rome")},
    }


def test_what_a_page_says_about_a_run_without_a_manifest() -> None:
    content = about(run_of("m"), "m")
    assert content["details"] == {}
    assert content["about"] == {
        "model": "m",
        "blocks": "",
        "width": "",
        "vocabulary": "",
        "computed on": "",
        "contract": "reference",
        "lenses": "norm",
        "last layer to the model's output": "",
    }
    consistency = {"last_layer_consistency": {"kl_to_final_bits": 0.5}}
    content = about(run_of("m", {"diagnostics": consistency}), "m")
    assert content["about"]["last layer to the model's output"] == "0.5 bits"
