"""Runs → one HTML page that opens offline: jinja escapes every text, plotly draws, and nothing is fetched."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from ..output.run import Run, block
from .battery import bands, tags_of
from .battery_lines import milestone_lines
from .escape import plain
from .facts import bits, computed_on, is_number, labels, milestone_cells, raw_checks, warnings
from .figures import ALL, curves, raw_against_norm
from .heatmap import COLOURS, heatmap

HERE = Path(__file__).parent


def page(runs: Sequence[Run]) -> str:
    """The whole page of some runs; it holds plotly's code once."""
    pages = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, finalize=shown
    )
    names, lenses = labels(runs), list(dict.fromkeys(lens for run in runs for lens in run.lenses))
    offered = choices(runs, lenses)
    figures = {"curves": curves(runs), "raw": raw_against_norm(runs)}
    figures |= {
        f"heatmap{i}": heatmap(run, lenses, offered["prompt"]) for i, run in enumerate(runs)
    }
    figures |= {f"battery{i}": bands(run) for i, run in enumerate(runs)}
    plotly, code = get_plotlyjs(), (HERE / "page.js").read_text(encoding="utf-8")
    return pages.get_template("page.html").render(
        title=f"Lens report: {names[0] if len(runs) == 1 else f'{len(runs)} models'}",
        runs=[
            about(run, name)
            | {"heatmap": f"heatmap{i}", "bands": f"battery{i}", "battery": milestone_lines(run)}
            for i, (run, name) in enumerate(zip(runs, names, strict=True))
        ],
        milestones=[
            {
                "label": name,
                "lens": lens,
                "layers": milestone_cells(run, lens),
            }
            for run, name in zip(runs, names, strict=True)
            for lens in run.lenses
        ],
        choices=offered,
        raw=[line for run, name in zip(runs, names, strict=True) for line in raw_lines(run, name)],
        figures={name: figure.to_plotly_json() for name, figure in figures.items() if figure},
        hashes=" ".join(map(digest, (plotly, code))),
        plotly=plotly,
        code=code,
    )


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
        "warnings": list(warnings(run)),
        "details": details,
        "prompts": run.prompts,
    }


def choices(runs: Sequence[Run], lenses: Sequence[str]) -> dict[str, list[str]]:
    """The selects of the page and their values, the first of them chosen."""
    prompts = list(dict.fromkeys(plain(row.pass_name) for run in runs for row in run.records()))
    return {
        "lens": [*lenses, ALL] if len(lenses) > 1 else list(lenses),
        "prompt": prompts,
        "colour": list(COLOURS),
    } | ({"group": groups} if (groups := tags_of(runs)) else {})


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
