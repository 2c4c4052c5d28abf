"""Configuration as deploy gives it: TOML files and environment variables, read by the product's own loader."""

from collections.abc import Mapping
from pathlib import Path

from longshore.pipelines.config import PREFIX, Config, load

from . import awaited


def arrived(variable: str) -> bool:
    """Can the section of the variable be read yet?"""
    section = variable.removeprefix(PREFIX).lower().partition("__")[0]
    return section not in awaited.SECTIONS or section in Config.__struct_fields__


def read(path: Path, environment: Mapping[str, str]) -> Config:
    """The configuration of a process. Raises ConfigError for a key that does not exist."""
    return load(path, {name: value for name, value in environment.items() if arrived(name)})
