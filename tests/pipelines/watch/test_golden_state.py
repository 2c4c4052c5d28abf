"""States that earlier versions wrote are taken over, and go on as if there had been no other version.

Where a change is meant: `python -m tests.pipelines.watch.regenerate` writes that of this version anew.
"""

from pathlib import Path

import msgspec
import pytest
from leeboard.pipelines.numerics import numerics_tag
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.snapshot.codec import READERS, VERSION, StateError
from leeboard.schemas import encode

from .golden_state import BEFORE, FOLDER, NEWEST, SCOPE, GoldenState, records
from .streams import ALERTS_ONLY, Outcome, run
from .test_golden_alerts import assert_near, parsed

FILES = sorted(FOLDER.glob("version-*.msgpack"))


def golden(path: Path) -> GoldenState:
    return msgspec.msgpack.decode(path.read_bytes(), type=GoldenState)


@pytest.fixture(scope="module")
def whole() -> Outcome:
    """The stream without interruption."""
    return run(records(), engine=Engine(ALERTS_ONLY, numerics_tag()))


def test_there_is_a_state_of_every_version_that_is_read() -> None:
    assert {path.name for path in FILES} == {f"version-{version}.msgpack" for version in READERS}
    assert sum(path.stat().st_size for path in FILES) < 400_000


def test_the_newest_one_holds_every_kind_of_detector_in_an_open_incident_and_texts_in_their_warm_up() -> None:
    engine = Engine(ALERTS_ONLY)
    engine.restore(golden(NEWEST).parts)
    scope = engine.scopes[SCOPE]
    assert {key.kind for key in engine.bank.keys(scope.slot)} == {"numeric", "binary", "categorical", "text"}
    assert scope.incident is not None and scope.texts is not None
    assert any(name.startswith("warm_up.") for name in golden(NEWEST).parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_state_goes_on_like_the_run_that_was_never_interrupted(path: Path, whole: Outcome) -> None:
    stored = golden(path)
    engine = Engine(ALERTS_ONLY, numerics_tag())
    assert engine.restore(stored.parts).dropped == 0
    engine.validate_state()
    again = run(records()[BEFORE:], engine=engine)
    expected = [alert for alert in whole.alerts if alert.evidence.positions.this.sequence > BEFORE]
    assert {alert.status for alert in expected} == {"trigger", "update", "resolve"}
    lines, others = ([encode(alert) for alert in alerts] for alerts in (again.alerts, expected))
    if stored.numerics == numerics_tag():  # elsewhere its numbers come from another arithmetic
        assert lines == others
    assert len(lines) == len(others)
    for line, other in zip(lines, others, strict=True):
        assert_near(parsed(line), parsed(other))


def test_a_build_writes_what_is_kept_of_its_own_version() -> None:
    """Whatever changes the bytes of a state changes this file, and so is seen: does it need another version?"""
    stored = golden(NEWEST)
    if stored.numerics != numerics_tag():
        pytest.skip(f"the state was written with the arithmetic of {stored.numerics}, this is {numerics_tag()}")
    engine = Engine(ALERTS_ONLY, numerics_tag())
    engine.restore(stored.parts)
    assert engine.snapshot(SCOPE) == stored.parts


def test_the_first_version_is_named_where_it_is_refused() -> None:
    import zlib

    parts = golden(NEWEST).parts
    old = {**parts, "scope": zlib.compress(msgspec.msgpack.encode([1, "fingerprint", SCOPE]))}
    with pytest.raises(StateError, match=f"state of version 1; this release reads version {VERSION}"):
        Engine(ALERTS_ONLY).restore(old)
