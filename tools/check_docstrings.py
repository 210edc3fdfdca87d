"""Check the docstrings of public names in src/vqfusion for what a linter cannot see; prints a table and the faults.

A name is public when an `__init__` of the package exports it, and so are its public methods. Every public name needs a
docstring (a method may inherit it from a base class of the package), every tensor argument a shape in its annotation or
in the docstring, and every function with more than two arguments an `Args:` section (commands have help texts instead).
The files are parsed, not imported, which takes about a second. With names of rooms as arguments (`nn models/fusion`)
only those are checked.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "vqfusion"
MOST_ARGUMENTS = 2  # of a function without an `Args:` section
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Fault:
    """One thing that is missing: `kind` is a column of the table."""

    room: str
    place: str
    kind: str


def exported(package: Path) -> set[str]:
    """Names in the `__init__` files: imported there, or keys of their tables of lazy imports."""
    names: set[str] = set()
    for file in package.rglob("__init__.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.split()  # of a docstring too, which is no list of names
                names |= set(words) if all(word.isidentifier() for word in words) else set()
    return {name for name in names if not name.startswith("_")}


def definitions(tree: ast.AST) -> Iterator[FunctionNode | ast.ClassDef]:
    """Functions and classes of a module or a class, those under `if` and `try` too, without overloads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FunctionNode | ast.ClassDef):
            if not any(ast.unparse(one).endswith("overload") for one in node.decorator_list):
                yield node
        elif isinstance(node, ast.If | ast.Try):
            yield from definitions(node)


def classes_of(tree: ast.Module) -> dict[str, ast.ClassDef]:
    """Classes of a module by name."""
    return {node.name: node for node in definitions(tree) if isinstance(node, ast.ClassDef)}


def base_names(node: ast.ClassDef) -> list[str]:
    """Names of the base classes, without their modules and type arguments."""
    plain = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return [ast.unparse(base).rpartition(".")[2] for base in plain]


def docstring_of(node: ast.ClassDef, method: str, classes: dict[str, ast.ClassDef]) -> str:
    """The docstring of a method, its own or that of a base class of the package; empty where there is none."""
    own = [ast.get_docstring(one) for one in definitions(node) if one.name == method]
    if own and own[-1]:
        return own[-1]
    bases = [classes[name] for name in base_names(node) if name in classes and classes[name] is not node]
    return next((text for base in bases if (text := docstring_of(base, method, classes))), "")


def function_faults(node: FunctionNode, held: str, sections: bool) -> Iterator[str]:
    """Faults of the arguments of a function: `held` is the text in which a shape may stand."""
    every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    arguments = [one for one in every if one.arg not in ("self", "cls") and not one.arg.startswith("_")]
    for one in arguments:
        annotation = ast.unparse(one.annotation) if one.annotation else ""
        if not annotation:
            yield "type"
        bare = annotation.replace(" | None", "") == "Tensor"
        if bare and not (f"`{one.arg}`" in held or f"{one.arg}:" in held) and "`[" not in held:
            yield "shape"
    is_command = any("typer." in ast.unparse(one.annotation) for one in arguments if one.annotation)
    if sections and len(arguments) > MOST_ARGUMENTS and "Args:" not in held and not is_command:
        yield "Args"


def faults(package: Path) -> Iterator[Fault]:
    """Every fault of a package."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(package.rglob("*.py"))}
    public = exported(package)
    everywhere = {name: node for tree in trees.values() for name, node in classes_of(tree).items()}
    for file, tree in trees.items():
        place, classes = file.relative_to(package), everywhere | classes_of(tree)  # one name may be in two files
        room = "/".join(place.parts[:-1][:2]) or place.name
        for node in definitions(tree):
            if node.name not in public or node.name.startswith("_"):
                continue
            text = ast.get_docstring(node) or ""
            where = f"{place}:{node.lineno} {node.name}"
            if not text:
                yield Fault(room, where, "docstring")
            if isinstance(node, ast.ClassDef):
                for method in definitions(node):
                    if isinstance(method, ast.ClassDef) or (method.name.startswith("_") and method.name != "__init__"):
                        continue
                    at = f"{place}:{method.lineno} {node.name}.{method.name}"
                    own = docstring_of(node, method.name, classes)
                    if method.name != "__init__" and not own:
                        yield Fault(room, at, "docstring")
                    held = f"{text}\n{own}"
                    yield from (Fault(room, at, kind) for kind in function_faults(method, held, False))
            else:
                yield from (Fault(room, where, kind) for kind in function_faults(node, text, True))


def main(rooms: list[str]) -> int:
    """Print the faults and a table of rooms; the exit code is 1 where there is one."""
    found = [one for one in faults(PACKAGE) if not rooms or any(one.room.startswith(room) for room in rooms)]
    for one in found:
        print(f"{one.place}: no {one.kind}")
    for room, count in sorted(Counter(one.room for one in found).items()):
        kinds = Counter(one.kind for one in found if one.room == room)
        print(f"{room}: {count} ({', '.join(f'{kind} {n}' for kind, n in kinds.items())})")
    print(f"{len(found)} faults in public docstrings")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
