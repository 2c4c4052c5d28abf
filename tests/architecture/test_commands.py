"""The two commands of the README are what they say; what they call is tested elsewhere (test_cli, this run)."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def planned(target: str) -> str:
    """The commands that make would run for a target, in a checkout without an environment."""
    assert shutil.which("make"), "make is missing (Debian: apt-get install make)"
    command = ["make", "--dry-run", "--no-print-directory", "VENV=absent", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_demo_and_make_test_do_what_the_readme_says() -> None:
    demo, test = planned("demo"), planned("test")
    assert demo.rstrip().endswith("absent/bin/leeboard demo")
    for step in ("ruff check", "ruff format --check", "-m mypy", "-m pytest"):
        assert step in test
    for plan in (demo, test):
        assert "-m venv absent" in plan, "make must make its own environment"
        assert "pip install" in plan


def test_ci_runs_make_test() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith("make test")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench"])
def test_the_targets_of_the_readme_exist(target: str) -> None:
    assert planned(target)
