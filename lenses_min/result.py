"""The run as a person holds it: typed rows, pandas frames, and the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import (
    COLUMNS,
    cells,
    csv_text,
    json_text,
    plain,
    staged,
    table_name,
    write_bytes,
    write_text,
)
from .milestones import milestones
from .rows import PureRow, RecordRow, by_pass

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Run:
    """One run of one model, just made or read back from its files.

    `name` is the model's in file names; `tables` are the rows by table and lens, those of `agreement` and `answers` of
    all lenses under norm; `document` is its JSON and `manifest` how it came about, empty where run.py wrote none.
    `residuals` are normalised, `[1, S, D]` by layer; `folder` is where the run lies, or is saved.
    """

    name: str
    tables: Mapping[tuple[str, str], Sequence[Any]]
    document: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    residuals: Mapping[int, Any] = field(default_factory=dict)
    folder: str = "run-latest"

    @property
    def model_id(self) -> str:
        return str(self.document.get("diagnostics", {}).get("model", self.name))

    @property
    def corrected(self) -> bool:
        """Whether the run keeps the corrected contract."""
        return self.document.get("contract") == "corrected"

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
        """Rows of `records` or `pure` of a lens, of `agreement` of all lenses, or of whole `answers`."""
        if table in ("agreement", "answers"):
            return list(self.tables.get((table, "norm"), []))
        if table not in COLUMNS or lens not in self.lenses:
            raise KeyError(
                f"no table {table!r} of lens {lens!r}; tables: {', '.join(COLUMNS)}; lenses: {self.lenses}"
            )
        return list(self.tables.get((table, lens), []))

    def frame(self, table: str = "pure", lens: str = "norm") -> "pandas.DataFrame":
        """A table of `rows` with the columns of its file; a corrected one as pandas reads its file."""
        import pandas

        columns = COLUMNS.get(table, [])
        lines = [cells(row, columns) for row in self.rows(table, lens)]
        shown = [list(map(plain, line)) for line in lines] if self.corrected else lines
        return pandas.DataFrame(shown, columns=columns)

    def passes(self, lens: str = "norm") -> dict[str, list[PureRow]]:
        """The rows of `pure` by pass, named `prompt_id/prompt_variant`, in the order in which they ran."""
        return by_pass(self.pure(lens))

    @property
    def prompts(self) -> dict[str, tuple[str, str]]:
        """Text and right answer by pass, as far as the document tells them."""
        if "passes" in self.document:
            blocks = {f"{b['prompt_id']}/{b['prompt_variant']}": b for b in self.document["passes"]}
        else:
            main, control = self.document.get("prompt", {}), self.document.get("control_prompt")
            blocks = {"pos/orig": main | {"gold_answer": {"string": main.get("ground_truth", "")}}}
            blocks |= {"ctl/orig": control} if control else {}
        return {
            name: (b.get("context_prompt", ""), b["gold_answer"]["string"])
            for name, b in blocks.items()
        }

    @property
    def milestones(self) -> dict[str, int | None]:
        """First layers of the first prompt under the norm lens."""
        return milestones(next(iter(self.passes().values()), []))

    def _repr_html_(self) -> str:
        """The run in a notebook, as `lenses-min show` prints it."""
        from .looking.terminal import as_html

        return as_html(self)

    def save(self, out_dir: str | Path | None = None) -> list[Path]:
        """Write every file of the run, all or none; returns their paths, the manifest last."""
        folder = Path(out_dir or self.folder)
        with staged(folder, self.name) as stage:
            for (table, lens), rows in self.tables.items():
                text = csv_text(rows, COLUMNS[table], self.corrected)
                write_text(stage / table_name(self.name, table, lens), text)
            for layer, residual in self.residuals.items():
                write_bytes(stage / f"{self.name}_{layer:02d}_resid.pt", saved(residual))
            write_text(stage / f"output-{self.name}.json", json_text(self.document))
            if self.manifest:
                write_text(
                    stage / f"run-{self.name}.manifest.json", json_text(self.manifest) + "\n"
                )
            names = sorted(
                (path.name for path in stage.iterdir()),
                key=lambda name: (name.startswith("run-"), name),
            )
        return [folder / name for name in names]


def saved(tensor: Any) -> bytes:
    """A tensor as torch saves it; torch itself does not tell a full disk from any other fault."""
    import torch

    torch.save(tensor, stream := BytesIO())
    return stream.getvalue()
