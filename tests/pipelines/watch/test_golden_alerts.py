"""A small fixed stream gives the alerts that are kept in `goldens`: to the byte where the arithmetic is the same.

Where a change of the engine is meant to change them: `python -m tests.pipelines.watch.regenerate`.
"""

import json
import re
from typing import Any

import pytest
from leeboard.pipelines.numerics import numerics_tag
from leeboard.pipelines.replay import ReplayResult
from leeboard.schemas import Alert, decode_result, encode

from .golden_stream import ALERTS, replayed

REGENERATE = "run `python -m tests.pipelines.watch.regenerate` if this change was meant"
GOLDEN = ALERTS.read_bytes().splitlines()


@pytest.fixture(scope="module")
def result() -> ReplayResult:
    return replayed()


def parsed(line: bytes) -> dict[str, Any]:
    """An alert without the tag of the arithmetic, and without the numbers in its sentence."""
    alert: dict[str, Any] = json.loads(line)
    alert["evidence"].pop("numerics")
    alert["verdict"]["sentence"] = re.sub(r"[\d.,]+", "#", alert["verdict"]["sentence"])
    return alert


def assert_near(one: Any, other: Any, where: str = "") -> None:
    """Equal, with numbers to 1e-6 (told with 6 digits, so that the last one may differ by 1)."""
    if isinstance(one, float | int) and not isinstance(one, bool):
        assert one == pytest.approx(other, rel=1.1e-5, abs=1e-9), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_near(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for at, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_near(left, right, f"{where}[{at}]")
    else:
        assert one == other, where


def test_the_stream_gives_the_golden_alerts(result: ReplayResult) -> None:
    lines = [encode(alert) for alert in result.alerts]
    first = decode_result(GOLDEN[0])
    assert isinstance(first, Alert)
    if first.evidence.numerics == numerics_tag():
        assert lines == GOLDEN, REGENERATE
    assert len(lines) == len(GOLDEN), REGENERATE
    for line, golden in zip(lines, GOLDEN, strict=True):
        assert_near(parsed(line), parsed(golden), REGENERATE)


def test_the_golden_alerts_hold_what_can_happen_to_an_incident() -> None:
    alerts = [decode_result(line) for line in GOLDEN]
    seen = {(a.status, a.resolution) for a in alerts if isinstance(a, Alert)}
    assert seen >= {("trigger", None), ("update", None), ("resolve", "recovered"), ("resolve", "accepted")}
    assert {a.severity for a in alerts if isinstance(a, Alert)} == {"info", "warning", "critical"}
    assert {s.detector for a in alerts if isinstance(a, Alert) for s in a.signals} == {"numeric", "share", "text"}
    assert {a.announced for a in alerts if isinstance(a, Alert)} == {True, False}
    assert sum(map(len, GOLDEN)) < 200_000


def test_the_comparison_across_machines_tells_differences() -> None:
    golden = parsed(GOLDEN[0])
    with pytest.raises(AssertionError):
        assert_near({**golden, "level": golden["level"] * 1.0001}, golden)
    with pytest.raises(AssertionError):
        assert_near({**golden, "id": "other"}, golden)
    with pytest.raises(AssertionError):
        assert_near({**golden, "signals": []}, golden)
    assert_near({**golden, "level": golden["level"] * (1 + 5e-6)}, golden)
