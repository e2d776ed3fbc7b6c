"""The warnings of the ledger's defects, word for word: they name columns that people will distrust."""

from dataclasses import replace

from syrupy.assertion import SnapshotAssertion

from lenses_min.model.load import LoadedModel
from lenses_min.output.defects import defect_warnings


def test_every_warning(fact_model: LoadedModel, snapshot: SnapshotAssertion) -> None:
    facts = replace(fact_model.facts, first_norm="LayerNorm", output_transform=True)
    summaries = {
        "prism": {"error": "prism artifacts corrupt in x"},
        "other": {"error": "Missing y"},
        "off": {},
    }
    assert list(defect_warnings(facts, summaries)) == snapshot


def test_a_model_without_defects_gives_no_warning(fact_model: LoadedModel) -> None:
    assert list(defect_warnings(fact_model.facts, {"prism": {"error": None}})) == []
    final_only = replace(fact_model.facts, final_norm="LayerNorm")
    assert len(list(defect_warnings(final_only, {}))) == 1
