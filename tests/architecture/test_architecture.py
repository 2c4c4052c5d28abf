"""The house rules, as far as a machine can hold them (see docs/ARCHITECTURE.md)."""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("schemas", "detectors", "pipelines")
#: part -> the parts that it may import
ARROWS = {
    "schemas": {"schemas"},
    "detectors": {"schemas", "detectors"},
    "pipelines": {"schemas", "detectors", "pipelines"},
}
#: no clock, chance, environment, input or output in here: time and randomness come from the event
PURE = (
    "schemas/",
    "detectors/",
    "pipelines/leeboard/pipelines/watch/",
    "pipelines/leeboard/pipelines/notify/feed/",
    "pipelines/leeboard/pipelines/notify/messages/",
    "pipelines/leeboard/pipelines/notify/delivery/queue.py",
    "pipelines/leeboard/pipelines/notify/delivery/router.py",
)
#: what two files of theirs do all the same: write the JSON Schema (nothing imports it at run time), and name the cache
#: of compiled kernels after their sources (at import, before any event)
EXEMPT = {
    "schemas/leeboard/schemas/generate.py": {
        "import pathlib.Path",
        "path.unlink()",
        "(folder / f'{name}.json').write_text()",
    },
    "detectors/leeboard/detectors/core/jit.py": {"import pathlib.Path", "source.read_bytes()"},
}

IMPURE_MODULES = re.compile(
    r"(asyncio|glob|http|importlib\.(metadata|resources)|io|logging|multiprocessing|os|pathlib|pickle|random|secrets|select"
    r"|shutil|signal|socket|sqlite3|ssl|subprocess|tempfile|threading|time|urllib\.request|uuid|numpy\.random)(\..+)?"
)
IMPURE_CALLS = re.compile(
    r"open|print|input|exec|eval|(.+\.)?(now|utcnow|today|unlink|read_text|write_text|read_bytes|write_bytes|tofile|fromfile)"
    r"|(np|numpy)\.(load|save|savez|savetxt|loadtxt|genfromtxt|memmap|random(\.\w+)+)"
)
IMPURE_NAMES = re.compile(r"sys\.(std\w+|argv|path)|(np|numpy)\.random")

MOST_LINES = {"product": 400, "tests": 500}
MOST_FUNCTION_LINES = 60
MOST_README_LINES = 16


def sources(*tops: str) -> list[Path]:
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.AST, package: str) -> set[str]:
    """Dotted names of everything imported, functions and classes included; relative ones resolved against `package`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def package_of(path: Path) -> str:
    """`leeboard.pipelines.watch` for `pipelines/leeboard/pipelines/watch/engine.py`."""
    return ".".join(path.relative_to(ROOT).parts[1:-1])


def impurities(tree: ast.AST) -> Iterator[str]:
    """Clocks, chance, environment, input and output, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in imported(node, ""):
                if IMPURE_MODULES.fullmatch(name):
                    yield f"{node.lineno}: import {name}"
        elif isinstance(node, ast.Call) and IMPURE_CALLS.fullmatch(called := ast.unparse(node.func)):
            yield f"{node.lineno}: {called}()"
        elif isinstance(node, ast.Attribute) and IMPURE_NAMES.fullmatch(ast.unparse(node)):
            yield f"{node.lineno}: {ast.unparse(node)}"


def waivers_without_code(text: str) -> list[int]:
    """Lines whose comment switches a check off without saying which."""
    blanket = re.compile(r"#\s*(type:\s*ignore(?!\[[a-z-]+)|no" + r"qa(?!: ?[A-Z]+\d+))")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.start[0] for token in tokens if token.type == tokenize.COMMENT and blanket.search(token.string)]


