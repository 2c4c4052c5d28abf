"""`summary/1` of a scope: recent quantiles, shares, the state of every detector, counts."""

import math

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.lifecycle import BASELINE_NEEDED, RECENT_VALUES
from leeboard.detectors.share import kernels as categorical
from leeboard.detectors.vector import drift as vector
from leeboard.detectors.vector import features as vector_features
from leeboard.pipelines.signals import Signal
from leeboard.schemas import SignalSummary, Summary

from .families.bank import Bank, DetectorKey
from .incidents.lifecycle import CallPoint, Incidents
from .incidents.rounding import rounded
from .state.scope import Scope
from .texts.signals import DIRECTIONS, SIGNALS

#: events from which on the evidence of a text signal counts
JUDGED_EVENTS = [
    vector.JUDGED_EVENTS if s in DIRECTIONS else vector_features.JUDGED_EVENTS for s in range(len(SIGNALS))
]
#: counter of records that could not be applied
ENGINE_ERROR = "engine_error"
#: base-10 log of a level told where there is no evidence at all
LOWEST = -9.0


class Summaries:
    """Writes summaries."""

    def __init__(self, bank: Bank, incidents: Incidents) -> None:
        self._bank = bank
        self._incidents = incidents

    def write(self, scope: Scope, moment: CallPoint, page_nats: float) -> Summary:
        """The summary of a scope at this moment; counting of calls and first-seen values starts again."""
        shares: dict[int, list[DetectorKey]] = {}
        signals: list[SignalSummary] = []
        for place in self._bank.places(scope.slot):
            if place.kind == "categorical":
                shares.setdefault(place.column, []).append(place)
            elif place.kind == "numeric":
                if self._bank.record(scope.slot, place)["events"] > 0:  # only a repeated call has measured it so far
                    signals.append(self._numeric(scope, place))
            elif place.kind == "text":
                signals.append(self._text(scope, place))
            else:
                signals.append(self._binary(scope, place))
        signals += [self._categorical(scope, places) for places in shares.values()]
        signals += self._constant(scope)
        summary = Summary(
            scope=scope.key,
            time=moment.time,
            sequence=moment.sequence,
            calls=moment.sequence - scope.summary_calls,
            young=moment.sequence < math.exp(page_nats),
            incident=scope.incident.dedup_key if scope.incident else None,
            degraded=ENGINE_ERROR in scope.counts,
            signals=signals,
            counts=self.counts(scope),
            first_seen={label: list(values) for label, values in scope.first_seen.items()},
        )
        scope.summary_calls = moment.sequence
        scope.first_seen = {}
        return summary

    def counts(self, scope: Scope) -> dict[str, int]:
        """The scope's counters."""
        repeated = int(self._bank.scopes.array[scope.slot]["repeated"])
        return {**scope.counts, "duplicate_id": repeated} if repeated else dict(scope.counts)

    def _common(self, scope: Scope, place: DetectorKey, events: float) -> dict[str, object]:
        status = "learning" if events < BASELINE_NEEDED else "watching"
        if self._bank.is_open(scope.slot, place):
            status = "open"
        level = self._bank.level_nats(scope.slot, place) / math.log(10.0)
        return {"status": status, "n": int(events), "log10_level": rounded(max(level, LOWEST))}

    def visible_effect(self, scope: Scope, place: DetectorKey, signal: Signal) -> float | None:
        """Smallest lasting effect that a detector can show at its scope's notice level; None while it can show none."""
        nats = float(self._bank.scopes.array[scope.slot]["notice_nats"]) + self._bank.nats(scope.slot, place)
        shift = self._bank.visible(scope.slot, place, nats)
        if not math.isfinite(shift):
            return None
        if signal.measure == "relative":
            return rounded(math.expm1(min(shift, 50.0)))
        if signal.measure == "sd":
            sd = self._bank.sd(scope.slot, place)
            return rounded(shift / sd) if sd > 0 else None
        return rounded(shift) if place.kind == "numeric" or shift <= 1.0 else None

    def _numeric(self, scope: Scope, place: DetectorKey) -> SignalSummary:
        signal = self._incidents.signal_of(scope, place)
        record = self._bank.record(scope.slot, place)
        kept = min(int(record["events"]), RECENT_VALUES)
        y = np.sort(record["values"][:kept].astype(np.float64))
        quantiles = []
        for q in (0.5, 0.9, 0.99):
            at = float(y[min(int(q * kept), kept - 1)])
            value = math.sinh(at) if signal.logarithmic else at
            quantiles.append(rounded(value * float(record["unit"])))
        if signal.given_tokens:  # values are residuals: tell them against the baseline
            typical = math.sinh(float(ranks.median(record["reference"]))) * float(record["unit"])
            quantiles = [rounded(q / typical) if typical > 0 else 0.0 for q in quantiles]
        return SignalSummary(
            name=signal.name,
            channel=signal.channel,
            median=quantiles[0],
            p90=quantiles[1],
            p99=quantiles[2],
            unit=signal.unit,
            visible=self.visible_effect(scope, place, signal),
            **self._common(scope, place, float(record["reference"]["seen"])),  # type: ignore[arg-type]
        )

    def _text(self, scope: Scope, place: DetectorKey) -> SignalSummary:
        signal = self._incidents.signal_of(scope, place)
        events = int(self._bank.record(scope.slot, place)["events"])
        common = self._common(scope, place, events)
        if common["status"] != "open" and events < JUDGED_EVENTS[place.column]:
            common["status"] = "learning"
        return SignalSummary(name=signal.name, channel=signal.channel, unit="sd", **common)  # type: ignore[arg-type]

    def _binary(self, scope: Scope, place: DetectorKey) -> SignalSummary:
        signal = self._incidents.signal_of(scope, place)
        record = self._bank.record(scope.slot, place)
        return SignalSummary(
            name=signal.name,
            channel=signal.channel,
            share=rounded(_recent_share(record)),
            unit="share",
            visible=self.visible_effect(scope, place, signal),
            **self._common(scope, place, float(record["hits"] + record["misses"])),  # type: ignore[arg-type]
        )

    def _constant(self, scope: Scope) -> list[SignalSummary]:
        """Yes/no and categorical signals that have only ever said one thing: they have no detector yet."""
        bank, slot = self._bank, scope.slot
        found = []
        for column in np.flatnonzero((bank.binary_events[slot] > 0) & (bank.binary_rows[slot] < 0)).tolist():
            signal = self._incidents.signal_of(scope, DetectorKey("binary", column))
            share = float(bank.binary_first[slot, column])
            found.append(_still(signal, int(bank.binary_events[slot, column]), share=share))
        for place, name in scope.names.items():
            events = int(bank.category_events[slot, place.column])
            if events > 0 and not (bank.category_rows[slot, place.column] >= 0).any():
                found.append(_still(self._incidents.signal_of(scope, place), events, shares={name: 1.0}))
        return found

    def _categorical(self, scope: Scope, places: list[DetectorKey]) -> SignalSummary:
        signal = self._incidents.signal_of(scope, places[0])
        records = [self._bank.record(scope.slot, place) for place in places]
        common = [self._common(scope, p, float(r["hits"] + r["misses"])) for p, r in zip(places, records, strict=True)]
        surest = max(common, key=lambda c: (c["status"] == "open", c["log10_level"]))
        names = [scope.names.get(place, "") for place in places]
        return SignalSummary(
            name=signal.name,
            channel=signal.channel,
            shares={name: rounded(_recent_share(r)) for name, r in zip(names, records, strict=True)},
            unit="share",
            **surest,  # type: ignore[arg-type]
        )


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


def _recent_share(record: np.void) -> float:
    hits, events = categorical.hits_since(record, 0)
    return hits / events if events else 0.0
