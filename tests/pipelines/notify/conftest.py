"""Connections of a test's sinks end with it."""

from collections.abc import Iterator

import pytest

from .sinks import close_all


@pytest.fixture(autouse=True)
def closed_sinks() -> Iterator[None]:
    yield
    close_all()
