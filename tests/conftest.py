"""Settings and installations that several tests share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# CI draws the same examples in every run; elsewhere a failure prints the seed and the blob that reproduce it.
settings.register_profile("leeboard", deadline=None, print_blob=True)
settings.register_profile("leeboard-ci", parent=settings.get_profile("leeboard"), derandomize=True, database=None)
settings.load_profile("leeboard-ci" if os.environ.get("CI") else "leeboard")


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command from outside the checkout, with no PYTHON* variable that could show it the checkout's folders."""
    folder = tmp_path_factory.mktemp("outside")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )

    return run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, outside: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """The project's wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    built = outside(sys.executable, "-m", "pip", "wheel", *flags, ROOT)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("leeboard-*.whl")
    return path


@pytest.fixture(scope="session")
def new_venv(
    tmp_path_factory: pytest.TempPathFactory, outside: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[..., Path]:
    """Make a fresh virtual environment, install into it with this one's pip, and return its folder."""

    def make(*install: str | Path) -> Path:
        folder = tmp_path_factory.mktemp("venv")
        made = outside(sys.executable, "-m", "venv", "--without-pip", folder)
        assert made.returncode == 0, made.stderr
        pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
        installed = outside(*pip, "install", "--quiet", "--no-compile", *install)
        assert installed.returncode == 0, installed.stderr
        return folder

    return make
