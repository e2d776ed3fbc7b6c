"""Where the code has each rule: the functions that name it, read from the sources of this room."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import resources

from .rules import Rule


def checks_of(rule: Rule) -> tuple[str, ...]:
    """The functions that find a rule broken, such as `rows.py: check_flags`."""
    return checks().get(rule.name, ())


@cache
def checks() -> dict[str, tuple[str, ...]]:
    """The functions by the rule that they name, which is more than a comparison with it."""
    named: dict[str, dict[str, None]] = {}
    files = resources.files(__package__)
    for file in sorted(file.name for file in files.iterdir() if file.name.endswith(".py")):
        tree = ast.parse(files.joinpath(file).read_text("utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for rule in rules_in(function):
                    named.setdefault(rule, {})[f"{file}: {function.name}"] = None
    return {rule: tuple(functions) for rule, functions in named.items()}


def rules_in(node: ast.AST) -> Iterator[str]:
    """The names of the rules in a piece of code, without those that it only compares with."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Compare):
            continue
        if isinstance(child, ast.Attribute) and ast.unparse(child.value) == "Rule":
            yield child.attr
        yield from rules_in(child)
