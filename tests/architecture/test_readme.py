"""Every shell command in README.md is run by a test.

A fenced block in `sh`, `bash` or `console` stands under one of two comments:

    <!-- run: quickstart -->          the blocks of one name run in order, in one empty folder, and succeed
    <!-- run: quickstart exit=1 -->   this block is a single command that ends with that code
    <!-- tested-by: tests/x/test_y.py::test_z -->   another test does it
"""

import ast
import os
import re
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLS = ("sh", "bash", "console", "shell", "zsh")
MOST_SECONDS = 300
FENCE = re.compile(r" {0,3}(?P<ticks>`{3,}|~{3,})\s*(?P<language>[\w+-]*)")
MARK = re.compile(r"<!--\s*(?P<kind>run|tested-by):\s*(?P<what>\S+)(?:\s+exit=(?P<code>\d+))?\s*-->")


@dataclass(frozen=True)
class Block:
    """A fenced block, and the comment above it."""

    line: int
    language: str
    text: str
    mark: re.Match[str] | None

    @property
    def scenario(self) -> str | None:
        return self.mark["what"] if self.mark and self.mark["kind"] == "run" else None

    @property
    def exit_code(self) -> int:
        return int(self.mark["code"] or 0) if self.mark else 0

    @property
    def commands(self) -> str:
        """The block as a script: of a console session only what follows the prompts."""
        if self.language != "console":
            return self.text
        return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith(("$ ", "> ")))


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks."""
    found: list[Block] = []
    lines = markdown.splitlines()
    start = ticks = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if start is None:
            if fence:
                start, ticks, language = number, fence["ticks"], fence["language"]
        elif line.strip() == ticks:
            above = next((text for text in reversed(lines[:start]) if text.strip()), "")
            text = "\n".join(lines[start + 1 : number])
            found.append(Block(start + 1, language, text, MARK.fullmatch(above.strip())))
            start = None
    assert start is None, f"line {start}: a fence that is never closed"
    return found


def untested(markdown: str) -> list[str]:
    """Shell blocks that no test runs, and fences that do not say what they hold."""
    wrong: list[str] = []
    for block in blocks(markdown):
        if not block.language:
            wrong.append(f"line {block.line}: the fence names no language")
        elif block.language in SHELLS and block.mark is None:
            wrong.append(f"line {block.line}: no `run:` or `tested-by:` comment above the block")
        elif block.mark and block.mark["kind"] == "tested-by" and not is_test(block.mark["what"]):
            wrong.append(f"line {block.line}: no such test: {block.mark['what']}")
    return wrong


def is_test(node_id: str) -> bool:
    path, _, name = node_id.partition("::")
    file = ROOT / path
    if not name or not file.is_file():
        return False
    names = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    return name.startswith("test_") and name in names


def run(markdown: str, folder: Path) -> list[str]:
    """Run every scenario in a folder of its own; what went otherwise than the README says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "HOME": str(folder),
        "NO_COLOR": "1",
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(Path.home() / ".cache" / "leeboard")),
    }
    wrong: list[str] = []
    for block in blocks(markdown):
        if block.scenario is None:
            continue
        where = folder / block.scenario
        where.mkdir(exist_ok=True)
        commands = re.sub(r"\\\n", " ", block.commands)
        count = sum(1 for line in commands.splitlines() if line.strip() and not line.lstrip().startswith("#"))
        if count == 0 or (block.exit_code and count > 1):
            wrong.append(f"line {block.line}: {count} commands; exit={block.exit_code} needs exactly one")
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != block.exit_code:
            wrong.append(f"line {block.line}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return wrong


def test_every_shell_block_of_the_readme_is_tested() -> None:
    assert untested((ROOT / "README.md").read_text(encoding="utf-8")) == []


def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path) -> None:
    assert run((ROOT / "README.md").read_text(encoding="utf-8"), tmp_path) == []


def page(*parts: tuple[str, str, str]) -> str:
    return "\n".join(f"# Title\n\n{mark}\n```{language}\n{text}\n```\n" for mark, language, text in parts)


def test_blocks_of_one_name_share_a_folder_and_run_in_order(tmp_path: Path) -> None:
    first = ("<!-- run: a -->", "sh", "# a comment\necho 1 > one")
    second = ("<!-- run: a -->", "console", "$ cat \\\n>   one\n1\n$ python -c 'import leeboard.schemas'")
    assert run(page(first, second), tmp_path) == []
    assert (tmp_path / "a" / "one").read_text() == "1\n"
    assert len(run(page(first, ("<!-- run: b -->", "sh", "cat one")), tmp_path)) == 1


@pytest.mark.parametrize("text", ["false\ntrue", "false | true", "echo $UNSET", "no-such-command", "# nothing"])
def test_a_block_fails_where_any_of_its_commands_fails(tmp_path: Path, text: str) -> None:
    assert len(run(page(("<!-- run: a -->", "sh", text)), tmp_path)) == 1


def test_an_expected_exit_code_belongs_to_a_single_command(tmp_path: Path) -> None:
    mark = "<!-- run: a exit=3 -->"
    assert run(page((mark, "sh", "sh -c \\\n  'exit 3'")), tmp_path) == []
    assert len(run(page((mark, "sh", "true")), tmp_path)) == 1
    assert len(run(page((mark, "sh", "true\nsh -c 'exit 3'")), tmp_path)) == 1


@pytest.mark.parametrize(
    ("mark", "language", "fine"),
    [
        ("", "sh", False),
        ("", "console", False),
        ("", "", False),
        ("", "python", True),
        ("<!-- run: a -->", "bash", True),
        ("<!-- nonsense -->", "bash", False),
        ("<!-- tested-by: tests/architecture/test_readme.py::test_a_shell_block_needs_a_test -->", "sh", True),
        ("<!-- tested-by: tests/architecture/test_readme.py::test_gone -->", "sh", False),
        ("<!-- tested-by: tests/architecture/test_readme.py::page -->", "sh", False),
        ("<!-- tested-by: tests/gone.py::test_x -->", "sh", False),
    ],
)
def test_a_shell_block_needs_a_test(mark: str, language: str, fine: bool) -> None:
    assert (untested(page((mark, language, "true"))) == []) is fine


def test_a_fence_that_is_never_closed_is_found() -> None:
    with pytest.raises(AssertionError, match="never closed"):
        blocks("```sh\ntrue\n")
