"""`leeboard check-config`: is a configuration right, and what does it come to?"""

from pathlib import Path

import click
import msgspec
from leeboard.pipelines.config import printable_config

from .common import config_option, console, fail, json_option, print_json, read_config


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@config_option
@json_option
def check_config(file: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Validate a configuration and print it resolved, without secrets: file, environment and defaults together."""
    if file is not None and config_path is not None:
        fail("give the file once")
    path = file or config_path
    config = read_config(path)
    if as_json:
        print_json(printable_config(config))
        return
    console.print(msgspec.toml.encode(_without_none(printable_config(config))).decode(), markup=False, soft_wrap=True)
    console.print(f"# {path or 'the defaults'}: fine. fingerprint {config.engine().fingerprint()}", markup=False)


def _without_none(value: object) -> object:
    """TOML has no null: an absent key stays absent."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value
