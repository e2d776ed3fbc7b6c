"""Every small fault that mutation_test.sh puts into a function: mutmut's operators, one mutant a place and kind.

mutmut makes three mutants of a text (framed, lower, upper case) and two of an argument (None, left out). Here a text is
framed, and an argument left out where the call has others, else None: the further ones take half of the time and
differ in spelling only. Unlike mutmut's own runner, functions under a decorator are mutated too. Constants of a module,
defaults, the text of messages (three words or more) and assertions are not mutated; `strict=True` of zip is one.
"""

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_string
from mutmut.mutation.pragma_handling import IgnoredCode

ROOTS = ("lenses_min", "spec/compare", "spec/schema")
WORDS_OF_A_MESSAGE = 3
EMPTY = cst.Module([])


@dataclass(frozen=True)
class Span:
    """The first and the last line of a statement without its body, counted from 1."""

    first: int
    last: int


@dataclass(frozen=True)
class Mutant:
    """One fault: its file, the outermost function around it, its statement, and the file's text with the fault."""

    path: str
    function: str
    statement: Span
    source: str
    change: str

    @property
    def module(self) -> str:
        """Dotted, without the package lenses_min."""
        return module_name(self.path)

    @property
    def scopes(self) -> tuple[str, str]:
        """Where it is, the widest first."""
        return self.path, f"{self.path}::{self.function}"

    @property
    def name(self) -> str:
        """`module.function: changed line`, which stays when other lines change."""
        return f"{self.module}.{self.function}: {self.change}"

    def codes(self) -> dict[str, CodeType]:
        """Compile the file with the fault: its functions by qualified name. Raises SyntaxError where that is none."""
        return function_codes(compile(self.source, self.path, "exec"))


def function_codes(module: CodeType) -> dict[str, CodeType]:
    """Every code object of a compiled file by qualified name; the last one of a name stands."""
    codes = {}
    rest = [module]
    while rest:
        code = rest.pop()
        codes[code.co_qualname] = code
        rest += [one for one in code.co_consts if isinstance(one, CodeType)]
    return codes


def mutated_files(root: Path, names: Collection[str] = ()) -> list[str]:
    """The files under `ROOTS`, of the modules and rooms named or all, relative to `root`."""
    files = []
    for place in ROOTS:
        for path in sorted((root / place).rglob("*.py")):
            relative = path.relative_to(root).as_posix()
            if path.name != "__main__.py" and (
                not names or any(holds(name, module_name(relative)) for name in names)
            ):
                files.append(relative)
    return files


def holds(name: str, module: str) -> bool:
    """Whether a module or room of that name holds a module."""
    return module == name or module.startswith(f"{name}.")


def module_name(path: str) -> str:
    """The dotted name of a file, without the package lenses_min."""
    return ".".join(Path(path).with_suffix("").parts).removeprefix("lenses_min.")


def file_mutants(path: str, source: str) -> Iterator[Mutant]:
    """Yield the mutants of one file."""
    functions, statements = read_structure(ast.parse(source))
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = Visitor(OPERATORS, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    lines = source.splitlines(keepends=True)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    positions = visitor.positions

    for mutation in visitor.mutations:
        position = positions[mutation.original_node]
        line = position.start.line
        function = next((name for name, span in functions if span.first <= line <= span.last), None)
        statement = smallest(statements, line)
        if function is None or statement is None:
            continue

        start = offsets[line - 1] + position.start.column
        end = offsets[position.end.line - 1] + position.end.column
        mutated = module.code_for_node(mutation.mutated_node)
        if mutated == source[start:end]:
            continue
        yield Mutant(
            path,
            function,
            statement,
            source[:start] + mutated + source[end:],
            change(source, start, end, mutated),
        )


class Visitor(MutationVisitor):  # type: ignore[misc]  # its package is not among the pins
    """mutmut's visitor, which also enters functions under a decorator, and keeps the place of each mutation."""

    def __init__(self, operators: Any, ignored: Any) -> None:
        super().__init__(operators, ignored)
        self.positions: dict[cst.CSTNode, Any] = {}
        self.asserted: set[cst.CSTNode] = set()

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef) and node.decorators:
            return False
        if isinstance(node, cst.Call):
            self.asserted.update(arg for arg in node.args if asserts(node, arg))
        if node in self.asserted:
            return True
        return bool(super()._skip_node_and_children(node))

    def _create_mutations(self, node: cst.CSTNode) -> None:
        super()._create_mutations(node)
        self.positions[node] = self.get_metadata(PositionProvider, node, None)


def shorter_arguments(node: cst.Call) -> Iterable[cst.Call]:
    """Leave out each argument where the call has others, but no assertion; replace the only one by None."""
    mutants = list(operator_arg_removal(node))
    if len(node.args) == 1:
        return mutants
    without = mutants[-len(node.args) :]
    return [one for one, left in zip(without, node.args, strict=True) if not asserts(node, left)]


def asserts(call: cst.Call, argument: cst.Arg) -> bool:
    """Whether an argument is `strict=True` of `zip`, which asserts that the program made equal lengths."""
    texts = [
        EMPTY.code_for_node(part) for part in (call.func, argument.keyword, argument.value) if part
    ]
    return texts == ["zip", "strict", "True"]


def framed_text(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """Frame a text by XX, unless it is a message."""
    if isinstance(node, cst.SimpleString) and len(node.value.split()) >= WORDS_OF_A_MESSAGE:
        return []
    return list(operator_string(node))[:1]


REPLACED = {operator_arg_removal: shorter_arguments, operator_string: framed_text}
OPERATORS = [(kind, REPLACED.get(operator, operator)) for kind, operator in mutation_operators]


def read_structure(tree: ast.Module) -> tuple[list[tuple[str, Span]], list[Span]]:
    """The bodies of the outermost functions by qualified name, and every statement without its body."""
    functions: list[tuple[str, Span]] = []

    def visit(body: Iterable[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                functions.append((prefix + node.name, Span(node.body[0].lineno, last_line(node))))

    visit(tree.body, "")
    statements = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
            first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
            body = getattr(node, "body", None)
            end = max(first, body[0].lineno - 1) if body else last_line(node)
            statements.append(Span(first, end))
    return functions, statements


def last_line(node: Any) -> int:
    """The last line of a node."""
    return int(node.end_lineno)


def smallest(spans: Iterable[Span], line: int) -> Span | None:
    """The shortest span that holds a line."""
    around = [span for span in spans if span.first <= line <= span.last]
    return min(around, key=lambda span: span.last - span.first, default=None)


def change(source: str, start: int, end: int, mutated: str) -> str:
    """The changed lines as one, blanks reduced; an argument left out shows as what is left."""
    before = source.rfind("\n", 0, start) + 1
    after = source.find("\n", end)
    return " ".join((source[before:start] + mutated + source[end:after]).split())
