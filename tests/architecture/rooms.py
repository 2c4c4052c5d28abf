"""The rooms of the product and the arrows between them, read from the imports: `python -m tests.architecture.rooms`.

A room is a package without further packages, or a module that stands beside such rooms. An arrow is an import, wherever
it stands in a file. Run as a program it writes the drawing into docs/ARCHITECTURE.md.
"""

from collections.abc import Collection
from pathlib import Path

from tests.architecture.test_architecture import PARTS, ROOT, imported, package_of, parsed, sources

DOCUMENT = ROOT / "docs" / "ARCHITECTURE.md"
BEGIN, END = "<!-- rooms: begin -->", "<!-- rooms: end -->"
TOP = "leeboard.pipelines"

Arrows = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name; a package by that of its `__init__`."""
    found = {}
    for path in sources(*PARTS):
        name = package_of(path)
        found[name if path.name == "__init__.py" else f"{name}.{path.stem}"] = path
    return found


def room_of(module: str, packages: Collection[str]) -> str:
    """The room of a module: its package, or itself where that has further packages."""
    if module in packages:
        return module
    parent = module.rpartition(".")[0]
    stands_beside = parent == TOP or any(package.startswith(f"{parent}.") for package in packages)
    return module if stands_beside else parent


def arrows() -> Arrows:
    """Room -> the rooms that it imports."""
    known = modules()
    packages = {name for name, path in known.items() if path.name == "__init__.py"}
    found: Arrows = {}
    for module, path in known.items():
        room = room_of(module, packages)
        targets = found.setdefault(room, set())
        for name in imported(parsed(path), package_of(path)):
            target = name if name in known else name.rpartition(".")[0]
            if target in known and room_of(target, packages) != room:
                targets.add(room_of(target, packages))
    return {room: targets for room, targets in found.items() if targets or not room.endswith("__main__")}


def circles(graph: Arrows) -> list[list[str]]:
    """Rooms that reach each other (strongly connected components of more than one; Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(room: str) -> None:
        index[room] = low[room] = len(index)
        stack.append(room)
        for target in sorted(graph.get(room, ())):
            if target not in index:
                visit(target)
                low[room] = min(low[room], low[target])
            elif target in stack:
                low[room] = min(low[room], index[target])
        if low[room] == index[room]:
            at = stack.index(room)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for room in sorted(graph):
        if room not in index:
            visit(room)
    return found


def short(room: str) -> str:
    """`watch/state` for `leeboard.pipelines.watch.state`; other parts keep their name."""
    return room.removeprefix("leeboard.").removeprefix("pipelines.").replace(".", "/")


def levels(graph: Arrows) -> dict[str, int]:
    """How high each room stands: one above the highest room that it imports. Raises ValueError in a circle."""
    if around := circles(graph):
        raise ValueError(f"rooms that reach themselves have no height: {around}")
    found: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in found:
            found[room] = 1 + max((level(target) for target in graph.get(room, ())), default=-1)
        return found[room]

    for room in graph:
        level(room)
    return found


def drawing(graph: Arrows) -> str:
    """One line a room, the highest first: every arrow points down."""
    height = levels(graph)
    width = max(len(short(room)) for room in graph)
    lines = []
    for room in sorted(graph, key=lambda room: (-height[room], room)):
        targets = ", ".join(short(target) for target in sorted(graph[room], key=lambda t: (-height[t], t)))
        lines.append(f"{height[room]:2} {short(room):<{width}}  {targets and '-> ' + targets}".rstrip())
    return "\n".join(lines)


def drawn() -> str:
    """What docs/ARCHITECTURE.md shows."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text.partition(BEGIN)[2].partition(END)[0]


def block(graph: Arrows) -> str:
    """The drawing as it stands between the marks."""
    return f"\n```text\n{drawing(graph)}\n```\n"


if __name__ == "__main__":
    head, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    DOCUMENT.write_text(f"{head}{BEGIN}{block(arrows())}{END}{tail}", encoding="utf-8")
