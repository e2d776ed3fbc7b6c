"""The inputs of a run, as the manifest identifies them."""

from hashlib import sha256
from pathlib import Path

from lenses_min import RunOptions
from lenses_min.output.inputs import inputs


def made(*files: Path) -> str:
    """Make some files; returns SHA-256 over a line with name, size and time of change of each."""
    lines = []
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x" * len(file.name))
        lines.append(f"{file.name} {len(file.name)} {file.stat().st_mtime_ns}\n")
    return sha256("".join(lines).encode()).hexdigest()


def test_files_are_identified_by_names_sizes_and_times(tmp_path: Path) -> None:
    """Of a folder those right in it, in the order of their names, and of fitted artifacts those of the model."""
    model = tmp_path / "M"
    options = RunOptions(
        str(model),
        prompts=str(tmp_path / "own.yaml"),
        prism_dir=str(tmp_path / "prisms"),
        tuned_dir=str(tmp_path / "tuned"),
    )
    expected = {"model": made(model / "a.json", model / "b.bin")}
    made(model / "inner" / "c.json", tmp_path / "prisms" / "other" / "d.pt")
    assert inputs(options) == expected
    expected["prompts"] = made(tmp_path / "own.yaml")
    expected["prism"] = made(tmp_path / "prisms" / "M" / "e.pt")
    expected["tuned"] = made(tmp_path / "tuned" / "M" / "f.pt", tmp_path / "tuned" / "M" / "g.json")
    assert inputs(options) == expected
