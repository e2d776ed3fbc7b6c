"""`show`, `report` and the notebook: their content for any texts of a run, and one clear error."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape
from plotly.offline import get_plotlyjs
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

import lenses_min as lm
from lenses_min.cli import command_line
from lenses_min.output.battery.rows import BatteryRow
from lenses_min.output.run import Run
from lenses_min.report import curves, facts, figures, heatmap, listed, terminal
from lenses_min.report import tables as further
from lenses_min.report.concerns import concerns
from lenses_min.report.controls import choices
from lenses_min.report.escape import legible
from lenses_min.report.page import page

ROOT = Path(__file__).parents[2]
OUTPUTS, CORRECTED = ROOT / "golden" / "outputs", ROOT / "golden" / "corrected"


def shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *folders: Path
) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    assert command_line.main(["show", *map(str, folders)]) == 0
    return capsys.readouterr().out.splitlines()


def test_one_run_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    lines = shown(capsys, monkeypatch, OUTPUTS / "softcap-postnorm")
    assert [line.rstrip() for line in lines] == snapshot


def test_lenses_side_by_side_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    lines = shown(capsys, monkeypatch, OUTPUTS / "fact-prism")
    assert [line.rstrip() for line in lines] == snapshot


def with_long_texts(run: Run) -> Run:
    """A run whose names, warnings and tables are longer than a line of a terminal."""
    name = "an-organisation/" + "a-long-name-" * 9
    estimates = {"share": 1.0, "median": 28.0, "lower quartile": 26.0, "upper quartile": 29.0}
    battery = [
        BatteryRow(lens, f"language={name}", None, "L_semantic", answer, kind, 66, 66, v, 0.9, 0.99)
        for lens in run.lenses
        for answer in ("own", "control")
        for kind, v in estimates.items()
    ]
    manifest = {"warnings": ["R14: a reason " * 20], "placement": ["cpu: an arithmetic " * 9]}
    document = run.document | {"diagnostics": run.document["diagnostics"] | {"model": name}}
    tables = {**run.tables, ("battery", "norm"): battery}
    return replace(run, name=name, document=document, tables=tables, manifest=manifest)


@pytest.mark.parametrize("width", [80, 132])
def test_all_that_is_shown_fits_the_terminal(
    width: int, hostile: Path, own_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run and several: long names, four lenses, warnings, a battery. Without a terminal it is 80 columns."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if width != 80:
        monkeypatch.setenv("COLUMNS", str(width))
    runs = [own_run, *map(lm.load, (hostile, OUTPUTS / "fact", CORRECTED / "fact-prism"))]
    runs.append(with_long_texts(runs[-1]))
    shown = []
    for group in (*([run] for run in runs), runs):
        monkeypatch.setattr(sys, "stdout", stream := io.StringIO())
        terminal.show(group)
        assert max(map(cell_len, stream.getvalue().splitlines())) <= width
        shown.append(" ".join(stream.getvalue().split()))
    for text in shown[-2:]:
        assert text.count("R14: a reason") == 20, "a text that is too long goes on in the next line"
    assert shown[-2].count("26–29") == 8, "the cells of a battery are whole"


def test_three_lenses_a_table() -> None:
    run = lm.load(OUTPUTS / "fact-prism")
    tables = {("pure", lens): run.pure() for lens in ("norm", "final", "raw", "tuned")}
    tables["pure", "final"] = [row for row in run.pure() if row.layer < 6]
    shown = terminal.lens_tables(replace(run, tables=tables))
    heads = [[str(column.header) for column in table.columns] for table in shown]
    assert heads == [
        ["layer", *("norm", "p", "rank"), *("final", "p", "rank"), *("raw", "p", "rank")],
        ["layer", "tuned", "p", "rank"],
    ]
    assert [table.row_count for table in shown] == [7, 7]
    last = [str(list(column.cells)[-1]) for column in shown[0].columns]
    assert last == ["6", *("␣Berlin", "0.9364", "1"), *("-", "-", "-"), *("␣Berlin", "0.9364", "1")]


def test_a_run_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["show", "--json", str(OUTPUTS / "layernorm-prism")]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    run = lm.load(OUTPUTS / "layernorm-prism")
    assert list(shown) == ["name", "model_id", "folder", "milestones", "warnings"]
    assert (shown["name"], shown["model_id"]) == ("LayerNorm-prism", "tiny/LayerNorm-prism")
    assert list(shown["milestones"]) == ["norm", "prism"]
    assert shown["milestones"]["norm"]["pos/orig"] == dict(run.milestones)
    assert list(shown["milestones"]["prism"]) == ["pos/orig", "pos/no_filler", "ctl/orig"]
    assert [text.partition(":")[0] for text in shown["warnings"]] == ["R1"]


def test_several_runs_side_by_side(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    monkeypatch.chdir(ROOT / "golden")
    cases = ("outputs/fact", "outputs/layernorm-parallel", "corrected/layernorm-parallel")
    lines = shown(capsys, monkeypatch, *map(Path, cases))
    assert [line.rstrip() for line in lines] == snapshot
    assert sum(line.startswith(("   0%", "  50%", " 100%")) for line in lines) == 6, (
        "two tables beside each other"
    )


def test_hostile_texts_in_the_terminal(
    hostile: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = "\n".join(shown(capsys, monkeypatch, hostile))
    assert "<img src=x onerror=alert(1)>" in out
    assert not {"\x1b", "\u202e", "\r", "\0", "\u200b"} & set(out)


def test_what_the_document_shows_of_the_defects() -> None:
    shown = {
        name: [w[:3] for w in facts.warnings(lm.load(OUTPUTS / name))]
        for name in ("fact", "layernorm-prism", "bf16")
    }
    assert shown == {"fact": [], "layernorm-prism": ["R1:"], "bf16": []}
    run = lm.load(OUTPUTS / "fact")
    last = run.document["diagnostics"]["last_layer_consistency"]
    last |= {"warn_high_last_layer_kl": True, "kl_to_final_bits": 1.012}
    assert next(iter(facts.warnings(run))).startswith(
        "R3: the last layer is 1.01 bits from the model's own output"
    )
    assert list(facts.warnings(lm.load(CORRECTED / "layernorm-prism"))) == []


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read_page(text: str) -> tuple[Tags, dict[str, dict[str, Any]]]:
    tags = Tags()
    tags.feed(text)
    return tags, json.loads(next(t for t in tags.texts if t.startswith('{"')))


def tokens_of(run: Run) -> list[str]:
    """Every token of the records of a run, once."""
    rows = [row for lens in run.lenses for row in run.records(lens)]
    return list(dict.fromkeys(t for row in rows for t in (row.token, *(t for t, _ in row.top))))


def data_block(text: str) -> str:
    """What stands between the tags of the page's data."""
    before, after = text.split('<script type="application/json" id="figures">')
    assert "plotly.js v" in before
    return after.split("</script>")[0]


