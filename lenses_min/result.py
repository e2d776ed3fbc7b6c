"""The run as a person holds it: typed rows, pandas frames, and the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .files import PURE_COLUMNS, RECORD_COLUMNS, cells, csv_text, json_text, output_names, plain, staged, write_text
from .milestones import milestones
from .options import RunOptions
from .types import PassResult, PureRow, RecordRow


@dataclass(frozen=True)
class Run:
    """One run of one model; `document` is its JSON, `manifest` how it came about."""

    options: RunOptions
    passes: Sequence[PassResult]
    document: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def lenses(self) -> list[str]:
        return list(self.passes[0].pure)

    def records(self, lens: str = "norm") -> list[RecordRow]:
        """Rows of the records file of a lens."""
        return self.passes[0].records[lens]

    def pure(self, lens: str = "norm") -> list[PureRow]:
        """Rows of the pure-next-token file of a lens, pass after pass."""
        return [row for result in self.passes for row in result.pure[lens]]

    def frame(self, table: str = "pure", lens: str = "norm") -> pd.DataFrame:
        """`records` or `pure` of a lens with the contract's columns; a corrected one as pandas reads its file."""
        if table not in ("records", "pure") or lens not in self.lenses:
            raise KeyError(f"no table {table!r} of lens {lens!r}; tables: records, pure; lenses: {self.lenses}")
        columns = RECORD_COLUMNS if table == "records" else PURE_COLUMNS
        lines = [cells(row, columns) for row in (self.records(lens) if table == "records" else self.pure(lens))]
        shown = [list(map(plain, line)) for line in lines] if self.options.corrected else lines
        return pd.DataFrame(shown, columns=columns)

    @property
    def milestones(self) -> dict[str, int | None]:
        """First layers of the first prompt under the norm lens."""
        return milestones(self.passes[0].pure["norm"])

    def save(self, out_dir: str | Path | None = None) -> list[Path]:
        """Write every file of the run, all or none; returns their paths, the manifest last."""
        folder, clean = Path(out_dir or self.options.out_dir), self.options.clean
        corrected = self.options.corrected
        with staged(folder, clean) as stage:
            for lens in self.lenses:
                records_name, pure_name = output_names(clean, lens)
                write_text(stage / records_name, csv_text(self.records(lens), RECORD_COLUMNS, corrected))
                write_text(stage / pure_name, csv_text(self.pure(lens), PURE_COLUMNS, corrected))
            for layer, residual in self.passes[0].residuals.items():
                torch.save(residual, stage / f"{clean}_{layer:02d}_resid.pt")
            write_text(stage / f"output-{clean}.json", json_text(self.document))
            write_text(stage / f"run-{clean}.manifest.json", json_text(self.manifest) + "\n")
            names = sorted((path.name for path in stage.iterdir()), key=lambda name: (name.startswith("run-"), name))
        return [folder / name for name in names]
