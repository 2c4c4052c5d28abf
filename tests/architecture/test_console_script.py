"""The console script works from outside the checkout: pytest's own path can hide a folder that an install forgot."""

import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
#: prints where each of the three parts is found
PLACES = """
import leeboard.schemas as s, leeboard.detectors as d, leeboard.pipelines as p
print(*s.__path__, *d.__path__, *p.__path__)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(wheel: Path, new_venv: Callable[..., Path]) -> Path:
    """The wheel in a virtual environment of its own, which borrows the dependencies from this one.

    A folder that a .pth file adds has its own .pth files left unread, so the editable install does not come along.
    """
    folder = new_venv("--no-deps", wheel)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def check(run: Run, scripts: Path, home: Path) -> None:
    done = run(scripts / "leeboard", "--version")
    assert done.returncode == 0, done.stderr
    assert VERSION in done.stdout
    found = run(scripts / "python", "-c", PLACES)
    assert found.returncode == 0, found.stderr
    places = [Path(place) for place in found.stdout.split()]
    assert len(places) == 3
    assert all(place.is_relative_to(home) for place in places)


def test_the_console_script_of_the_wheel_runs_outside_the_checkout(installed: Path, outside: Run) -> None:
    check(outside, installed, installed.parent)


def test_the_console_script_of_the_editable_install_runs_outside_the_checkout(outside: Run) -> None:
    check(outside, Path(sys.executable).parent, ROOT)
