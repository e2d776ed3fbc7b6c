"""Replace a piece of one function of a package; pieces and functions are syntax trees, not text."""

import ast
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function of a module with its qualified name, such as `FormulaNorms.apply`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, Function):
            yield f"{prefix}{node.name}", node


def find_function(package: Path, name: str) -> tuple[Path, ast.Module, Function]:
    """The one function of that qualified name: its file, the module's tree, and the function in it."""
    matches = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        matches += [(path, tree, node) for qualified, node in functions(tree) if qualified == name]
    if len(matches) != 1:
        raise ValueError(
            f"{package.name} has {len(matches)} functions {name}; give a name it has once"
        )
    return matches[0]


def same(a: ast.AST, b: ast.AST) -> bool:
    return ast.dump(a) == ast.dump(b)


def replace_in(node: ast.AST, old: list[ast.stmt], new: list[ast.stmt]) -> int:
    """Replace every occurrence of `old` below a node; returns how many there were.

    One expression is replaced wherever it stands; statements where they follow each other.
    """
    count = 0
    alone = old[0].value if len(old) == 1 and isinstance(old[0], ast.Expr) else None
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            count += replace_in_list(value, old, new, alone)
        elif isinstance(value, ast.AST):
            if alone is not None and same(value, alone):
                setattr(node, name, expression(new))
                count += 1
            else:
                count += replace_in(value, old, new)
    return count


def replace_in_list(
    items: list[ast.AST], old: list[ast.stmt], new: list[ast.stmt], alone: ast.expr | None
) -> int:
    count, at = 0, 0
    while at < len(items):
        part = items[at : at + len(old)]
        if alone is None and len(part) == len(old) and all(map(same, part, old)):
            items[at : at + len(old)] = new
            count, at = count + 1, at + len(new)
            continue
        if alone is not None and same(items[at], alone):
            items[at] = expression(new)
            count += 1
        elif isinstance(items[at], ast.AST):
            count += replace_in(items[at], old, new)
        at += 1
    return count


def expression(statements: list[ast.stmt]) -> ast.expr:
    (statement,) = statements
    if not isinstance(statement, ast.Expr):
        raise ValueError(
            f"an expression is replaced by an expression, got {ast.unparse(statement)}"
        )
    return statement.value


def replace_piece(package: Path, function: str, old: str, new: str) -> None:
    """Replace `old`, which must stand once in the function, by `new`, and write the module back."""
    path, tree, node = find_function(package, function)
    count = replace_in(node, ast.parse(old).body, ast.parse(new).body)
    if count != 1:
        raise ValueError(f"{function} holds {count} times {old!r}; name a piece it holds once")
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)) + "\n", encoding="utf-8")