def undocumented(tree: ast.Module) -> list[str]:
    """Names of the module's public functions and classes that have no docstring; the module itself as `module`."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, definitions) and not node.name.startswith("_")]
    bare = [node.name for node in public if not ast.get_docstring(node)]
    return bare if ast.get_docstring(tree) or not tree.body else ["module", *bare]


def long_functions(tree: ast.AST, limit: int) -> list[str]:
    """Functions that are longer than `limit` lines, decorators not counted."""
    return [
        f"{node.lineno}: {node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > limit
    ]


def project_files() -> Iterator[tuple[str, str]]:
    """Name and text of every text file of the project; what tools leave behind is not the project's."""
    hidden = re.compile(r"\.(?!ci$|gitignore$|github$|dockerignore$)|(__pycache__|build|dist|node_modules)$")
    waiting = [ROOT]
    while waiting:
        for path in waiting.pop().iterdir():
            if hidden.match(path.name):
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.stat().st_size < 1 << 20 and b"\0" not in (data := path.read_bytes()):
                yield name_of(path), data.decode("utf-8", "replace")


#: folders of one machine, and servers that only one network has
PLACES = re.compile(
    r"(?<![\w.~*])/(?:work|farm|root|home/\w+|Users/\w+|opt/wheels)(?![\w-])|\.librar[y]/"
    r"|(?:index|extra-index|trusted|find)[-_](?:url|host|links)"
    r"|//(?:[\w-]+\.)*(?:registry|artifactory|nexus|pypi)\.(?!org/p/|org/project/)[\w.-]+"
    r"|\b(?:registry|artifactory|nexus)[\w.-]*:\d+/|pythonhosted\.or[g]"
)


@pytest.mark.parametrize("part", PARTS)
def test_arrows_go_from_pipelines_to_detectors_to_schemas_only(part: str) -> None:
    found = {path: imported(parsed(path), package_of(path)) for path in sources(part)}
    assert found
    wrong = [
        f"{name_of(path)} imports {name}"
        for path, names in found.items()
        for name in names
        if name.split(".")[0] == "leeboard" and name.split(".")[1] not in ARROWS[part]
    ]
    assert not wrong


def test_schemas_need_only_the_standard_library_and_msgspec() -> None:
    names = {name.split(".")[0] for path in sources("schemas") for name in imported(parsed(path), package_of(path))}
    assert names - set(sys.stdlib_module_names) == {"leeboard", "msgspec"}


@pytest.mark.parametrize(
    ("code", "package", "expected"),
    [
        ("import a.b, c", "p", {"a.b", "c"}),
        ("from leeboard import pipelines", "p", {"leeboard.pipelines"}),
        ("from . import x", "leeboard.detectors", {"leeboard.detectors.x"}),
        ("def f():\n from .y import z", "leeboard.detectors", {"leeboard.detectors.y.z"}),
        ("from ..pipelines import z", "leeboard.detectors", {"leeboard.pipelines.z"}),
        ("from ...detectors.base import z", "leeboard.pipelines.watch", {"leeboard.detectors.base.z"}),
    ],
)
def test_the_arrow_check_resolves_every_form_of_import(code: str, package: str, expected: set[str]) -> None:
    assert imported(ast.parse(code), package) == expected


def test_pure_packages_have_no_clock_chance_environment_or_io() -> None:
    pure = [path for path in sources(*PARTS) if name_of(path).startswith(PURE)]
    assert len(pure) > 20
    found = {name_of(path): set(impurities(parsed(path))) for path in pure}
    beyond = {
        name: what
        for name, what in found.items()
        if {each.partition(": ")[2] for each in what} - EXEMPT.get(name, set())
    }
    assert not beyond


@pytest.mark.parametrize("name", EXEMPT)
def test_an_exemption_is_needed(name: str) -> None:
    assert {each.partition(": ")[2] for each in impurities(parsed(ROOT / name))} == EXEMPT[name]


def test_the_schema_generator_is_imported_by_nothing_in_the_product() -> None:
    everything = {name for path in sources(*PARTS) for name in imported(parsed(path), package_of(path))}
    assert not [name for name in everything if name.startswith("leeboard.schemas.generate")]


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "from os import environ",
        "from pathlib import Path",
        "import urllib.request",
        "from urllib import request",
        "from numpy.random import default_rng",
        "datetime.datetime.now(UTC)",
        "date.today()",
        "np.random.default_rng(1)",
        "x = numpy.random",
        "def f():\n with open('a') as file: pass",
        "print('x')",
        "sys.stderr.write('x')",
        "values.tofile('a')",
        "folder.write_text('a')",
    ],
)
def test_the_purity_check_finds_what_it_is_for(code: str) -> None:
    assert list(impurities(ast.parse(code)))