def test_no_text_of_a_run_becomes_markup(hostile: Path) -> None:
    run = lm.load(hostile)
    text = page([run], tokens_of(run))
    tags, _ = read_page(text)
    names = [tag for tag, _ in tags.elements]
    assert names.count("script") == 3
    assert not {"img", "a"} & set(names)
    assert not [
        key for _, attributes in tags.elements for key in attributes if key.startswith("on")
    ]
    assert not [
        value
        for _, attributes in tags.elements
        for value in attributes.values()
        if "http" in (value or "")
    ]
    assert text.count("* plotly.js v") == 1
    assert "R1: <img src=x onerror=alert(1)>" in "".join(tags.texts)


def test_the_page_has_the_tags_of_its_template_alone(hostile: Path) -> None:
    """A run of the same shape with texts that do no harm has the same tags and names of attributes."""
    run, document = lm.load(hostile), lm.load(CORRECTED / "fact-prism").document

    def calmed(row: Any) -> Any:
        return replace(row, token="a", top=tuple(("b", p) for _, p in row.top))

    manifest = {"warnings": ["R1: a"], "options": {"a": "b"}, "versions": {"torch": "c"}}
    tables = {
        key: rows if key[0] == "agreement" else list(map(calmed, rows))
        for key, rows in run.tables.items()
    }
    calm = replace(run, name="a", tables=tables, document=document, manifest=manifest)
    kinds = [
        {(tag, *attributes) for tag, attributes in read_page(page([one]))[0].elements}
        for one in (run, calm)
    ]
    assert kinds[0] == kinds[1]


