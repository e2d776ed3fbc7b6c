"""`show`, `report` and the notebook: their content for any texts of a run, and one clear error."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

import lenses_min as lm
from lenses_min.cli import command_line
from lenses_min.output.run import Run
from lenses_min.report import facts, figures, heatmap, terminal
from lenses_min.report.page import choices, page

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
    assert max(len(line) for line in lines[3:]) <= 80


def test_lenses_side_by_side_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    lines = shown(capsys, monkeypatch, OUTPUTS / "fact-prism")
    assert [line.rstrip() for line in lines] == snapshot
    assert max(len(line) for line in lines[3:]) <= 80


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
    return tags, json.loads(next(t for t in tags.texts if t.startswith('{"curves"')))


def test_no_text_of_a_run_becomes_markup(hostile: Path) -> None:
    text = page([lm.load(hostile)])
    tags, drawn = read_page(text)
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
    for trace in [trace for figure in drawn.values() for trace in figure["data"]]:
        for value in (
            trace.get("name", ""),
            *flat(trace.get("text")),
            *flat(trace.get("hovertext")),
        ):
            assert not set("<>%$") & set(value.replace("<br>", "")), value


def flat(value: object) -> list[str]:
    return (
        [item for part in value for item in flat(part)]
        if isinstance(value, list)
        else [str(value or "")]
    )


def test_the_heatmap_has_every_row_under_every_choice() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    traces = [
        trace
        for trace in heatmap.heatmap(run, [*run.lenses, "tuned"]).data
        if trace.type == "heatmap"
    ]
    assert [trace.meta["show"]["lens"] for trace in traces] == [
        ["norm", "all lenses"],
        ["final"],
        ["raw"],
        ["prism"],
    ]
    for trace, lens in zip(traces, run.lenses, strict=True):
        rows = {(row.layer, row.pos): row for row in run.records(lens)}
        assert len(rows) == 7 * 17
        for (layer, pos), row in rows.items():
            assert trace.meta["z"]["entropy, bits"][layer][pos] == pytest.approx(
                row.entropy, rel=1e-5
            )
            assert trace.meta["z"]["p(top-1)"][layer][pos] == pytest.approx(row.top[0][1], rel=1e-5)
            assert trace.hovertext[layer][pos].count("<br>") == len(row.top) + 2
    notes = [
        t.text[0]
        for t in heatmap.heatmap(run, [*run.lenses, "tuned"]).data
        if t.hoverinfo == "skip"
    ]
    assert notes == ["no records under the tuned lens"]


@pytest.mark.parametrize(("case", "first"), [("fact", 1), ("fact-prism", 1)])
def test_layers_with_the_last_position_alone_say_so(case: str, first: int) -> None:
    run = lm.load(OUTPUTS / case)
    notes = [
        trace.text[0]
        for trace in heatmap.heatmap(run, run.lenses).data
        if trace.hoverinfo == "skip"
    ]
    assert notes == [f"layers {first} to 6: the run has rows of the last position only"] * len(
        run.lenses
    )


def test_curves_of_every_pass_and_lens() -> None:
    run = lm.load(CORRECTED / "fact-prism")
    drawn = figures.curves([run]).data
    for lens in run.lenses:
        mine = [
            t for t in drawn if t.meta["show"]["lens"] == [lens] and t.line.color in figures.COLOURS
        ]
        assert len(mine) == 3 * 5 + 1, "three passes in five panels, and the margin of the control"
        kl = [t for t in mine if t.xaxis == "x2"]
        assert [list(t.y) for t in kl] == [
            pytest.approx([row.kl_to_final_bits for row in rows], rel=1e-5)
            for rows in run.passes(lens).values()
        ]
    marks = {
        t.name
        for t in drawn
        if t.showlegend and t.line.dash == "dot" and t.meta["show"]["lens"] == ["norm"]
    }
    assert marks == {"copy at 1", "rank ≤ 10 at 3", "semantic, KL ≤ 1 at 4"}
    both = [t for t in drawn if t.meta["show"]["lens"] == [figures.ALL]]
    assert {t.name for t in both} == {"norm", "final", "raw", "prism"}


def test_several_runs_are_overlaid_by_depth() -> None:
    runs = [lm.load(OUTPUTS / "deep-tied"), lm.load(OUTPUTS / "fact")]
    drawn = [t for t in figures.curves(runs).data if t.line.dash != "dot" and t.xaxis == "x"]
    assert {max(t.x) for t in drawn} == {100}
    assert {len(t.x) for t in drawn} == {13, 7}
    assert {t.name.split(",")[0]: t.line.color for t in drawn} == dict(
        zip(("deep-tied", "Fact"), figures.COLOURS[:2], strict=True)
    )


def test_a_run_of_prompts_of_one_s_own(own_run: Run) -> None:
    _, drawn = read_page(page([own_run]))
    assert {tuple(t["meta"]["show"]["prompt"]) for t in drawn["heatmap0"]["data"]} == {
        ("be/orig",),
        ("two/orig",),
    }
    assert len(drawn["raw"]["data"]) == 2 * 5


def test_a_choice_that_a_trace_needs_is_offered() -> None:
    """Of one lens alone there is no choice of all lenses, and what belongs to it is never seen."""
    for case, lenses in (
        (OUTPUTS / "fact", ["norm"]),
        (CORRECTED / "fact", ["norm", "final", "raw", figures.ALL]),
    ):
        tags, drawn = read_page(page([run := lm.load(case)]))
        offered = choices([run], run.lenses)
        assert offered["lens"] == lenses
        assert [dict(a)["name"] for tag, a in tags.elements if tag == "select"] == list(offered)
        for trace in [trace for figure in drawn.values() for trace in figure["data"]]:
            assert set(trace.get("meta", {}).get("show", {})) <= set(offered)
            assert {figures.ALL, *lenses} >= set(
                trace.get("meta", {}).get("show", {}).get("lens", [])
            )


def test_a_panel_without_values_says_so() -> None:
    drawn = figures.curves([lm.load(OUTPUTS / "dropped-answer")])
    assert [a.text for a in drawn.layout.annotations if ":" in a.text] == [
        f"{name}: no values" for name in ("rank of the answer", "p(answer)", "control margin")
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
