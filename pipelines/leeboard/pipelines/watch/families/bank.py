"""The detectors of all scopes: one way to speak of a row whatever its kind."""

import math

import numpy as np
from leeboard.detectors.core import lifecycle, ranks
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import (
    Effect,
    numeric_change,
    numeric_effect,
    numeric_guarantee,
    share_change,
    share_effect,
    share_guarantee,
)
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric.dependence import visible_shift
from leeboard.detectors.share import kernels as categorical
from leeboard.pipelines.watch.state.tables import DetectorKey, Tables
from leeboard.pipelines.watch.texts.signals import DIRECTIONS
from leeboard.schemas.alert import Guarantee

__all__ = ["Bank", "DetectorKey"]

#: events that a frozen reference must hold to outlive its change
RETAINED_NEEDED = 256


class Bank(Tables):
    """All detectors, by scope slot and place."""

    def open_change(self, slot: int, place: DetectorKey, floor: float) -> None:
        """Open the change that a detector has fired for; `floor` in transformed units."""
        rows, frozen = self._rows(place), self._frozen(place)
        i, j = self.row(slot, place), rows.take()
        retained = int(rows.array[i]["retained"])
        k = retained if retained >= 0 else frozen.take()
        since = rows.array[i]["change"]
        if place.kind == "text":
            self.texts.open_change(slot, place.column, j, k, floor)
        elif place.kind == "numeric":
            numeric.open_change(rows.array, i, j, frozen.array, k, since, floor, self.scratch.bets)
        else:
            categorical.open_share_change(rows.array, i, j, frozen.array, k, since, floor)

    def next_change(self, slot: int, place: DetectorKey, floor: float) -> float:
        """The watcher found the next change: it takes over, with a new watcher; the oldest frozen reference stays.

        Returns how far the new level lies from the one between, in transformed units.
        """
        i = self.row(slot, place)
        if place.kind == "text":
            return self.texts.next_change(slot, place.column, floor)
        if place.kind == "numeric":
            rows = self.numeric.array
            numeric.supersede(rows, i, self.frozen.array, floor, self.scratch.bets)
            new = ranks.mean(rows[rows[i]["watcher"]]["reference"])
            return float(new - ranks.mean(rows[i]["reference"]))
        rows = self.shares.array
        categorical.supersede_share(rows, i, self.frozen_shares.array, floor)
        return float(categorical.share_of(rows[rows[i]["watcher"]]) - categorical.share_of(rows[i]))

    def restore(self, slot: int, place: DetectorKey) -> None:
        """The detector's stream has returned to where it was before its open change."""
        record = self.record(slot, place)
        j, k = int(record["watcher"]), int(record["frozen"])
        if place.kind == "text":
            self.texts.restore(slot, place.column)
        elif place.kind == "numeric":
            numeric.restore(self.numeric.array, self.row(slot, place), self.frozen.array)
        else:
            categorical.restore_share(self.shares.array, self.row(slot, place), self.frozen_shares.array)
        self._rows(place).give(j)
        self._frozen(place).give(k)
        if place.kind == "text":
            self.texts.end_change(slot, place.column, accepted=False)

    def accept(self, slot: int, place: DetectorKey) -> None:
        """The new level of a detector with an open change is normal from now on."""
        record = self.record(slot, place)
        j, k = int(record["watcher"]), int(record["frozen"])
        since = int(self._rows(place).array[j]["first"]) if place.kind == "text" and place.column in DIRECTIONS else 0
        lifecycle.accept(self._rows(place).array, self.row(slot, place))
        self._rows(place).give(j)
        self._frozen(place).give(k)
        if place.kind == "text":
            self.texts.end_change(slot, place.column, accepted=True)
            side = self.texts.degenerate_side(slot, place.column, since)
            if side is not None:
                self.restart_texts(slot, side, features=False, vectors=bool(self.texts.text(slot)["vectors"]))

    def close_immaterial(self, slot: int, place: DetectorKey) -> bool:
        """The open change of a detector is too small to matter: it ends, but its frozen reference stays for the next one.

        False where the frozen reference holds too few events to be worth keeping.
        """
        record = self.record(slot, place)
        old = self._frozen(place).array[record["frozen"]]
        if place.kind == "text":
            events = self.texts.seen_before(place.column, old)
        else:
            events = old["reference"]["seen"] if place.kind == "numeric" else old["hits"] + old["misses"]
        if events < RETAINED_NEEDED:
            self.accept(slot, place)
            return False
        j = int(record["watcher"])
        lifecycle.close_immaterial(self._rows(place).array, self.row(slot, place))
        self._rows(place).give(j)
        if place.kind == "text":
            self.texts.end_change(slot, place.column, accepted=True)
        return True

    def nats(self, slot: int, place: DetectorKey) -> float:
        """How much higher than the scope's level this detector must reach (see `kernel.signal_nats`)."""
        scope = self.scopes.array[slot]
        columns = self.columns
        if place.kind == "numeric":
            channel, weight = columns.numeric_channels[place.column], columns.numeric_weights[place.column]
        elif place.kind == "binary":
            channel, weight = columns.binary_channels[place.column], columns.binary_weights[place.column]
        elif place.kind == "text":
            channel, weight = columns.texts.channels[place.column], columns.texts.weights[place.column]
        else:
            channel, weight = columns.categorical_channels[place.column], columns.categorical_weights[place.column]
        nats = float(scope["channel_nats"][channel]) - math.log(weight)
        if place.kind == "categorical":
            nats += math.log(int((self.category_rows[slot, place.column] >= 0).sum()))
        return nats

    def level_nats(self, slot: int, place: DetectorKey) -> float:
        """Log of the level of a detector now, in calls of the scope."""
        record = self.record(slot, place)
        if self.is_open(slot, place):
            return float(record["peak_page"]) - self.nats(slot, place) - lifecycle.WATCHER_NATS
        return float(record["log_notice"]) - self.nats(slot, place)

    def expect_milestone(self, slot: int, place: DetectorKey, level_nats: float) -> None:
        """Ask the kernel to stop when the evidence of an open change reaches this level, in calls of the scope."""
        self.record(slot, place)["milestone"] = level_nats + self.nats(slot, place) + lifecycle.WATCHER_NATS

    def effect(self, slot: int, place: DetectorKey) -> Effect:
        """Before, after and effect of an open change."""
        i = self.row(slot, place)
        if place.kind == "text":
            return self.texts.effect(slot, place.column)
        if place.kind != "numeric":
            return share_effect(self.shares.array, i, self.frozen_shares.array)
        logarithmic = bool(self.columns.logarithmic[place.column])
        return numeric_effect(self.numeric.array, i, self.frozen.array, logarithmic)

    def fired_nats(self, slot: int, place: DetectorKey, code: int) -> float:
        """Log of the level, in events of the signal, at which a detector (or its watcher) has just fired."""
        record = self.record(slot, place)
        if code == lifecycle.NEXT:
            record = self._rows(place).array[record["watcher"]]
        return float(record["log_notice"])

    def change(self, slot: int, place: DetectorKey) -> ChangeTime:
        """When the change began that has just been opened, in events of the signal."""
        record = self.record(slot, place)
        newest = int(record["events"]) - 1
        if place.kind == "text":
            return self.texts.change(slot, place.column)
        if place.kind == "numeric":
            return numeric_change(record, newest)
        before = self.frozen_shares.array[record["frozen"]]
        return share_change(record, newest, float(categorical.share_of(before)))

    def guarantee(self, slot: int, place: DetectorKey) -> Guarantee:
        """What the level of a detector rests on."""
        if place.kind == "text":
            return self.texts.guarantee(slot, place.column)
        record = self.record(slot, place)
        return numeric_guarantee(record) if place.kind == "numeric" else share_guarantee(record)

    def sd(self, slot: int, place: DetectorKey) -> float:
        """Standard deviation of the transformed values of a detector's reference; texts are measured in it."""
        return 1.0 if place.kind == "text" else math.sqrt(float(ranks.variance(self.record(slot, place)["reference"])))

    def frozen_sd(self, slot: int, place: DetectorKey) -> float:
        """Standard deviation of the transformed values before an open change; texts are measured in it."""
        if place.kind == "text":
            return 1.0
        old = self.frozen.array[self.record(slot, place)["frozen"]]
        return math.sqrt(float(ranks.variance(old["reference"])))

    def visible(self, slot: int, place: DetectorKey, nats: float) -> float:
        """Smallest lasting shift that a detector can show at a level of exp(nats), in transformed units or share."""
        record = self.record(slot, place)
        if place.kind == "numeric":
            return float(visible_shift(record["long_run"], nats)) * self.sd(slot, place)
        n = float(record["hits"] + record["misses"])
        share = (float(record["hits"]) + 0.5) / (n + 1.0)
        span = min(max(n, 1.0), 1000.0)
        return math.sqrt(2.0 * nats * share * (1.0 - share) / span) + nats / span

    def release(self, slot: int, place: DetectorKey) -> None:
        """The open change of a detector ends without a word, its retained reference with it: its values mean something else now."""
        self._release_change(slot, place)
        record = self.record(slot, place)
        record["watcher"] = record["frozen"] = record["retained"] = -1
        if place.kind == "numeric":
            numeric.clear_evidence(record)
            numeric.restart_references(record)
        elif place.kind != "text" and record["wealth"]["nats_notice"] > 0.0:  # not one that waits for its first yes
            categorical.restart_share(record)

    def forget_constant(self, slot: int, binary: int, categories: list[int]) -> None:
        """What signals have said so far counts no more than one event (see `categorical.restart_share`)."""
        for events, columns in ((self.binary_events, [binary]), (self.category_events, categories)):
            events[slot, columns] = np.minimum(events[slot, columns], 1)

    def restart_texts(self, slot: int, side: str, *, features: bool, vectors: bool) -> None:
        """The texts of a side ("outputs" or "inputs") start afresh; see `TextBank.restart`."""
        call = int(self.scopes.array[slot]["calls"]) + 1
        self.texts.restart(slot, side, call, features=features, vectors=vectors)
