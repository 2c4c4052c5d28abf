"""Numeric signals, and numeric scores."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core import ranks
from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.jit import Arena
from leeboard.detectors.core.lifecycle import RECENT_VALUES
from leeboard.detectors.numeric import season
from leeboard.detectors.numeric.changes import NumericChanges
from leeboard.detectors.numeric.dependence import visible_shift
from leeboard.pipelines.signals import NUMERIC, NUMERIC_COLUMNS, Kind, Signal
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.rounding import rounded
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import NOT_MEASURED
from leeboard.pipelines.watch.state.scope import Scope
from leeboard.schemas import SignalSummary

from .base import Common, Family, Visible


class NumericFamily(Family):
    """One row of NUMERIC and one regression for every number that a scope measures; scores have no regression."""

    kind: ClassVar[Kind] = "numeric"
    detector: ClassVar[str] = "numeric"

    def __init__(self, signals: Signals, scopes: int) -> None:
        super().__init__(signals, signals.numeric, signals.numeric_channels, signals.numeric_weights)
        self.detectors = NumericChanges(unit=1.0)
        self.clocks = Rows(season.regression_dtype(0), begin=season.open_regression)
        self.givens = Rows(season.regression_dtype(season.COVARIATES), begin=season.open_regression)
        self.rows = np.full((scopes, NUMERIC_COLUMNS), -1, np.int32)
        self.regressions = np.full((scopes, NUMERIC_COLUMNS), -1, np.int32)
        self._tables = {"rows": -1, "regressions": -1}

    def changes(self, column: int) -> NumericChanges:
        """Rows and life cycle of the detectors of a column."""
        return self.detectors

    def keys(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope, in the order of columns."""
        return [DetectorKey("numeric", int(column)) for column in np.flatnonzero(self.rows[slot] >= 0)]

    def row(self, slot: int, key: DetectorKey) -> int:
        """Row number of a detector, -1 where there is none."""
        return int(self.rows[slot, key.column])

    def context(self, slot: int, key: DetectorKey) -> bool:
        """Are the values logarithms?"""
        return bool(self.signals.numeric_logarithmic[key.column])

    def signal(self, scope: Scope, key: DetectorKey) -> Signal:
        """The signal of a detector as configured, or one of the scope's own scores."""
        if key.column < len(self.configured):
            return self.configured[key.column]
        name = next(name for name, column in scope.scores.items() if column == key.column)
        return self.signals.score(name, categorical=False)

    def add(self, slot: int, key: DetectorKey) -> None:
        """Make a detector for a number that is measured for the first time."""
        self.rows[slot, key.column] = i = self.detectors.rows.allocate()
        if key.column < len(self.configured):
            self.detectors.rows.array["unit"][i] = self.configured[key.column].scale
            self.regressions[slot, key.column] = self._regressions(key.column).allocate()

    def layout(self, column: int) -> tuple[np.dtype[Any], ...]:
        """The row of a detector, a frozen reference, and its regression; scores have none."""
        own = super().layout(column)
        return own if column >= len(self.configured) else (*own, self._regressions(column).array.dtype)

    def drop_scope(self, slot: int) -> None:
        """Free everything of a scope."""
        for column in np.flatnonzero(self.regressions[slot] >= 0).tolist():
            self._regressions(column).free(int(self.regressions[slot, column]))
        super().drop_scope(slot)

    def reported(self, slot: int) -> bool:
        """Did the newest value of any detector of a scope lead to something?"""
        return self.detectors.reported(self.rows[slot])

    def regression(self, slot: int, key: DetectorKey) -> tuple[Arena, int] | None:
        """Where the regression of a detector lies; None where it has none."""
        r = int(self.regressions[slot, key.column])
        return (self._regressions(key.column).array, r) if r >= 0 else None

    def release(self, slot: int, key: DetectorKey) -> None:
        """The open change of a detector ends unreported: its values mean something else from now on."""
        i = self.row(slot, key)
        self.detectors.release(i)
        self.detectors.forget_evidence(i)

    def sd(self, slot: int, key: DetectorKey) -> float:
        """Standard deviation of the transformed values of a detector's reference."""
        return math.sqrt(float(ranks.variance(self.record(slot, key)["reference"])))

    def frozen_sd(self, slot: int, key: DetectorKey) -> float:
        """Standard deviation of the transformed values before an open change."""
        return math.sqrt(float(ranks.variance(self.frozen(slot, key)["reference"])))

    def visible(self, slot: int, key: DetectorKey, nats: float) -> float:
        """Smallest lasting shift that a detector can show at a level of exp(nats), in transformed units."""
        return float(visible_shift(self.record(slot, key)["long_run"], nats)) * self.sd(slot, key)

    def measured(self, slot: int, key: DetectorKey, ring: Arena) -> npt.NDArray[np.bool_]:
        """For every call of the ring: did it measure the signal? All did for scores, which the ring does not know."""
        if key.column >= len(NUMERIC):
            return super().measured(slot, key, ring)
        return np.asarray(ring["scores"][:, key.column] != NOT_MEASURED)

    def summaries(self, scope: Scope, common: Common, visible: Visible) -> Iterator[SignalSummary]:
        """Recent quantiles of every number."""
        for key in self.keys(scope.slot):
            if self.record(scope.slot, key)["events"] > 0:  # else only a repeated call has measured it so far
                yield self._summary(scope, key, common, visible)

    def _summary(self, scope: Scope, key: DetectorKey, common: Common, visible: Visible) -> SignalSummary:
        signal = self.signal(scope, key)
        record = self.record(scope.slot, key)
        kept = min(int(record["events"]), RECENT_VALUES)
        y = np.sort(record["values"][:kept].astype(np.float64))
        quantiles = []
        for q in (0.5, 0.9, 0.99):
            at = float(y[min(int(q * kept), kept - 1)])
            value = math.sinh(at) if signal.logarithmic else at
            quantiles.append(rounded(value * float(record["unit"])))
        if signal.given_tokens:  # values are residuals: they are shown against the baseline
            typical = math.sinh(float(ranks.median(record["reference"]))) * float(record["unit"])
            quantiles = [rounded(q / typical) if typical > 0 else 0.0 for q in quantiles]
        return SignalSummary(
            name=signal.name,
            channel=signal.channel,
            median=quantiles[0],
            p90=quantiles[1],
            p99=quantiles[2],
            unit=signal.unit,
            visible=visible(key, signal),
            **common(key, float(record["reference"]["seen"])),
        )

    def _regressions(self, column: int) -> Rows:
        return self.givens if self.signals.numeric_given[column] else self.clocks