def test_the_purity_check_lets_arithmetic_pass() -> None:
    code = "import math, hashlib\nfrom urllib.parse import quote\nself.now = state.open(call.time)\nnow = max(now, 3)"
    assert not list(impurities(ast.parse(code)))


@pytest.mark.parametrize("part", PARTS)
def test_leeboard_is_a_namespace_that_each_root_shares(part: str) -> None:
    kept = {path.name for path in (ROOT / part / "leeboard").iterdir()} - {"__pycache__"}
    assert kept == {part}, "an __init__.py here would hide the other roots"


@pytest.mark.parametrize("part", PARTS)
def test_each_package_is_typed(part: str) -> None:
    assert (ROOT / part / "leeboard" / part / "py.typed").is_file()


def test_mypy_checks_all_three_roots() -> None:
    """Given the package `leeboard` it would look into the first root only, and say Success."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["strict"]
    assert settings["files"] == list(PARTS)
    assert "packages" not in settings


@pytest.mark.parametrize("kind", MOST_LINES)
def test_a_file_fits_in_one_head(kind: str) -> None:
    files = sources(*PARTS) if kind == "product" else sources("tests")
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES[kind]}


def test_a_function_fits_on_a_screen() -> None:
    found = [
        f"{name_of(path)}:{long}"
        for path in sources(*PARTS)
        for long in long_functions(parsed(path), MOST_FUNCTION_LINES)
    ]
    assert not found


def test_the_length_check_counts_lines_from_def_to_end() -> None:
    tree = ast.parse("@decorator\ndef f():\n  a = 1\n\n  return a\n")
    assert long_functions(tree, 3) == ["2: f"]
    assert long_functions(tree, 4) == []


def test_public_names_have_docstrings() -> None:
    assert not [f"{name_of(path)}: {name}" for path in sources(*PARTS) for name in undocumented(parsed(path))]


def test_the_docstring_check_sees_modules_functions_and_classes() -> None:
    tree = ast.parse("def f(): pass\nasync def g(): 'said'\nclass H: pass\ndef _private(): pass")
    assert undocumented(tree) == ["module", "f", "H"]


def test_a_waived_check_names_its_error() -> None:
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in sources(*PARTS, "tests")}
    assert not {name: lines for name, text in texts.items() if (lines := waivers_without_code(text))}


@pytest.mark.parametrize(
    ("comment", "waived"),
    [
        ("# type" + ": ignore", True),
        ("# type" + ": ignore[arg-type]", False),
        ("# no" + "qa", True),
        ("# no" + "qa: S101", False),
        ("# no" + "qa:E501", False),
    ],
)
def test_the_waiver_check_tells_blanket_from_named(comment: str, waived: bool) -> None:
    assert bool(waivers_without_code(f"x = 1  {comment}\n")) is waived


@pytest.mark.parametrize("folder", [*PARTS, "tests", "deploy"])
def test_each_top_level_folder_says_in_a_few_lines_what_lives_there(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert 4 <= len(text.splitlines()) <= MOST_README_LINES
    assert re.search(r"\b20\d\d-\d\d-\d\d\b", text), "decisions are dated"


def test_no_file_names_a_place_of_one_machine() -> None:
    files = dict(project_files())
    assert {"pyproject.toml", "Makefile", ".ci/run", "tests/architecture/test_architecture.py"} <= set(files)
    assert not [f"{name}: {found.group()}" for name, text in files.items() for found in PLACES.finditer(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cd /wo" + "rk/main", True),
        ("'/ro" + "ot'", True),
        ("/ho" + "me/ana/x", True),
        ("--extra-ind" + "ex-url=x", True),
        ("https://my.regis" + "try.example.com/x", True),
        ("https://pypi" + ".example.com/simple", True),
        ("image: regis" + "try.local:5000/leeboard", True),
        ("https://pypi.org/project/leeboard", False),
        ("the /worker and ./wo" + "rk/x and src/wo" + "rk", False),
        ("GET /v1/traces, /tmp/x", False),
    ],
)
def test_the_place_check_knows_machines_from_words(text: str, found: bool) -> None:
    assert bool(PLACES.search(text)) is found
