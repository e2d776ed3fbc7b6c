"""The result of a run: typed rows, pandas frames, and the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.milestones import milestones
from ..core.rows import PureRow, RecordRow, by_pass, pass_name
from ..options import CSV, PARQUET, Contract, RunOptions, contract_of
from . import parquet
from .csv_text import csv_text, plain
from .decisions import Thresholds
from .firmness import Firmness, firmness
from .store import (
    COLUMNS,
    cells,
    file_names,
    json_text,
    staged,
    table_name,
    write_bytes,
    write_text,
)
from .tables import Source

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Run:
    """One run of one model, just made or read back from its files.

    `name` is the model's in file names; `tables` are the rows by table and lens. A table that is no lens's, as
    `agreement`, stands under norm; a further table of run.py by the end of its file's name, as `milestones` and
    `pure-next-token-rawlens`, with mappings from column to value as rows. `document` is its JSON and `manifest` how it
    came about, empty where run.py wrote none. `residuals` are normalised, `[1, S, D]` by layer; `folder` is where the
    run was read from, or is saved to. `sources` are the tables as they were read, none where the run is a new one;
    `table_format` is csv or parquet.
    """

    name: str
    tables: Mapping[tuple[str, str], Sequence[Any]]
    document: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    residuals: Mapping[int, Any] = field(default_factory=dict)
    folder: str = "run-latest"
    sources: Mapping[tuple[str, str], Source] = field(default_factory=dict)
    table_format: str = CSV

    @property
    def model_id(self) -> str:
        return str(block(self.document, "diagnostics").get("model", self.name))

    @property
    def rules(self) -> Contract:
        """What the run did by its contract."""
        return contract_of(self.document)

    @property
    def lenses(self) -> list[str]:
        return [lens for table, lens in self.tables if table == "pure"]

    def records(self, lens: str = "norm") -> list[RecordRow]:
        """Rows of the records file of a lens."""
        return self.rows("records", lens)

    def pure(self, lens: str = "norm") -> list[PureRow]:
        """Rows of the pure-next-token file of a lens, pass after pass."""
        return self.rows("pure", lens)

    def rows(self, table: str, lens: str = "norm") -> list[Any]:
        """Rows of `records` or `pure` of a lens, or of a table that is no lens's; raises KeyError for any other.

        Rows of a further table of run.py are mappings from column to value, absent values None.
        """
        rows = self.tables.get(self.key(table, lens))
        if rows is None and (table not in COLUMNS or lens not in self.lenses):
            tables = ", ".join(dict.fromkeys(name for name, _ in self.tables))
            raise KeyError(
                f"no table {table!r} of lens {lens!r}; tables: {tables}; lenses: {self.lenses}"
            )
        return list(rows or [])

    def key(self, table: str, lens: str) -> tuple[str, str]:
        """Where a table stands in `tables`: one that is no lens's, under norm."""
        return table, lens if table in ("records", "pure") else "norm"

    def columns(self, table: str = "pure", lens: str = "norm") -> list[str]:
        """The columns of a table's file in their order, as read; those of the contract where it was not read."""
        source = self.sources.get(self.key(table, lens))
        if source is not None:
            return list(source.columns)
        if table in COLUMNS:
            return COLUMNS[table]
        return list(dict.fromkeys(column for row in self.rows(table, lens) for column in row))

    def frame(self, table: str = "pure", lens: str = "norm") -> "pandas.DataFrame":
        """A table of `rows` with all the columns of its file; a corrected one as pandas reads its file of CSV.

        A column that no row has a field for holds flags, whole numbers or numbers where all its cells are such, else
        texts; a cell beyond the header is in the column `#i`, i its number from 1. Absent values are None or NaN.
        """
        import pandas

        rows = self.rows(table, lens)
        columns = self.columns(table, lens)
        lines = [cells(row, columns) for row in rows]
        quoted = self.rules.standard_csv and self.table_format == CSV
        shown = [list(map(plain, line)) for line in lines] if quoted else lines
        return pandas.DataFrame(shown, columns=columns)

    def passes(self, lens: str = "norm") -> dict[str, list[PureRow]]:
        """The rows of `pure` by pass, in the order in which they ran.

        A pass is named `prompt_id/prompt_variant`, behind `fact_key/` where the run names a fact. The one pass of the
        runs that name none, up to August 2025, is `pos/orig`, as its prompt is named in later ones.
        """
        return by_pass(self.pure(lens))

    @property
    def prompts(self) -> dict[str, tuple[str, str]]:
        """Text and right answer by pass, as far as the document has them."""
        entries = {
            pass_name(b.get("prompt_id"), b.get("prompt_variant")): b
            for b in blocks(self.document, "passes")
        }
        if not entries:
            main, control = block(self.document, "prompt"), block(self.document, "control_prompt")
            answer = {"gold_answer": {"string": main.get("ground_truth", "")}}
            entries = {pass_name(None, None, main.get("fact_key") or None): main | answer}
            entries |= {"ctl/orig": control} if control else {}
        return {
            name: (str(b.get("context_prompt", "")), str(block(b, "gold_answer").get("string", "")))
            for name, b in entries.items()
        }

    @property
    def milestones(self) -> dict[str, int | None]:
        """First layers of the first prompt under the norm lens."""
        return milestones(next(iter(self.passes().values()), []))

    @property
    def firmness(self) -> dict[str, Firmness]:
        """How firm each of `milestones` is: margins, the layers of moved thresholds, and whether rounding moves it."""
        return self.firmness_of()

    def firmness_of(self, lens: str = "norm", name: str = "") -> dict[str, Firmness]:
        """How firm the milestones of a pass under a lens are, of the first pass where none is named.

        Raises KeyError where the lens has no pass of that name.
        """
        passes = self.passes(lens)
        name = name or next(iter(passes), "")
        rows = passes[name] if name else []
        return firmness(rows, self.prompts.get(name, ("", ""))[0], self.thresholds)

    @property
    def thresholds(self) -> Thresholds:
        """What the run decided by, from its manifest; where it has none, as far as its document has it.

        The lead of a copy is then the default, and the dtype float32, or bfloat16 where the model computed in half
        precision: the document does not say in which.
        """
        diagnostics, options = block(self.document, "diagnostics"), block(self.manifest, "options")
        copy: Any = diagnostics.get("copy_thresh")
        half = diagnostics.get("use_fp32_unembed")
        known = ("bfloat16" if half else "float32") if type(half) is bool else ""
        return Thresholds(
            copy=float(copy if type(copy) in (int, float) else RunOptions.copy_threshold),
            copy_lead=float(options.get("copy_margin", RunOptions.copy_margin)),
            dtype=str(self.manifest.get("dtype", known)),
        )

    def _repr_html_(self) -> str:
        """The run in a notebook, as `lenses-min show` prints it."""
        from ..report.terminal import as_html

        return as_html(self)

    def save(self, out_dir: str | Path | None = None) -> list[Path]:
        """Write every file of the run, all or none; returns their paths, the manifest last."""
        folder = Path(out_dir or self.folder)
        with staged(folder, self.name) as stage:
            self.write_tables(stage)
            write_text(stage / f"output-{self.name}.json", json_text(self.document))
            if self.manifest:
                write_text(
                    stage / f"run-{self.name}.manifest.json", json_text(self.manifest) + "\n"
                )
            names = file_names(stage)
        return [folder / name for name in names]

    def write_tables(self, folder: Path) -> None:
        """Write the tables and residuals, one by one."""
        for table, lens in self.tables:
            path = folder / table_name(self.name, table, lens, self.table_format)
            if self.table_format == PARQUET:
                columns = self.columns(table, lens)
                parquet.write(path, table, self.tables[table, lens], columns)
            else:
                write_text(path, self.text(table, lens))
        for layer, residual in self.residuals.items():
            write_bytes(folder / f"{self.name}_{layer:02d}_resid.pt", saved(residual))

    def text(self, table: str, lens: str) -> str:
        """A table as CSV: as it was read, where its rows are still those, else in the run's dialect."""
        rows, source = self.tables[table, lens], self.sources.get((table, lens))
        if source and source.text and list(rows) == list(source.rows):
            return source.text
        return csv_text(rows, self.columns(table, lens), self.rules.standard_csv)


def block(document: Any, *path: str) -> dict[str, Any]:
    """The object that stands in a document under some keys; empty where there is none, or something else."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def blocks(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list that stands in a document; empty where there is none, or something else."""
    entries = document.get(key)
    return (
        [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )


def saved(tensor: Any) -> bytes:
    """The bytes that torch saves of a tensor; torch itself does not distinguish a full disk from other faults."""
    import torch

    torch.save(tensor, stream := BytesIO())
    return stream.getvalue()
