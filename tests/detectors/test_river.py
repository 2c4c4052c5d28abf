"""River's detectors in our contract and ours in River's; a name in a configuration can do nothing but name one."""

import inspect
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.detectors import NumericDetector
from leeboard.detectors.river import HISTORY, RiverDetector, as_river, make_river
from river import drift
from river.base import DriftDetector

U = (0.5, 0.5, 0.5)
FOUND = ("ADWIN(delta=0.002)", "PageHinkley(threshold=60)", "KSWIN(alpha=0.0001)")


def shifted(seed: int, events: int = 1500, at: int = 1000) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(10 if t < at else 14, 1) for t in range(events)]


@pytest.mark.parametrize("text", FOUND)
def test_a_river_detector_finds_a_shift_and_claims_no_level(text: str) -> None:
    detector = RiverDetector(text)
    found = [(t, e) for t, x in enumerate(shifted(1)) if (e := detector.update(x, uniforms=U))]
    assert len(found) <= 4
    t, evidence = next((t, evidence) for t, evidence in found if t >= 1000)
    assert t < 1200
    assert evidence.level == 0
    assert evidence.guarantee == "empirical"
    assert evidence.detector == f"river:{text}"
    assert evidence.n_before + evidence.n_after <= t + 1


@pytest.mark.parametrize(
    "text", ["ADWIN", "  ADWIN ( delta = 0.01 , clock=16 ) ", "PageHinkley(mode='up')", "NoDrift()"]
)
def test_a_detector_is_made_from_its_name_and_literal_parameters(text: str) -> None:
    assert isinstance(make_river(text), DriftDetector)


def test_parameters_reach_the_detector() -> None:
    assert make_river("PageHinkley(threshold=7.5, min_instances=3)").threshold == 7.5
    assert make_river("ADWIN(delta=0.125)").delta == 0.125


def test_randomness_inside_a_river_detector_has_a_fixed_seed() -> None:
    """Else a replay would not be equal to what was live."""
    kinds = [kind for kind in vars(drift).values() if isinstance(kind, type) and issubclass(kind, DriftDetector)]
    seeded = [kind.__name__ for kind in kinds if "seed" in inspect.signature(kind).parameters]
    assert "KSWIN" in seeded
    for text in (*seeded, "KSWIN(seed=None)"):
        assert make_river(text).seed is not None


BAD = (
    "",
    "Nothing",
    "ADWIN(",
    "ADWIN)",
    "ADWIN(0.002)",
    "ADWIN(foo=1)",
    "ADWIN(delta='small')",
    "ADWIN(delta=)",
    "ADWIN(**{'delta': 0.1})",
    "ADWIN() + ()",
    "ADWIN(delta=10**9)",
    "ADWIN(clock=99999999999999999999999)",
    "ADWIN(delta=" + "(" * 300 + "1" + ")" * 300 + ")",
    "ADWIN(delta=" + "-" * 5000 + "1)",
    "ADWIN(delta=\x001)",
    "ADWIN; import os",
    "drift.ADWIN()",
    "base.DriftDetector",
    "binary",
    "__class__",
    "DriftRetrainingClassifier(model=None)",
)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_detector_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"river\.drift|cannot make") as refused:
        RiverDetector(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    "parameter",
    [
        "open({file!r}, 'w')",
        "__import__('pathlib').Path({file!r}).touch()",
        "exec('open({file}, chr(119))')",
        "[open({file!r}, 'w') for _ in (1,)]",
        "(lambda: open({file!r}, 'w'))()",
        "f'{{open({file!r}, chr(119))}}'",
        "(x := open({file!r}, 'w'))",
    ],
)
def test_a_parameter_runs_no_code(parameter: str, tmp_path: Path) -> None:
    file = tmp_path / "written"
    for text in (f"ADWIN(delta={parameter.format(file=str(file))})", f"ADWIN(*{parameter.format(file=str(file))})"):
        with pytest.raises(ValueError, match="cannot make"):
            make_river(text)
    assert not file.exists()


@given(st.text())
def test_any_text_makes_a_detector_or_is_refused(text: str) -> None:
    for name in (text, f"ADWIN({text})", f"ADWIN(delta={text})"):
        try:
            assert isinstance(make_river(name), DriftDetector)
        except ValueError as error:
            assert name in str(error) or repr(name) in str(error)


def test_a_long_stream_keeps_a_bounded_history_and_still_finds_a_shift() -> None:
    detector = RiverDetector("ADWIN()")
    values, sizes = shifted(3, 3 * HISTORY + 600, 3 * HISTORY), []
    found = []
    for t, x in enumerate(values):
        if detector.update(x, uniforms=U):
            found.append(t)
        if t % 64 == 0:
            sizes.append(len(detector.snapshot()))
    assert max(sizes) < 8 * (HISTORY + 16)
    assert any(3 * HISTORY < t < 3 * HISTORY + 200 for t in found)


def test_a_snapshot_makes_its_detector_again_and_no_other() -> None:
    detector = RiverDetector("PageHinkley(threshold=60)")
    for x in shifted(5)[:1003]:
        detector.update(x, uniforms=U)
    state = detector.snapshot()
    restored = RiverDetector.from_snapshot(state)
    rest = shifted(5)[1003:]
    assert [restored.update(x, uniforms=U) for x in rest] == [detector.update(x, uniforms=U) for x in rest]
    with pytest.raises(ValueError, match="PageHinkley"):
        RiverDetector("ADWIN()").restore(state)


def test_ours_works_where_river_expects_a_drift_detector() -> None:
    detector = as_river(NumericDetector(level=1e4), seed=3)
    assert isinstance(detector, DriftDetector)
    found = []
    for t, x in enumerate(shifted(2)):
        detector.update(x)
        if detector.drift_detected:
            found.append((t, detector.evidence.direction))
    assert len(found) == 1
    assert 1000 < found[0][0] < 1020
    assert found[0][1] == "up"


def test_ours_in_river_is_decided_by_its_seed() -> None:
    """Its uniforms are no others in another run, and others with another seed."""

    def states(seed: int) -> list[bytes]:
        detectors = [as_river(NumericDetector(level=1e4), seed=seed) for _ in range(2)]
        for x in shifted(4)[:300]:
            for detector in detectors:
                detector.update(x)
        return [detector.detector.snapshot() for detector in detectors]

    (one, same), (other, _) = states(1), states(2)
    assert one == same
    assert one != other
