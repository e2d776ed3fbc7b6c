"""Files of a run, in run.py's dialects."""

import csv
import json
from pathlib import Path
from typing import Any

FURTHER: dict[str, str] = {}


def read_table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream, escapechar="\\"))


def write_table(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, escapechar="\\", lineterminator="\n").writerows(rows)


def read_document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_document(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