def test_tokens_reach_the_page_as_escaped_json(hostile: Path) -> None:
    """No character of a token ends the data block, or begins anything within it; and none is lost."""
    run = lm.load(hostile)
    data = data_block(page([run], tokens_of(run)))
    assert not set("<>&'\u2028\u2029") & set(data)
    assert set(json.loads(data)["heatmap0"]["tokens"]) == set(map(legible, tokens_of(run)))


def test_outside_the_data_block_a_token_is_escaped_html(hostile: Path) -> None:
    run = lm.load(hostile)
    harmful = [token for token in tokens_of(run) if "<" in token]
    assert len(harmful) == 4
    before = page([run], harmful).split("<script>")[0]
    for token in harmful:
        assert legible(token) not in before
        assert str(escape(legible(token))) in before, "it is tracked"


def a_model_of_8b() -> Run:
    """A run of the shape of an 8B model: 32 blocks, three lenses, 17 positions, three passes, 20 tokens a list."""
    run = lm.load(CORRECTED / "fact-prism")
    draw = np.random.default_rng(8)
    words = [f"▁word{i}" for i in range(3000)]

    def listed() -> tuple[tuple[str, float], ...]:
        tokens = draw.integers(0, len(words), 20)
        return tuple((words[i], p) for i, p in zip(tokens, draw.random(20) / 20, strict=True))

    def deep(rows: Sequence[Any]) -> list[Any]:
        return [
            replace(row, layer=layer, top=listed(), entropy=draw.random(), rest_mass=draw.random())
            for row in rows
            if row.layer == 0
            for layer in range(33)
        ]

    lenses = ("norm", "final", "tuned")
    tables = {("pure", lens): deep(run.pure()) for lens in lenses}
    return replace(run, tables=tables | {("records", lens): deep(run.records()) for lens in lenses})


def test_ten_models_of_8b_take_eight_megabytes() -> None:
    """Beside plotly's code, by a bound on the page of one."""
    run = a_model_of_8b()
    assert len(run.records("tuned")) == 33 * 17
    assert len(run.pure("tuned")) == 33 * 3
    assert {len(row.top) for row in run.records("tuned")} == {20}
    assert len(page([run]).encode()) - len(get_plotlyjs().encode()) <= 8_000_000 / 10


def decode(column: dict[str, str]) -> list[Any]:
    """The numbers of a typed array; None where there is none."""
    numbers = np.frombuffer(base64.b64decode(column["bdata"]), dtype=f"<{column['dtype']}")
    return [None if np.isnan(number) else number.item() for number in numbers]


