"""The commands under "Install" in the README are what pip takes, from this checkout."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from .test_readme import blocks

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE", "schemas", "detectors", "pipelines")


def checkout(folder: Path) -> Path:
    """A copy of what the wheel is built from."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def test_the_readme_installs_from_a_checkout(tmp_path: Path) -> None:
    """Builds and resolves for real; a dry run leaves this environment as it is. test_light_install installs."""
    found = [block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")) if "pip install" in block.text]
    assert len(found) == 2
    folder = checkout(tmp_path)
    scripts = sysconfig.get_path("scripts")
    environment = os.environ | {"PATH": os.pathsep.join([scripts, os.environ["PATH"]]), "PIP_DRY_RUN": "1"}
    # pip reads this as "without isolation"; with it the dry run would reach into the build
    environment["PIP_NO_BUILD_ISOLATION"] = "0"
    commands = "\n".join(block.text for block in found)
    command = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert said.count("Would install leeboard-") == commands.count("pip install") == 5, said
    assert "does not provide the extra" not in said
