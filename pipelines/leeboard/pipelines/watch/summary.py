"""`summary/1` of a scope: recent quantiles, shares, the state of every detector, counts."""

import math
from functools import partial
from typing import Any

from leeboard.detectors.core.lifecycle import BASELINE_NEEDED
from leeboard.pipelines.signals import Signal
from leeboard.schemas import SignalSummary, Summary

from .families.bank import Bank
from .incidents.lifecycle import CallPoint, Incidents
from .rounding import rounded
from .state.keys import DetectorKey
from .state.scope import Scope

#: counter of records that could not be applied
ENGINE_ERROR = "engine_error"
#: base-10 log of the level that stands for no evidence at all
LOWEST = -9.0


class Summaries:
    """Writes summaries."""

    def __init__(self, bank: Bank, incidents: Incidents) -> None:
        self._bank = bank
        self._incidents = incidents

    def write(self, scope: Scope, point: CallPoint, page_nats: float) -> Summary:
        """The summary of a scope at this point; counting of calls and first-seen values starts again."""
        common, visible = partial(self._common, scope), partial(self.visible_effect, scope)
        signals = [s for family in self._bank.summarised for s in family.summaries(scope, common, visible)]
        signals += [s for family in self._bank.summarised for s in family.constants(scope, _still)]
        summary = Summary(
            scope=scope.key,
            time=point.time,
            sequence=point.sequence,
            calls=point.sequence - scope.summary_calls,
            young=point.sequence < math.exp(page_nats),
            incident=scope.incident.dedup_key if scope.incident else None,
            degraded=ENGINE_ERROR in scope.counts,
            signals=signals,
            counts=self.counts(scope),
            first_seen={label: list(values) for label, values in scope.first_seen.items()},
        )
        scope.summary_calls = point.sequence
        scope.first_seen = {}
        return summary

    def counts(self, scope: Scope) -> dict[str, int]:
        """The scope's counters."""
        repeated = int(self._bank.scopes.array[scope.slot]["repeated"])
        return {**scope.counts, "duplicate_id": repeated} if repeated else dict(scope.counts)

    def _common(self, scope: Scope, key: DetectorKey, events: float) -> dict[str, Any]:
        status = "learning" if events < BASELINE_NEEDED else "watching"
        if self._bank.is_open(scope.slot, key):
            status = "open"
        level = self._bank.level_nats(scope.slot, key) / math.log(10.0)
        return {"status": status, "n": int(events), "log10_level": rounded(max(level, LOWEST))}

    def visible_effect(self, scope: Scope, key: DetectorKey, signal: Signal) -> float | None:
        """Smallest lasting effect that a detector can show at its scope's notice level; None while it can show none."""
        family = self._bank.of(key)
        nats = float(self._bank.scopes.array[scope.slot]["notice_nats"]) + self._bank.nats(scope.slot, key)
        shift = family.visible(scope.slot, key, nats)
        if not math.isfinite(shift):
            return None
        if signal.measure == "relative":
            return rounded(math.expm1(min(shift, 50.0)))
        if signal.measure == "sd":
            sd = family.sd(scope.slot, key)
            return rounded(shift / sd) if sd > 0 else None
        return rounded(shift)


def _still(
    signal: Signal, events: int, share: float | None = None, shares: dict[str, float] | None = None
) -> SignalSummary:
    """The summary of a constant signal."""
    return SignalSummary(
        name=signal.name,
        channel=signal.channel,
        status="learning" if events < BASELINE_NEEDED else "watching",
        n=events,
        log10_level=LOWEST,
        share=share,
        shares=shares or {},
        unit="share",
    )
