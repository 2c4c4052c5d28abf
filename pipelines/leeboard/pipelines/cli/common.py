"""What the commands share: options, configuration, output, and ways to end."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
from leeboard.pipelines.config import Config, ConfigError, load
from rich.console import Console

EXIT_FINDING, EXIT_USAGE, EXIT_NOT_MEASURED = 1, 2, 3

config_option = click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="Configuration (TOML). Default: none."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def fail(message: str, code: int = EXIT_USAGE) -> NoReturn:
    """End with a message on standard error."""
    errors.print(f"leeboard: {message}", markup=False, soft_wrap=True)
    sys.exit(code)


def read_config(path: Path | None) -> Config:
    """The configuration of a file and the environment; ends with the path of a wrong field."""
    try:
        return load(path, os.environ)
    except ConfigError as error:
        fail(str(error))


def escape_text(text: str) -> str:
    """Text of a record, without console markup and control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace("[", r"\[")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def write_file(path: Path, data: bytes) -> None:
    """Write a result; ends with a clear message where that is not possible."""
    try:
        path.write_bytes(data)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
