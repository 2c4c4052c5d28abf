"""The base install is for applications that only emit calls or read alerts: small, and nothing numeric in it."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

#: size of the base install before bytecode
MOST_BYTES = 9_000_000
HEAVY = ("numpy", "scipy", "numba", "river", "faust", "torch", "pandas")
#: what msgspec loads where it finds it
OPTIONAL = {"typing_extensions"}
#: prints the packages that importing the records loads, beyond the standard library
IMPORTED = """
import sys
before = set(sys.modules)
import leeboard.schemas
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(*sorted(loaded))
"""


@pytest.fixture(scope="module")
def light(wheel: Path, new_venv: Callable[..., Path]) -> Path:
    """A virtual environment with the wheel and its two base dependencies."""
    return new_venv(wheel)


def test_the_wheel_holds_three_typed_packages_and_the_json_schemas(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {f"leeboard/{part}/py.typed" for part in ("schemas", "detectors", "pipelines")} <= set(names)
    assert "leeboard/schemas/json/model_call-1.json" in names
    table = {f"leeboard/pipelines/measure/embed/minilm/{name}" for name in ("rows.npy", "scales.npy", "vocabulary.txt")}
    assert table <= set(names)
    assert any(name.endswith(".dist-info/licenses/NOTICE") for name in names), "the table's source and licence"
    assert "leeboard/__init__.py" not in names
    assert all(name.startswith(("leeboard/", "leeboard-")) for name in names)
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


def test_the_base_install_brings_two_dependencies(light: Path) -> None:
    (packages,) = light.glob("lib/python3*/site-packages")
    installed = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert installed == {"leeboard", "msgspec", "kafka_python"}


def test_the_base_install_is_small(light: Path) -> None:
    (packages,) = light.glob("lib/python3*/site-packages")
    files = [path for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    sizes: dict[str, int] = {}
    for path in files:
        top = path.relative_to(packages).parts[0]
        sizes[top] = sizes.get(top, 0) + path.stat().st_size
    total = sum(sizes.values())
    print(f"base install: {total / 1e6:.2f} MB", {name: round(size / 1e6, 2) for name, size in sizes.items()})
    assert sizes["leeboard"] > 0
    assert total <= MOST_BYTES, sizes


def test_the_records_work_in_the_base_install(light: Path, outside: Run) -> None:
    code = (
        "import leeboard.schemas as s, importlib.resources as r; "
        "print(s.__file__); print(s.encode(s.ModelCall(id='a', time=0, app='x')).decode()); "
        "print((r.files(s) / 'json' / 'alert-1.json').is_file())"
    )
    done = outside(light / "bin" / "python", "-c", code)
    assert done.returncode == 0, done.stderr
    where, record, has_schema = done.stdout.splitlines()
    assert Path(where).is_relative_to(light)
    assert record == '{"schema":"model_call/1","id":"a","time":0,"app":"x"}'
    assert has_schema == "True"


def test_importing_the_records_loads_only_msgspec(light: Path, outside: Run) -> None:
    """Also in an environment that has the heavy packages."""
    for python in (light / "bin" / "python", sys.executable):
        done = outside(python, "-c", IMPORTED)
        assert done.returncode == 0, done.stderr
        assert set(done.stdout.split()) - OPTIONAL == {"leeboard", "msgspec"}


def test_the_base_install_has_none_of_the_heavy_packages(light: Path, outside: Run) -> None:
    code = f"import importlib.util as u; print(*[name for name in {HEAVY!r} if u.find_spec(name)])"
    assert outside(light / "bin" / "python", "-c", code).stdout.split() == []
    assert "numpy" in outside(sys.executable, "-c", code).stdout.split(), "the probe finds what is there"


@pytest.mark.parametrize("arguments", [[], ["demo"], ["replay", "calls.jsonl"]], ids=" ".join)
def test_a_command_that_needs_the_extra_names_it_and_exits_2(light: Path, outside: Run, arguments: list[str]) -> None:
    done = outside(light / "bin" / "leeboard", *arguments)
    assert done.returncode == 2, done.stderr
    assert "leeboard[detectors]" in done.stderr
    assert "Traceback" not in done.stderr
