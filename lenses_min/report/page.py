"""Runs → one HTML page that opens offline: jinja escapes every text, plotly draws, and nothing is fetched."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from ..output.run import Run, block
from .agreement import DISTANCES, agreement_curves
from .battery import bands
from .battery_lines import milestone_lines
from .concerns import Concern, concerns
from .controls import choices, models, passes
from .curves import PANELS
from .escape import plain
from .facts import bits, computed_on, is_number, labels, milestone_cells, raw_checks
from .figures import curves, layer_changes, over_layers, raw_against_norm
from .heatmap import heatmap
from .listed import TITLE, Listed, peaks, token_curves, tracked
from .sections import sections
from .tables import further_tables

HERE = Path(__file__).parent
CODE = ("page.theme.js", "page.heatmap.js", "page.curves.js", "page.table.js", "page.js")


def page(runs: Sequence[Run], track: Sequence[str] = ()) -> str:
    """The whole page of some runs, with the curves of the tokens `track`; it holds plotly's code once."""
    pages = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, finalize=shown
    )
    names, warned = labels(runs), [list(concerns(run)) for run in runs]
    listed = {"peaks": peaks(runs)} | ({"tracked": tracked(runs, track)} if track else {})
    prompts = choices(runs)
    plotly = get_plotlyjs()
    code = "".join((HERE / name).read_text(encoding="utf-8") for name in CODE)
    figures = drawn(runs, warned, listed) | {
        f"heatmap{i}": heatmap(run, prompts["lens"], prompts["prompt"])
        for i, run in enumerate(runs)
    }
    figures |= {f"battery{i}": figure for i, run in enumerate(runs) if (figure := bands(run, i))}
    return pages.get_template("page.html").render(
        title=f"Lens report: {names[0] if len(runs) == 1 else f'{len(runs)} models'}",
        runs=[
            about(run, name)
            | {"heatmap": f"heatmap{i}", "show": of(i), "concerns": warned[i]}
            | {"bands": f"battery{i}", "battery": milestone_lines(run)}
            for i, (run, name) in enumerate(zip(runs, names, strict=True))
        ],
        milestones=[
            {"label": name, "lens": lens, "layers": milestone_cells(run, lens), "show": of(i)}
            for i, (run, name) in enumerate(zip(runs, names, strict=True))
            for lens in run.lenses
        ],
        choices=prompts,
        models=models(runs, warned),
        passes=passes(runs),
        listed=sections(runs, listed, track),
        raw=[
            {"line": line, "show": of(i)}
            for i, (run, name) in enumerate(zip(runs, names, strict=True))
            for line in raw_lines(run, name)
        ],
        tables=[
            table | {"label": name, "show": of(i)}
            for i, (run, name) in enumerate(zip(runs, names, strict=True))
            for table in further_tables(run)
        ],
        figures=figures,
        hashes=" ".join(map(digest, (plotly, code))),
        plotly=plotly,
        code=code,
    )


def of(model: int) -> dict[str, list[str]]:
    """The choice that shows what belongs to a run."""
    return {"model": [str(model)]}


def drawn(
    runs: Sequence[Run],
    warned: Sequence[Sequence[Concern]],
    listed: Mapping[str, Sequence[Listed]],
) -> dict[str, Any]:
    """The figures of curves by their places on the page, those without content are left out."""
    alone = len(runs) == 1
    agreeing = list(agreement_curves(runs))
    figures = {
        "curves": curves(runs),
        "changes": layer_changes(runs),
        **{
            name: over_layers(token_curves(runs, tokens), TITLE, alone) if tokens else None
            for name, tokens in listed.items()
        },
        "agreement": over_layers(agreeing, DISTANCES, alone) if agreeing else None,
        "raw": raw_against_norm(runs),
    }
    content = {name: figure for name, figure in figures.items() if figure}
    content["curves"]["warned"] = [
        [
            {"model": str(model), "defect": concern.defect}
            for model, of_run in enumerate(warned)
            for concern in of_run
            if column in concern.marked
        ]
        for column in PANELS
    ]
    return content


def shown(value: Any) -> Any:
    """Texts of runs are shown legibly; markup is the template's alone."""
    return plain(value) if type(value) in (str, int, float) else value


def digest(script: str) -> str:
    """What lets this script run, and no other that a text of a run could smuggle in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def about(run: Run, label: str) -> dict[str, Any]:
    """The texts of the page about a run."""
    stats, manifest = block(run.document, "model_stats"), run.manifest
    last = block(manifest, "last_layer_proof") or block(
        run.document, "diagnostics", "last_layer_consistency"
    )
    error = last.get("kl_bits", last.get("kl_to_final_bits"))
    line = {
        "model": run.model_id,
        "blocks": stats.get("num_layers", ""),
        "width": stats.get("d_model", ""),
        "vocabulary": stats.get("d_vocab", ""),
        "computed on": computed_on(run),
        "contract": run.rules.name,
        "lenses": ", ".join(run.lenses),
        "last layer to the model's output": bits(error, ".3g") if is_number(error) else "",
    }
    known = {
        key: manifest[key]
        for key in ("fingerprint", "seed", "finished_at", "elapsed_s")
        if key in manifest
    }
    details = (
        {
            "run": known,
            "options": block(manifest, "options"),
            "versions": block(manifest, "versions"),
        }
        if manifest
        else {}
    )
    return {
        "label": label,
        "folder": run.folder,
        "about": line,
        "details": details,
        "prompts": run.prompts,
    }


def raw_lines(run: Run, label: str) -> list[str]:
    """What the raw-lens check of every pass found, in a sentence."""
    lines = []
    for name, check in raw_checks(run).items():
        summary, layers = check["summary"], {sample["layer"] for sample in check["samples"]}
        worst, risk = (
            bits(summary.get("max_kl_norm_vs_raw_bits"), ".3g"),
            summary.get("lens_artifact_risk"),
        )
        line = (
            f"KL at most {worst} over {len(layers)} layers; risk of an artifact: {risk}."
            if layers
            else ""
        )
        lines.append(f"{label}, {name}: {line or 'not checked (raw lens off).'}")
    return lines