def rows_of(content: dict[str, Any], part: dict[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
    """The rows of a pass in a heatmap by layer and position."""
    columns = {name: decode(part[name]) for name in part if "dtype" in part[name]}
    tokens, rows, first = content["tokens"], {}, 0
    for i, place in enumerate(zip(columns["layer"], columns["pos"], strict=True)):
        end = first + columns["count"][i]
        top = zip(columns["top"][first:end], columns["p"][first:end], strict=True)
        rows[place] = {
            "token": tokens[columns["token"][i]],
            "entropy": columns["entropy"][i],
            "rest_mass": columns["rest"][i],
            "top": [(tokens[token], p) for token, p in top],
        }
        first = end
    return rows


def test_the_heatmap_has_every_row_under_every_choice() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    content = heatmap.heatmap(run, [*run.lenses, "tuned"])
    assert [part["show"]["lens"] for part in content["parts"]] == [
        ["norm", "all lenses"],
        ["final"],
        ["raw"],
        ["prism"],
    ]
    assert len(set(content["tokens"])) == len(content["tokens"])
    for part, lens in zip(content["parts"], run.lenses, strict=True):
        rows = {(row.layer, row.pos): row for row in run.records(lens)}
        assert len(rows) == 7 * 17
        drawn = rows_of(content, part)
        assert drawn.keys() == rows.keys()
        for place, row in rows.items():
            assert drawn[place]["token"] == legible(row.token)
            assert drawn[place]["entropy"] == np.float32(row.entropy)
            assert drawn[place]["rest_mass"] == np.float32(row.rest_mass)
            assert drawn[place]["top"] == [(legible(t), np.float32(p)) for t, p in row.top]
    assert [note["text"] for note in content["notes"]] == ["no records under the tuned lens"]


@pytest.mark.parametrize(("case", "first"), [("fact", 1), ("fact-prism", 1)])
def test_layers_with_the_last_position_alone_say_so(case: str, first: int) -> None:
    run = lm.load(OUTPUTS / case)
    notes = [note["text"] for note in heatmap.heatmap(run, run.lenses)["notes"]]
    assert notes == [f"layers {first} to 6: the run has rows of the last position only"] * len(
        run.lenses
    )


def test_curves_of_every_pass_and_lens() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    drawn = figures.curves([run])["curves"]
    columns = list(curves.PANELS)
    for lens in run.lenses:
        mine = [one for one in drawn if one["show"]["lens"] == [lens]]
        assert [one["name"] for one in mine] == [*run.passes(lens), curves.MEAN]
        for one, rows in zip(mine, run.passes(lens).values(), strict=False):
            margins = any(row.control_margin is not None for row in rows)
            assert len(one["y"]) == 5 + margins
            assert decode(one["x"]) == list(range(7))
            for panel, column in one["y"].items():
                expected = [getattr(row, columns[panel]) for row in rows]
                assert decode(column) == [None if v is None else np.float32(v) for v in expected]
    marks = [m["name"] for one in drawn for m in one["marks"] if one["show"]["lens"] == ["norm"]]
    assert marks == ["copy at 1", "rank ≤ 10 at 3", "semantic, KL ≤ 1 at 4"]
    both = [one for one in drawn if one["show"]["lens"] == [curves.ALL]]
    assert {one["name"] for one in both} == {"norm", "final", "raw", "prism"}


def test_several_runs_are_overlaid_by_depth() -> None:
    runs = [lm.load(OUTPUTS / "deep-tied"), lm.load(OUTPUTS / "fact")]
    drawn = figures.curves(runs)["curves"]
    assert {decode(one["x"])[-1] for one in drawn} == {100}
    assert {len(decode(one["x"])) for one in drawn} == {13, 7}
    assert {one["name"].split(",")[0]: one["colour"] for one in drawn} == dict(
        zip(("deep-tied", "Fact"), curves.COLOURS[:2], strict=True)
    )


def test_the_mean_of_the_passes() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    mean = next(one for one in curves.lines([run]) if one.name == curves.MEAN)
    rows = [rows[3] for rows in run.passes().values()]
    entropies, ranks = [r.entropy for r in rows], [float(r.answer_rank or 0) for r in rows]
    assert mean.values["entropy"][3] == pytest.approx(sum(entropies) / 3)
    assert mean.values["answer_rank"][3] == pytest.approx(float(np.prod(ranks)) ** (1 / 3))


def test_changes_are_differences_of_the_logged_values() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    rows = run.passes()["pos/orig"]
    zero = [replace(row, p_answer=0.0) if row.layer == 2 else row for row in rows]
    odd = replace(run, tables={("pure", "norm"): zero})
    one = next(curves.changes(curves.lines([odd])))
    p = [row.p_answer or 0 for row in rows]
    assert one.values["p_answer"][:4] == [None, pytest.approx(np.log2(p[1] / p[0])), None, None]
    assert one.values["p_answer"][4:] == pytest.approx(list(np.diff(np.log2(p))[3:]))
    assert one.values["entropy"][1:] == pytest.approx(list(np.diff([r.entropy for r in rows])))
    missing = replace(run, tables={("pure", "norm"): [row for row in rows if row.layer != 2]})
    assert next(curves.changes(curves.lines([missing]))).values["entropy"][2] is None


def test_tokens_that_peak_in_mid_stack() -> None:
    """A token is best at an inner layer, and the last layer's first is another."""
    tops = [
        (("first", 0.9), ("rising", 0.1)),
        (("middle", 0.6), ("rising", 0.2)),
        (("rising", 0.5), ("winner", 0.3)),
        (("winner", 0.7), ("rising", 0.2), ("late", 0.1)),
    ]
    run = lm.load(OUTPUTS / "fact")
    rows = [replace(run.pure()[i], top=top) for i, top in enumerate(tops)]
    peaks = listed.peaks([replace(run, tables={("pure", "norm"): rows})])
    assert [(one.token, one.best, one.last) for one in peaks] == [
        ("middle", 1, None),
        ("rising", 2, 0.2),
    ]
    curve = listed.token_curves([run], peaks)[0]
    assert curve.values["p"] == [None, 0.6, None, None], "layers without it are gaps"


def test_tokens_of_one_run_have_a_colour_each_and_a_dash_a_pass() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    drawn = listed.token_curves([run], tracked := listed.tracked([run], ["Berlin", "simply"]))
    looks = {(one.lens, one.token): set[str]() for one in tracked}
    dashes = {one.name: set[str]() for one in tracked}
    for one, curve in zip(tracked, drawn, strict=True):
        looks[one.lens, one.token].add(curve.colour)
        dashes[one.name].add(curve.dash)
    assert all(len(colours) == 1 for colours in looks.values())
    assert [*dashes.values()] == [{"solid"}, {"dot"}, {"dash"}]
    for lens in run.lenses:
        own = [colours.copy().pop() for (of, _), colours in looks.items() if of == lens]
        assert len(set(own)) == len(own)


def test_tracked_tokens() -> None:
    run = lm.load(OUTPUTS / "fact")
    tracked = listed.tracked([run], ["Berlin", "absent"])
    assert {one.token for one in tracked} == {" Berlin", "Berlin"}
    whole = [dict(row.top).get(" Berlin") for row in run.passes()["pos/orig"]]
    one = next(one for one in tracked if (one.name, one.token) == ("pos/orig", " Berlin"))
    shown = [one.p.get(layer) for layer in one.layers]
    assert [p for p in whole if p is not None] == [
        p for p, q in zip(shown, whole, strict=True) if q is not None
    ]
    text = "".join(read_page(page([run], ["Berlin", "absent"]))[0].texts)
    assert "No list of the runs has “absent”." in text
    assert "a gap is a layer whose list lacks the token" in text


def test_warnings_stand_at_the_curves_that_they_concern() -> None:
    run = lm.load(CORRECTED / "fact")
    proof = {"holds": False, "kl_bits": 0.5, "bound_bits": 1e-6}
    texts = ["R14: another token", "R15: pos/orig: the gold ids", "something else"]
    text = page([replace(run, manifest={"warnings": texts, "last_layer_proof": proof})])
    _, drawn = read_page(text)
    assert "Concerns every panel." in text, "in a sentence, not in the title of each"
    warned = dict(zip(curves.PANELS, drawn["curves"]["warned"], strict=True))
    ids = {column: [one["defect"] for one in of_panel] for column, of_panel in warned.items()}
    assert ids["entropy"] == []
    assert ids["p_answer"] == ids["answer_rank"] == ids["control_margin"] == ["R15"]
    assert ids["kl_to_final_bits"] == ids["cos_to_final"] == ["last layer"]


def test_agreement_and_further_tables() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    rows = [{"layer": i, "text": "<b>"} for i in range(50)]
    more = replace(run, tables={**run.tables, ("odd", "norm"): rows})
    tags, drawn = read_page(page([more]))
    expected = [r for r in run.rows("agreement") if (r.lens, r.against) == ("norm", "final")]
    first = drawn["agreement"]["curves"][0]
    assert first["name"] == "norm, final, pos/orig"
    assert decode(first["y"]["2"]) == [np.float32(r.tv) for r in expected[:7]]
    text = " ".join(tags.texts)
    assert text.count("<b>") == 40
    assert "… and 10 more rows in the file." in text


def test_a_run_of_prompts_of_one_s_own(own_run: Run) -> None:
    tags, drawn = read_page(page([own_run]))
    assert {tuple(part["show"]["prompt"]) for part in drawn["heatmap0"]["parts"]} == {
        ("be/orig",),
        ("two/orig",),
    }
    panels = [len(curve["y"]) for curve in drawn["raw"]["curves"]]
    assert sum(panels) == 2 * 5
    assert "answers" in "".join(tags.texts)


def test_a_choice_that_a_trace_needs_is_offered() -> None:
    """Of one lens alone there is no choice of all lenses, and what belongs to it is never seen."""
    for case, lenses in (
        (OUTPUTS / "fact", ["norm"]),
        (CORRECTED / "fact", ["norm", "final", "raw", curves.ALL]),
    ):
        tags, drawn = read_page(page([run := lm.load(case)]))
        offered = choices([run])
        assert offered["lens"] == lenses
        assert [dict(a)["name"] for tag, a in tags.elements if tag == "select"] == list(offered)
        boxes = {str(a["name"]) for tag, a in tags.elements if a.get("type") == "checkbox"}
        for figure in drawn.values():
            for part in (
                *figure.get("curves", ()),
                *figure.get("parts", ()),
                *figure.get("notes", ()),
            ):
                assert set(part["show"]) <= set(offered) | boxes
                lenses_of = set(part["show"].get("lens", [])) - {"model"}
                assert lenses_of <= {curves.ALL, *lenses}


def test_a_panel_without_values_says_so() -> None:
    drawn = figures.curves([lm.load(OUTPUTS / "dropped-answer")])
    assert [panel["title"] for panel in drawn["panels"] if panel["empty"]] == [
        *("rank of the answer", "p(answer)", "control margin")
    ]


def test_raw_off_is_shown() -> None:
    tags, drawn = read_page(page([lm.load(OUTPUTS / "raw-off")]))
    assert "raw" not in drawn
    assert any("pos/orig: not checked (raw lens off)" in text for text in tags.texts)


def test_a_report_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.html"
    assert (
        command_line.main(
            ["report", str(OUTPUTS / "fact"), str(OUTPUTS / "deep-tied"), "-o", str(out)]
        )
        == 0
    )
    megabytes = out.stat().st_size / 1e6
    assert capsys.readouterr().out == f"{out} ({megabytes:.1f} MB)\n"
    assert out.read_text(encoding="utf-8").endswith("</html>")
    assert os.listdir(tmp_path) == ["r.html"]


def test_every_run_of_a_directory_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in ("fact", "byte-bpe"):
        shutil.copytree(OUTPUTS / case, tmp_path, dirs_exist_ok=True)
    assert command_line.main(["show", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["Fact", "byte-bpe"]


@pytest.mark.parametrize("command", ["show", "report"])
def test_what_cannot_be_read_or_written_is_one_clear_error(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "r.html")] if command == "report" else []
    for folder, message in (
        (tmp_path, "holds no run"),
        (tmp_path / "none", "No such file or directory"),
    ):
        assert command_line.main([command, str(OUTPUTS / "fact"), str(folder), *out]) == 1
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
    with pytest.raises(SystemExit) as stopped:
        command_line.main([command])
    assert stopped.value.code == 2
    if out:
        assert (
            command_line.main(
                [command, str(OUTPUTS / "fact"), "-o", str(tmp_path / "no" / "r.html")]
            )
            == 1
        )
        assert f"cannot write {tmp_path}/no/r.html: No such file" in capsys.readouterr().err
        assert command_line.main([command, str(OUTPUTS / "fact"), "-o", str(tmp_path)]) == 1
        assert "cannot write" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_show_loads_no_model_code() -> None:
    code = (
        "import sys; from lenses_min import cli; cli.main(sys.argv[1:]); "
        "print({'torch', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "show", str(OUTPUTS / "fact")]
    completed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert completed.stdout.endswith("set()\n")


def test_a_run_in_a_notebook(hostile: Path) -> None:
    run = lm.load(hostile)
    html = run._repr_html_()
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.elements} <= {"pre", "span"}
    text = "".join(tags.texts)
    assert "L_semantic = 4" in text
    assert all(terminal.token(row, 10).plain in text for row in run.passes()["pos/orig"])


def test_a_last_layer_that_is_not_the_model_s_is_a_concern_with_or_without_a_bound() -> None:
    run = lm.load(CORRECTED / "fact")
    known: dict[str, Any] = {"holds": False, "kl_bits": 0.5}
    texts = [
        [one.text for one in concerns(replace(run, manifest={"last_layer_proof": proof}))]
        for proof in (known, known | {"bound_bits": 0.25}, known | {"holds": True})
    ]
    without = "the last layer is 0.5 bits from the model's own output"
    assert texts == [[without], [f"{without}, where rounding accounts for 0.25 bits"], []]


def test_warnings_of_one_run_need_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    run = replace(lm.load(OUTPUTS / "fact"), manifest={"warnings": ["R1: a"]})
    terminal.show([run])
    assert "\nwarnings:\n" in capsys.readouterr().out
    terminal.show([run, replace(run, name="b")])
    assert "\nwarnings of " in capsys.readouterr().out


def test_cells_of_further_tables() -> None:
    assert list(map(further.shown, (None, 0, "", 1 / 3, 12345678.0))) == [
        "",
        0,
        "",
        "0.333333",
        "1.23457e+07",
    ]
