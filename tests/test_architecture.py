"""The layers of the package: allowed imports, and size limits of files and functions."""

import ast
from pathlib import Path

import pytest

import jaxgan

PACKAGE = Path(jaxgan.__file__).parent
FLOORS = (
    {"__init__", "errors"},
    {"keys", "constraints", "trees"},
    {"files", "environment", "memory", "data_settings", "generator_settings"},
    {"store", "command"},
    {"devices", "batch_norm", "schedules", "packing", "players", "profiles"},
    {"ada"},
    {"augment", "optimizers", "sampling", "state"},
    {"losses"},
    {"lazy", "feedback"},
    {"updates"},
    {"gan"},
    {"networks", "data", "metrics"},
    {"parallel"},
    {"runs"},
    {"evaluation"},
    {"outputs"},
    {"train", "evaluate", "classify"},
    {"sample", "interpolate", "invert", "report", "verify", "export", "board"},
)
"""Modules and subpackages by layer, the lowest first."""
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 300
LONGEST_FUNCTION = 50
MOST_PARAMETERS = 6


def layer_of(name: str) -> int:
    return next(i for i, floor in enumerate(FLOORS) if name in floor)


def top_level_name(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(file: Path) -> set[str]:
    """Returns the top-level modules of the package that a file imports, anywhere in the file."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "jaxgan":
            rooms |= {alias.name for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxgan."):
            rooms.add(node.module.split(".")[1])
    return rooms


def import_graph(room: Path) -> dict[str, set[str]]:
    """Returns the modules of a subpackage, each with its imports from that subpackage."""
    package = f"jaxgan.{room.name}"
    graph = {}
    for file in room.glob("*.py"):
        graph[file.stem] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == package:
                graph[file.stem] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package + "."):
                graph[file.stem].add(node.module.split(".")[2])
    return {name: found & graph.keys() for name, found in graph.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_are_from_lower_layers(file):
    own = top_level_name(file)
    others = imported_modules(file) - {own}
    assert not {room for room in others if layer_of(room) >= layer_of(own)}


@pytest.mark.parametrize(
    "room", ["losses", "networks", "data", "metrics", "parallel", "runs", "evaluation", "outputs"]
)
def test_subpackages_have_no_import_cycles(room):
    graph = import_graph(PACKAGE / room)
    while graph:
        lowest = {name for name, found in graph.items() if not found & graph.keys() - {name}}
        assert lowest, f"a circle among {sorted(graph)}"
        graph = {name: found for name, found in graph.items() if name not in lowest}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_files_and_functions_are_short(file):
    """The docstrings of functions do not count. `gan` and constructors may have more parameters."""
    text = file.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef):
            continue
        documented = ast.get_docstring(node) is not None
        docstring = len(node.body[0].value.value.splitlines()) if documented else 0
        assert node.end_lineno - node.lineno + 1 - docstring <= LONGEST_FUNCTION, node.name
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if node.name not in ("gan", "__init__"):
            own = [argument for argument in arguments if argument.arg not in ("self", "cls")]
            assert len(own) <= MOST_PARAMETERS, node.name
