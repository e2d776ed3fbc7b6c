"""The finished segments of a run: what some passes write, whole, in a hidden folder beside the outputs.

`.<name>.segments/` holds `key.json`, all that the numbers depend on, and a folder for each segment: its tables and
residuals as a run has them, and its digest. A run that ended early, by a signal, a full disk or any other error, goes
on from there when it is started again under the same key. The files of a run come from all of its segments, and its
hidden folder goes when they are published.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import LensError
from ..model.proof import Measured
from ..options import CSV, PARQUET
from . import parquet
from .battery.numbers import Numbers, joined, read_numbers
from .digest import Digest
from .entries import Entries, json_parts
from .hidden import LOCK, segments_folder
from .run import Run
from .store import (
    encoded,
    file_names,
    json_text,
    staged,
    write_errors,
    write_parts,
    write_text,
)

KEY, DIGEST, NUMBERS = "key.json", "digest.json", "numbers.json"


@dataclass(frozen=True)
class Segments:
    """The segments of the run `name`, whose outputs go to `out_dir`."""

    out_dir: Path
    name: str

    @property
    def folder(self) -> Path:
        return segments_folder(self.out_dir, self.name)

    def place(self, number: int) -> Path:
        return self.folder / f"{number:06d}"

    def has(self, number: int) -> bool:
        return self.place(number).is_dir()

    def add(self, number: int, segment: Run, passes: Digest, numbers: Numbers) -> None:
        """Write a segment, all or nothing."""
        part = self.folder / "part"
        with write_errors(self.out_dir):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            segment.write_tables(part)
            write_text(part / DIGEST, json.dumps(asdict(passes), allow_nan=False))
            write_text(part / NUMBERS, numbers.text())
            part.rename(self.place(number))

    def numbers(self, count: int) -> Numbers:
        """What the statistics need of all segments."""
        places = [self.place(number) / NUMBERS for number in range(count)]
        return joined(read_numbers(path.read_text(encoding="utf-8")) for path in places)

    def digests(self, count: int) -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield json.loads((self.place(number) / DIGEST).read_text(encoding="utf-8"))

    def digest(self, count: int) -> Digest:
        """That of all segments; what grows with the passes is read when it is written."""

        def every(read: Any, named: bool = False) -> Entries:
            return Entries(lambda: chain.from_iterable(map(read, self.digests(count))), named)

        heads = [
            {key: value for key, value in digest.items() if key not in ("blocks", "prompts")}
            | {"lenses": [*digest["lenses"]]}
            for digest in self.digests(count)
        ]
        return Digest(
            defects=sorted({defect for head in heads for defect in head["defects"]}),
            blocks=every(lambda digest: digest["blocks"]),
            prompts=every(lambda digest: digest["prompts"]),
            lenses={
                lens: every(lambda digest, lens=lens: digest["lenses"][lens].items(), named=True)
                for lens in heads[0]["lenses"]
            },
            agreement=next((head["agreement"] for head in heads if head["agreement"]), []),
            measured=[Measured(**measured) for head in heads for measured in head["measured"]],
        )

    def publish(
        self, count: int, whole: Run, document: Mapping[str, Any], manifest: Mapping[str, Any]
    ) -> list[Path]:
        """Write the files of the run, all or none: those of its segments, and the tables of all passes in `whole`.

        The segments go then. Returns the paths of the files.
        """
        places = [self.place(number) for number in range(count)]
        names = {path.name for place in places for path in place.iterdir()} - {DIGEST, NUMBERS}
        with staged(self.out_dir, self.name) as stage:
            for name in names:
                files = [place / name for place in places if (place / name).exists()]
                if name.endswith(f".{PARQUET}"):
                    parquet.join(stage / name, files)
                else:
                    write_parts(stage / name, behind(files, name.endswith(f".{CSV}")))
            whole.write_tables(stage)
            for name, content, end in (
                (f"output-{self.name}.json", document, ""),
                (f"run-{self.name}.manifest.json", manifest, "\n"),
            ):
                parts = chain(json_parts(content), [end])
                write_parts(stage / name, map(encoded, parts))
            written = file_names(stage)
        shutil.rmtree(self.folder, ignore_errors=True)
        return [self.out_dir / name for name in written]


def read_files(out_dir: Path, name: str) -> dict[str, bytes]:
    """All files of the finished segments of the run `name`, by their paths in `out_dir`."""
    paths = (path for path in segments_folder(out_dir, name).rglob("*") if path.is_file())
    return {str(path.relative_to(out_dir)): path.read_bytes() for path in paths}


def write_files(out_dir: Path, name: str, shares: Sequence[Mapping[str, bytes]]) -> None:
    """Put the segments of some shares of a run together, as `read_files` gave them.

    Those of another key than the first's are left out, so that the run makes them anew.
    """
    key = str((segments_folder(out_dir, name) / KEY).relative_to(out_dir))
    for share in shares:
        if share.get(key) == shares[0].get(key):
            for path, content in share.items():
                (out_dir / path).parent.mkdir(parents=True, exist_ok=True)
                (out_dir / path).write_bytes(content)


def behind(files: list[Path], headed: bool) -> Iterator[bytes]:
    """The bytes of some files, one behind the other; of tables, the header once."""
    for number, path in enumerate(files):
        with path.open("rb") as stream:
            if headed and number:
                stream.readline()
            yield from iter(partial(stream.read, 2**20), b"")


@contextmanager
def opened(out_dir: Path, name: str, key: Mapping[str, Any]) -> Iterator[Segments]:
    """The finished segments of a run that has the same key, else none; locked against other processes."""
    segments = Segments(out_dir, name)
    folder = segments.folder
    with write_errors(out_dir):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise LensError(
                f"another run of {name} is at work in {out_dir}; wait for it, or give another --out-dir"
            ) from error
    try:
        with write_errors(out_dir):
            clear_others(folder, json_text(key))
        yield segments
    finally:
        lock.release()


def clear_others(folder: Path, key: str) -> None:
    """Delete the segments of a run of another key, the key first, so that none is taken for one of this run."""
    path = folder / KEY
    if path.exists() and path.read_text(encoding="utf-8") == key:
        return
    path.unlink(missing_ok=True)
    for other in list(folder.iterdir()):
        if other.is_dir():
            shutil.rmtree(other)
    write_text(folder / f"{KEY}.part", key)
    (folder / f"{KEY}.part").replace(path)
