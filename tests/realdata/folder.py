"""Where the real data lie, and how its files are read."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "LEEBOARD_DATA"
#: the folders that the converters read
FOLDERS = (
    *("aider_telemetry", "alpaca_eval", "azure_llm_2023", "llmdrift", "llmperf_2023_12", "nab", "servegen", "tcpd"),
    *("clinc150", "hh_redteam", "nlp_abstracts", "xquad"),
)


def root() -> Path:
    """The folder with the data, there or not."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get(VARIABLE) or beside)


def missing() -> list[str]:
    """The folders that are not there."""
    return [name for name in FOLDERS if not (root() / name).is_dir()]


def available() -> bool:
    """Are all folders there?"""
    return not missing()


needs_data = pytest.mark.skipif(
    not available(),
    reason=f"real data not found: no {', '.join(missing())} in ../shared/data beside the project nor in ${VARIABLE}",
)


def rows(path: str) -> list[dict[str, str]]:
    """The rows of a gzipped CSV file with a header; `path` is relative to the data."""
    with gzip.open(root() / path) as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")))


def document(path: str) -> Any:
    """A JSON file, gzipped or not."""
    data = (root() / path).read_bytes()
    return json.loads(gzip.decompress(data) if path.endswith(".gz") else data)


def lines(path: str) -> list[Any]:
    """The documents of a gzipped JSON lines file."""
    return [json.loads(line) for line in gzip.decompress((root() / path).read_bytes()).splitlines()]
