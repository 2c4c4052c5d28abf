"""What the commands share: configuration, reading with a progress bar, and ways to end."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
from leeboard.pipelines.config import Config, ConfigError, load
from leeboard.pipelines.ingest import STANDARD_INPUT, UnreadableFile, read_records, total_bytes
from leeboard.pipelines.measure import COUNTED
from leeboard.schemas import Record, Reject
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

FINDING, USAGE, NOT_MEASURED = 1, 2, 3
#: files smaller than this need no progress bar
LONG_BYTES = 4 << 20

config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML). Default: none."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def fail(message: str, code: int = USAGE) -> NoReturn:
    """End with a message on standard error."""
    errors.print(f"leeboard: {message}", markup=False, soft_wrap=True)
    sys.exit(code)


def read_config(path: Path | None) -> Config:
    """The configuration of a file and the environment; ends with the path of a wrong field."""
    try:
        return load(path, os.environ)
    except ConfigError as error:
        fail(str(error))


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def progress_bar(paths: Sequence[str], what: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error over the bytes of some files, where there are many and a person watches."""
    total = total_bytes(paths)
    if (total is not None and total < LONG_BYTES) or not errors.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda read: progress.update(task, advance=read)


@contextmanager
def records_of(paths: Sequence[str], what: str, *, allow_controls: bool = False) -> Iterator[Iterator[Record | Reject]]:
    """The records of some files, with a progress bar; ends with a clear message where one cannot be read."""
    if list(paths).count(STANDARD_INPUT) > 1:
        fail("standard input (-) can be read only once")
    try:
        with progress_bar(paths, what) as progress:
            arrival_ms = time.time_ns() // 1_000_000
            yield read_records(paths, arrival_ms=arrival_ms, allow_controls=allow_controls, progress=progress)
    except UnreadableFile as error:
        fail(str(error))


def say_unmeasured(counts: dict[str, int]) -> None:
    """Say what of the texts could not be measured, and why."""
    for name, count in counts.items():
        if count:
            errors.print(f"{count:,} {COUNTED[name]}", markup=False)


def write_file(path: Path, data: bytes) -> None:
    """Write a result; ends with a clear message where that is not possible."""
    try:
        path.write_bytes(data)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
