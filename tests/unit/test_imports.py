"""The arrows of the house: which room may import which, and how large the core is."""

import ast
import io
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each room of a package, and the rooms that it imports.
LENSES_MIN: dict[str, tuple[str, ...]] = {
    "errors": (),
    "version": (),
    "process": (),
    "options": ("errors",),
    "prompts": ("errors",),
    "core": ("errors", "options", "prompts"),
    "lenses": ("errors", "options", "core"),
    "model": ("errors", "version", "options", "prompts", "core", "lenses"),
    "output": ("errors", "version", "options", "core", "model"),
    "pipeline": ("errors", "options", "prompts", "core", "lenses", "model", "output"),
    "fit": ("errors", "options", "prompts", "core", "lenses", "model", "output"),
    "report": ("core", "output"),
    "sweep": (
        *("errors", "process", "options", "prompts"),
        *("lenses", "model", "output", "pipeline", "report"),
    ),
    "cli": (
        *("errors", "version", "process", "options", "prompts"),
        *("model", "output", "fit", "report", "sweep"),
    ),
    "__init__": ("errors", "version", "options", "output", "pipeline"),
    "__main__": ("cli",),
}
SPEC: dict[str, tuple[str, ...]] = {
    "errors": (),
    "oracle": (),
    "golden": ("errors",),
    "runs": ("errors", "oracle"),
    "schema": ("runs",),
    "compare": ("errors", "runs", "schema"),
    "runners": ("errors", "oracle", "golden", "runs", "schema", "compare"),
    "lifecycle": ("errors", "golden", "runs", "schema", "compare", "runners"),
    "audit": ("errors", "oracle", "golden", "runs", "schema", "compare", "runners"),
    "report": ("runs", "schema", "compare", "runners", "audit", "lifecycle"),
    "recipe": ("golden",),
    "commands": (
        *("errors", "golden", "runs", "schema", "compare", "runners"),
        *("lifecycle", "audit", "report", "recipe"),
    ),
    "__init__": (),
    "__main__": ("errors", "commands"),
}
# A run shows itself in a notebook: imported where it is shown, and nowhere else.
LAZY = {("lenses_min/output/run.py", "report")}


def module_of(path: Path) -> list[str]:
    """The parts of a module's dotted name, without `__init__`."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> Iterator[str]:
    """The full dotted name of everything that a file imports, names included: `package.module.name`."""
    package = module_of(path) if path.stem == "__init__" else module_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{target}.{alias.name}" for alias in node.names)


def files_of(package: str) -> list[Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def room_of(parts: list[str], rooms: dict[str, tuple[str, ...]]) -> str:
    """The room of a dotted name; what is no room is a name of `__init__`."""
    return parts[1] if len(parts) > 1 and parts[1] in rooms else "__init__"


@pytest.mark.parametrize(
    ("package", "rooms"), [("lenses_min", LENSES_MIN), ("spec", SPEC)], ids=["lenses_min", "spec"]
)
def test_no_arrow_but_those_of_the_table(package: str, rooms: dict[str, tuple[str, ...]]) -> None:
    drawn = set()
    for path in files_of(package):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        room = parts[1]
        assert room in rooms, f"{path} stands in a room that the table does not have"
        for name in imports(path):
            if name.split(".")[0] != package:
                continue
            target = room_of(name.split("."), rooms)
            if target == room or (str(path.relative_to(ROOT)), target) in LAZY:
                continue
            assert target in rooms[room], f"{path} imports {name}"
            drawn.add((room, target))
    unused = {(a, b) for a, allowed in rooms.items() for b in allowed} - drawn
    assert not unused, "arrows of the table that nothing draws any more"


@pytest.mark.parametrize("rooms", [LENSES_MIN, SPEC], ids=["lenses_min", "spec"])
def test_the_table_has_no_circle(rooms: dict[str, tuple[str, ...]]) -> None:
    """Rooms can be put in a row in which every arrow runs back to an earlier one."""
    left = {room: set(allowed) for room, allowed in rooms.items()}
    while free := [room for room, allowed in left.items() if not allowed]:
        for room in free:
            del left[room]
        left = {room: allowed - set(free) for room, allowed in left.items()}
    assert not left


@pytest.mark.parametrize("package", ["lenses_min", "spec"])
def test_files_import_each_other_in_no_circle(package: str) -> None:
    """Also within a room; imports inside functions count too."""
    files = {".".join(module_of(path)): path for path in files_of(package)}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        rooms = {room for file, room in LAZY if file == str(path.relative_to(ROOT))}
        targets = {name if name in files else name.rpartition(".")[0] for name in imports(path)}
        graph[module] = {
            t for t in targets & files.keys() if room_of(t.split("."), LENSES_MIN) not in rooms
        }
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_rooms_and_arrows_stay_few() -> None:
    assert len(LENSES_MIN) <= 16
    assert sum(map(len, LENSES_MIN.values())) <= 60
    assert len(SPEC) <= 14
    assert sum(map(len, SPEC.values())) <= 45


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("lenses_min", {"spec", "tests", "scripts"}), ("spec", {"lenses_min", "tests", "scripts"})],
)
def test_packages_keep_apart(package: str, forbidden: set[str]) -> None:
    for path in files_of(package):
        assert not {name.split(".")[0] for name in imports(path)} & forbidden, path


def code_tokens(path: Path) -> int:
    """Python tokens of a file; comments, docstrings and line ends do not count."""
    text = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    }
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    layout.add(tokenize.ENDMARKER)
    return sum(
        token.type not in layout
        and not (token.type == tokenize.STRING and token.start[0] in docstrings)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
    )


def test_what_the_reference_contract_needs_is_small() -> None:
    """The core, and the two lenses of the reference: at most 14,000 tokens."""
    files = [*files_of("lenses_min/core")]
    files += [ROOT / "lenses_min" / "lenses" / f"{name}.py" for name in ("norm", "prism")]
    assert sum(map(code_tokens, files)) <= 14_000


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "plotly", "rich", "jinja2", "ray"}
    code = f"import sys, lenses_min.cli.command_line as c; c.parser().format_help(); print({heavy} & set(sys.modules))"
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert completed.stdout.strip() == "set()"


def test_a_file_is_read_in_one_sitting() -> None:
    for path in [*files_of("lenses_min"), *files_of("spec")]:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 260, path
