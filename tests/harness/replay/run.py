"""A run.py for the tests of `spec history`: it has run.py's interface and replays the captures of golden/.

Its stages are modules beside it, each a table of expressions by column; the tests change one expression a commit.
"""

import os
from argparse import Namespace
from pathlib import Path

import document
import files
import tables

CLI_ARGS = Namespace(
    device="cpu",
    fp32_unembed=False,
    keep_residuals=False,
    copy_threshold=0.95,
    copy_margin=0.1,
    out_dir=None,
    self_test=False,
    prism="auto",
    prism_dir="prisms",
)


def run_single_model(model_id: str) -> bool:
    out = Path(CLI_ARGS.out_dir)
    name = model_id.split("/")[-1]
    captured = Path(os.environ["CAPTURES"]) / out.name
    for kind in ("pure-next-token", "records"):
        rows = files.read_table(captured / f"output-{name}-{kind}.csv")
        files.write_table(out / f"output-{name}-{kind}.csv", tables.of(kind, rows))
    content = files.read_document(captured / f"output-{name}.json")
    files.write_document(out / f"output-{name}.json", document.of(content))
    for file, text in files.FURTHER.items():
        (out / file.format(name=name)).write_text(text)
    return True
