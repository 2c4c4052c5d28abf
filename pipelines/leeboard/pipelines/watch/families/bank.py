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
from leeboard.pipelines.watch.state.tables import Place, Tables
from leeboard.pipelines.watch.texts.signals import DIRECTIONS
from leeboard.schemas.alert import Guarantee

__all__ = ["Bank", "Place"]

#: events that a yardstick must hold to outlive its change
ANCHOR_NEEDED = 256


class Bank(Tables):
    """All detectors, by scope slot and place."""

    def open_change(self, slot: int, place: Place, floor: float) -> None:
        """Open the change that a detector has fired for; `floor` in transformed units."""
        rows, yardsticks = self._rows(place), self._yardsticks(place)
        i, j = self.row(slot, place), rows.take()
        anchor = int(rows.array[i]["anchor"])
        k = anchor if anchor >= 0 else yardsticks.take()
        since = rows.array[i]["change"]
        if place.kind == "text":
            self.texts.open_change(slot, place.column, j, k, floor)
        elif place.kind == "numeric":
            numeric.open_change(rows.array, i, j, yardsticks.array, k, since, floor, self.scratch.bets)
        else:
            categorical.open_share_change(rows.array, i, j, yardsticks.array, k, since, floor)

    def next_change(self, slot: int, place: Place, floor: float) -> float:
        """The watcher found the next change: it takes over, with a new watcher; the oldest yardstick stays.

        Returns how far the new level lies from the one between, in transformed units.
        """
        i = self.row(slot, place)
        if place.kind == "text":
            return self.texts.next_change(slot, place.column, floor)
        if place.kind == "numeric":
            rows = self.numeric.array
            numeric.supersede(rows, i, self.yardsticks.array, floor, self.scratch.bets)
            new = ranks.mean(rows[rows[i]["watcher"]]["reference"])
            return float(new - ranks.mean(rows[i]["reference"]))
        rows = self.shares.array
        categorical.supersede_share(rows, i, self.share_yardsticks.array, floor)
        return float(categorical.share_of(rows[rows[i]["watcher"]]) - categorical.share_of(rows[i]))

    def restore(self, slot: int, place: Place) -> None:
        """The detector's stream has returned to where it was before its open change."""
        record = self.record(slot, place)
        j, k = int(record["watcher"]), int(record["yardstick"])
        if place.kind == "text":
            self.texts.restore(slot, place.column)
        elif place.kind == "numeric":
            numeric.restore(self.numeric.array, self.row(slot, place), self.yardsticks.array)
        else:
            categorical.restore_share(self.shares.array, self.row(slot, place), self.share_yardsticks.array)
        self._rows(place).give(j)
        self._yardsticks(place).give(k)
        if place.kind == "text":
            self.texts.end_change(slot, place.column, accepted=False)

    def accept(self, slot: int, place: Place) -> None:
        """The new level of a detector with an open change is normal from now on."""
        record = self.record(slot, place)
        j, k = int(record["watcher"]), int(record["yardstick"])
        since = int(self._rows(place).array[j]["first"]) if place.kind == "text" and place.column in DIRECTIONS else 0
        lifecycle.accept(self._rows(place).array, self.row(slot, place))
        self._rows(place).give(j)
        self._yardsticks(place).give(k)
        if place.kind == "text":
            self.texts.end_change(slot, place.column, accepted=True)
            side = self.texts.worn(slot, place.column, since)
            if side is not None:
                self.restart_texts(slot, side, features=False, vectors=bool(self.texts.text(slot)["vectors"]))

    def settle(self, slot: int, place: Place) -> bool:
        """The open change of a detector is too small to matter: it ends, but its yardstick stays for the next one.

        False where the yardstick holds too few events to be worth keeping.
        """
        record = self.record(slot, place)
        old = self._yardsticks(place).array[record["yardstick"]]
        if place.kind == "text":
            events = self.texts.seen_before(place.column, old)
        else:
            events = old["reference"]["seen"] if place.kind == "numeric" else old["hits"] + old["misses"]
        if events < ANCHOR_NEEDED:
            self.accept(slot, place)
            return False
        j = int(record["watcher"])
        lifecycle.settle_change(self._rows(place).array, self.row(slot, place))
        self._rows(place).give(j)
        if place.kind == "text":
            self.texts.end_change(slot, place.column, accepted=True)
        return True

    def nats(self, slot: int, place: Place) -> float:
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

    def level_nats(self, slot: int, place: Place) -> float:
        """Log of the level of a detector now, in calls of the scope."""
        record = self.record(slot, place)
        if self.is_open(slot, place):
            return float(record["peak_page"]) - self.nats(slot, place) - lifecycle.WATCHER_NATS
        return float(record["log_notice"]) - self.nats(slot, place)

    def expect_milestone(self, slot: int, place: Place, level_nats: float) -> None:
        """Ask the kernel to stop when the evidence of an open change reaches this level, in calls of the scope."""
        self.record(slot, place)["milestone"] = level_nats + self.nats(slot, place) + lifecycle.WATCHER_NATS

    def effect(self, slot: int, place: Place) -> Effect:
        """Before, after and effect of an open change."""
        i = self.row(slot, place)
        if place.kind == "text":
            return self.texts.effect(slot, place.column)
        if place.kind != "numeric":
            return share_effect(self.shares.array, i, self.share_yardsticks.array)
        logarithmic = bool(self.columns.logarithmic[place.column])
        return numeric_effect(self.numeric.array, i, self.yardsticks.array, logarithmic)

    def fired_nats(self, slot: int, place: Place, code: int) -> float:
        """Log of the level, in events of the signal, at which a detector (or its watcher) has just fired."""
        record = self.record(slot, place)
        if code == lifecycle.NEXT:
            record = self._rows(place).array[record["watcher"]]
        return float(record["log_notice"])

    def change(self, slot: int, place: Place) -> ChangeTime:
        """When the change began that has just been opened, in events of the signal."""
        record = self.record(slot, place)
        newest = int(record["events"]) - 1
        if place.kind == "text":
            return self.texts.change(slot, place.column)
        if place.kind == "numeric":
            return numeric_change(record, newest)
        before = self.share_yardsticks.array[record["yardstick"]]
        return share_change(record, newest, float(categorical.share_of(before)))

    def guarantee(self, slot: int, place: Place) -> Guarantee:
        """What the level of a detector rests on."""
        if place.kind == "text":
            return self.texts.guarantee(slot, place.column)
        record = self.record(slot, place)
        return numeric_guarantee(record) if place.kind == "numeric" else share_guarantee(record)

    def sd(self, slot: int, place: Place) -> float:
        """Standard deviation of the transformed values of a detector's reference; texts are measured in it."""
        return 1.0 if place.kind == "text" else math.sqrt(float(ranks.variance(self.record(slot, place)["reference"])))

    def yardstick_sd(self, slot: int, place: Place) -> float:
        """Standard deviation of the transformed values before an open change; texts are measured in it."""
        if place.kind == "text":
            return 1.0
        old = self.yardsticks.array[self.record(slot, place)["yardstick"]]
        return math.sqrt(float(ranks.variance(old["reference"])))

    def visible(self, slot: int, place: Place, nats: float) -> float:
        """Smallest lasting shift that a detector can show at a level of exp(nats), in transformed units or share."""
        record = self.record(slot, place)
        if place.kind == "numeric":
            return float(visible_shift(record["wander"], nats)) * self.sd(slot, place)
        n = float(record["hits"] + record["misses"])
        share = (float(record["hits"]) + 0.5) / (n + 1.0)
        span = min(max(n, 1.0), 1000.0)
        return math.sqrt(2.0 * nats * share * (1.0 - share) / span) + nats / span

    def release(self, slot: int, place: Place) -> None:
        """The open change of a detector ends without a word, its anchor with it: its values mean something else now."""
        self._release_change(slot, place)
        record = self.record(slot, place)
        record["watcher"] = record["yardstick"] = record["anchor"] = -1
        if place.kind == "numeric":
            numeric.clear_evidence(record)
            numeric.restart_references(record)
        elif place.kind != "text" and record["stakes"]["nats_notice"] > 0.0:  # not one that waits for its first yes
            categorical.restart_share(record)

    def forget_constant(self, slot: int, binary: int, categories: list[int]) -> None:
        """What signals have said so far counts no more than one event (see `categorical.restart_share`)."""
        for events, columns in ((self.binary_events, [binary]), (self.category_events, categories)):
            events[slot, columns] = np.minimum(events[slot, columns], 1)

    def restart_texts(self, slot: int, side: str, *, features: bool, vectors: bool) -> None:
        """The texts of a side ("outputs" or "inputs") start afresh; see `TextBank.restart`."""
        call = int(self.scopes.array[slot]["calls"]) + 1
        self.texts.restart(slot, side, call, features=features, vectors=vectors)
