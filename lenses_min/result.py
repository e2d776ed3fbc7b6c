"""The run as a person holds it: typed rows, pandas frames, and the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from .files import COLUMNS, cells, csv_text, json_text, plain, staged, table_name, write_text
from .milestones import milestones
from .options import RunOptions
from .rows import PassResult, PureRow, RecordRow


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
        return [row for result in self.passes for row in result.records.get(lens, [])]

    def pure(self, lens: str = "norm") -> list[PureRow]:
        """Rows of the pure-next-token file of a lens, pass after pass."""
        return [row for result in self.passes for row in result.pure[lens]]

    def rows(self, table: str, lens: str = "norm") -> list[Any]:
        """Rows of `records` or `pure` of a lens, of `agreement` of all lenses, or of whole `answers`."""
        whole = {"agreement": "divergences", "answers": "whole_answers"}
        if table in whole:
            return [row for result in self.passes for row in getattr(result, whole[table])]
        if table not in COLUMNS or lens not in self.lenses:
            raise KeyError(f"no table {table!r} of lens {lens!r}; tables: {', '.join(COLUMNS)}; lenses: {self.lenses}")
        return list(self.records(lens) if table == "records" else self.pure(lens))

    def frame(self, table: str = "pure", lens: str = "norm") -> pd.DataFrame:
        """A table of `rows` with the columns of its file; a corrected one as pandas reads its file."""
        columns = COLUMNS.get(table, [])
        lines = [cells(row, columns) for row in self.rows(table, lens)]
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
            tables = [(table, lens) for lens in self.lenses for table in ("records", "pure")]
            extended, own = self.options.extended, bool(self.options.prompts)
            tables += [("agreement", "norm")] * extended + [("answers", "norm")] * own
            for table, lens in tables:
                text = csv_text(self.rows(table, lens), COLUMNS[table], corrected)
                write_text(stage / table_name(clean, table, lens), text)
            residuals = next((result.residuals for result in self.passes if result.residuals), {})
            for layer, residual in residuals.items():
                torch.save(residual, stage / f"{clean}_{layer:02d}_resid.pt")
            write_text(stage / f"output-{clean}.json", json_text(self.document))
            write_text(stage / f"run-{clean}.manifest.json", json_text(self.manifest) + "\n")
            names = sorted((path.name for path in stage.iterdir()), key=lambda name: (name.startswith("run-"), name))
        return [folder / name for name in names]
