"""Where the files of `deploy` are, and how the tests read them."""

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs"


def text_of(name: str) -> str:
    """A file of `deploy`."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def yaml_of(name: str) -> Any:
    """The one document of a YAML file of `deploy`."""
    return yaml.safe_load(text_of(name))


def all_yaml_of(name: str) -> list[Any]:
    """All documents of a YAML file of `deploy`."""
    return list(yaml.safe_load_all(text_of(name)))


def json_of(name: str) -> Any:
    """A JSON file of `deploy`."""
    return json.loads(text_of(name))
