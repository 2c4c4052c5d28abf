"""One numeric stream: the kernels of `numeric` behind the contract of `base`."""

import math

import numpy as np
from leeboard.detectors.base import Uniforms, Value, level_nats, pack_snapshot, unpack_snapshot
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.effect import finite
from leeboard.detectors.core.evidence import Evidence

from . import kernels, season
from .changes import NumericChanges
from .scaling import DITHER, prepare_number

COUNTS_DTYPE = np.dtype([("refused", "f8")])
BYTES = np.dtype(np.uint8)
#: covariates are natural logs: no finite float has a larger one
LARGEST_LOG = 710.0


class NumericDetector:
    """Finds shifts of a numeric stream that moves more than it used to move.

    `level`: fire when the evidence supports one false firing in so many events. `page_level`: level beyond which claims
    are tempered for. `logarithmic`: effects are ratios (values are taken as asinh(x / unit)). `unit`: scale of the
    values; 0 learns it. `seasonal`: values are judged given the clock, once the clock explains something.
    `covariates`: number of covariates (0 or 2) that every update brings.
    Source: module `numeric`; Shin, Ramdas, Rinaldo, "E-detectors" (2024).

    >>> import random
    >>> from leeboard.detectors import NumericDetector, event_uniforms
    >>> rng, detector = random.Random(1), NumericDetector(level=1e4)
    >>> for t in range(1500):
    ...     x = rng.lognormvariate(0.0 if t < 1000 else 0.7, 0.5)
    ...     evidence = detector.update(x, uniforms=event_uniforms(str(t), "latency_ms"))
    ...     if evidence:
    ...         print(t, evidence.direction, f"{evidence.effect:+.0%}", t - evidence.change.estimate)
    1017 up +90% 1004
    """

    def __init__(
        self,
        *,
        level: float = 1e4,
        page_level: float | None = None,
        logarithmic: bool = True,
        unit: float = 0.0,
        seasonal: bool = False,
        covariates: int = 0,
        floor: float = 0.0,
    ) -> None:
        if not (0.0 <= unit < math.inf and 0.0 <= floor < math.inf):
            raise ValueError(f"unit and floor must be finite and not negative: {unit}, {floor}")
        if covariates not in (0, season.COVARIATES):
            raise ValueError(f"covariates must be 0 or {season.COVARIATES}: {covariates}")
        self.refused = 0
        self._nats, self._nats_page = level_nats(level, page_level)
        self._logarithmic = logarithmic
        self._floor = floor
        self._covariates = covariates
        self._adjusts = seasonal or covariates > 0
        self._seasonal = seasonal
        self._changes = NumericChanges(unit, rows=2)
        self._row = self._changes.rows.allocate()
        self._regression = np.zeros(1, season.regression_dtype(covariates))
        self._scratch = np.zeros(BETS)
        self._features = np.zeros((2, season.FEATURES))
        kernels.set_levels(self._changes.record(self._row), self._nats, self._nats_page)
        season.open_regression(self._regression[0])

    @property
    def log_level(self) -> float:
        """Natural log of the level now: the page process counts only once the notice level was reached."""
        return self._changes.log_level(self._row, self._nats)

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return self._changes.is_open(self._row)

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,
        covariates: tuple[float, ...] | None = None,
    ) -> Evidence | None:
        """See `base.Detector.update`."""
        x = finite(value)
        if x is None or (self._covariates and not self._usable(covariates)):
            self.refused += 1
            return None
        changes, i = self._changes, self._row
        row = changes.record(i)
        y = prepare_number(row, x, uniforms[0], self._logarithmic, DITHER)
        if self._adjusts:
            minute = season.minute_of_week(clock) if self._seasonal and clock is not None else -1
            known = np.array(covariates or (0.0, 0.0), np.float32)
            features, gain = self._features
            y, moved = season.adjust(self._regression[0], y, minute, known, self.open, features, gain)
            if moved:
                kernels.restart_references(row)
        args = (changes.rows.array, i, changes.frozen.array, y, uniforms[1], uniforms[2], self._nats, self._scratch)
        return changes.follow(i, kernels.step_number(*args), self._floor, self._nats, self._logarithmic)

    def accept(self) -> None:
        """The level since the open change is normal from now on."""
        if self.open:
            self._changes.accept(self._row)

    def snapshot(self) -> bytes:
        """The whole state."""
        counts = np.array([float(self.refused)])
        return pack_snapshot(f"numeric{self._covariates}", self._changes.snapshot(self._row), self._regression, counts)

    def restore(self, state: bytes) -> None:
        """Take over a snapshot of a detector with the same settings."""
        kind = f"numeric{self._covariates}"
        dtypes = [(BYTES, self._changes.snapshot_bytes), (self._regression.dtype, 1), (COUNTS_DTYPE, 1)]
        row, self._regression, counts = unpack_snapshot(kind, state, *dtypes)
        self._changes.restore_snapshot(self._row, row)
        self.refused = int(counts["refused"][0])

    def _usable(self, covariates: tuple[float, ...] | None) -> bool:
        """As many finite covariates as were promised?"""
        if covariates is None or len(covariates) != self._covariates:
            return False
        return all((x := finite(each)) is not None and abs(x) <= LARGEST_LOG for each in covariates)
