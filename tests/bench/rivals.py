"""River's detectors on the same streams: as they come, and as a careful user would feed them."""

from collections.abc import Callable

import numpy as np
from leeboard.detectors.core.jit import Floats, Integers
from river import drift
from river.base import DriftDetector

from tests.realdata import Values

from .drive import Method

#: events from which a careful user standardises
STANDARDISED = 100


def standardised(values: Floats) -> Floats:
    """asinh(x / median), less the mean and divided by the deviation of the first events."""
    scale = np.median(np.abs(values[:50]))
    y = np.arcsinh(values / (scale if scale > 0 else np.abs(values).mean() + 1e-12))
    result: Floats = (y - y[:STANDARDISED].mean()) / (y[:STANDARDISED].std() + 1e-9)
    return result


def river(make: Callable[[], DriftDetector], prepare: Callable[[Floats], Floats] | None = None) -> Method:
    """A River detector as a method."""

    def method(stream: Values, _: int) -> Integers:
        detector, alarms = make(), []
        values = stream.values if prepare is None else prepare(stream.values)
        for t, x in enumerate(values.tolist()):
            detector.update(x)
            if detector.drift_detected:
                alarms.append(t)
        return np.array(alarms, np.int64)

    return method


def adwin(delta: float) -> Method:
    """ADWIN on standardised logs, checked at every event."""
    return river(lambda: drift.ADWIN(delta=delta, clock=1), standardised)


def page_hinkley(threshold: float) -> Method:
    """Page-Hinkley on standardised logs with a quarter of a deviation of slack."""
    return river(
        lambda: drift.PageHinkley(min_instances=30, delta=0.25, threshold=threshold, alpha=1 - 1e-4), standardised
    )


def kswin(alpha: float) -> Method:
    """KSWIN (600 microseconds an event: short streams only)."""
    return river(lambda: drift.KSWIN(alpha=alpha, seed=1))


DEFAULTS: dict[str, Method] = {
    "ADWIN default": river(drift.ADWIN),
    "Page-Hinkley default": river(drift.PageHinkley),
}
#: thresholds tried when a rival is tuned to equal false alarms
ADWIN_SWEEP = (1e-3, 1e-6, 1e-9, 1e-12, 1e-14, 1e-17, 1e-20)
PAGE_HINKLEY_SWEEP = (20.0, 40.0, 80.0, 120.0, 160.0, 240.0, 320.0)
KSWIN_SWEEP = (5e-3, 1e-4, 1e-6, 1e-8, 1e-10)
