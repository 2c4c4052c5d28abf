"""Rooms are small, arrows between them go one way, and the drawing in docs/ARCHITECTURE.md is true."""

import ast
from collections import Counter, defaultdict

import pytest

from tests.architecture.rooms import Arrows, arrows, block, circles, drawing, drawn, modules, short
from tests.architecture.test_architecture import imported, package_of, parsed

#: about a dozen files of code beside `__init__`
MOST_FILES = 13
#: a room -> what nothing in it may import, even through others
CLOSED = {
    "detectors": {"watch", "kafka", "runtime", "notify", "cli"},
    "watch": {"runtime", "kafka", "notify", "cli", "report", "replay"},
    "runtime": {"kafka", "notify", "cli", "report", "replay"},
    "wording": {"watch", "detectors", "measure", "runtime", "kafka"},
    "signals": {"watch", "detectors", "measure", "runtime", "kafka"},
}
#: a name that every module may have
COMMON = {"log"}


def reached(graph: Arrows, start: str) -> set[str]:
    """Rooms that a room imports, through others as well."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for target in graph.get(waiting.pop(), set()) - found:
            found.add(target)
            waiting.append(target)
    return found


def within(room: str, name: str) -> bool:
    return short(room) == name or short(room).startswith(f"{name}/")


def test_there_is_no_circle_between_rooms() -> None:
    graph = arrows()
    assert len(graph) > 30
    assert circles(graph) == []


@pytest.mark.parametrize("name", CLOSED)
def test_a_room_stands_only_on_what_is_below_it(name: str) -> None:
    graph = arrows()
    rooms = [room for room in graph if within(room, name)]
    assert rooms
    wrong = {
        f"{short(room)} reaches {short(target)}"
        for room in rooms
        for target in reached(graph, room)
        if any(within(target, other) for other in CLOSED[name])
    }
    assert not wrong


def test_no_room_is_larger_than_a_head() -> None:
    files = Counter(path.parent for path in modules().values() if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in files.items() if count > MOST_FILES}


def test_the_drawing_of_the_rooms_is_true() -> None:
    """`python -m tests.architecture.rooms` draws it anew."""
    assert drawn() == block(arrows())


def test_no_public_name_stands_twice() -> None:
    """Classes, functions and type aliases; constants where another module reads them."""
    known = modules()
    read: set[str] = set()
    for path in known.values():
        read |= imported(parsed(path), package_of(path))
    places: dict[str, list[str]] = defaultdict(list)
    for module, path in known.items():
        for name, is_constant in public_names(parsed(path)):
            if not is_constant or f"{module}.{name}" in read:
                places[name].append(module)
    assert not {name: where for name, where in places.items() if len(where) > 1 and name not in COMMON}


def public_names(tree: ast.Module) -> list[tuple[str, bool]]:
    """What a module defines without an underscore, and whether it is a constant (in capitals)."""
    found: list[tuple[str, bool]] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append((node.name, False))
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            found += [(x.id, x.id.isupper()) for x in ast.walk(target) if isinstance(x, ast.Name)]
    return [(name, constant) for name, constant in found if not name.startswith("_")]


def test_the_circle_check_finds_what_reaches_itself() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_drawing_has_the_highest_room_first() -> None:
    graph: Arrows = {"leeboard.pipelines.a": {"leeboard.schemas"}, "leeboard.schemas": set()}
    assert drawing(graph) == " 1 a        -> schemas\n 0 schemas"


def test_the_name_check_sees_definitions_and_assignments() -> None:
    tree = ast.parse("class A: pass\ndef f(): pass\nB = 1\nCD: int = 2\n_e = 3\nT = list\nx, y = 1, 2")
    assert public_names(tree) == [
        ("A", False),
        ("f", False),
        ("B", True),
        ("CD", True),
        ("T", True),
        ("x", False),
        ("y", False),
    ]
