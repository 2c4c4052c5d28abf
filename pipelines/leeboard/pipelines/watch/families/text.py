"""The signals of texts: readable features, and learned directions over rings that the signals of a scope share."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.changes import Changes
from leeboard.detectors.core.jit import Arena
from leeboard.detectors.vector import drift
from leeboard.detectors.vector import features as vector_features
from leeboard.detectors.vector.changes import Vectors
from leeboard.detectors.vector.store import seen
from leeboard.pipelines.signals import Kind
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.state.channels import join_channel
from leeboard.pipelines.watch.state.history import History
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.scope import Scope
from leeboard.pipelines.watch.texts.bank import TextBank
from leeboard.pipelines.watch.texts.rows import (
    INPUT_FEATURES,
    INPUT_STYLE,
    INPUT_VECTOR,
    OUTPUT_FEATURES,
    OUTPUT_STYLE,
)
from leeboard.pipelines.watch.texts.signals import (
    CONDITIONAL,
    CONTENT,
    DIRECTIONS,
    INPUT_PARTS,
    OUTPUT_PARTS,
    STARTING,
    STYLE_COLUMN,
    has_enough,
)
from leeboard.schemas import SignalSummary

from .base import Common, Family, Visible

#: what a call must have measured of its texts to be an event of a text signal
TEXT_BITS = {
    OUTPUT_PARTS: OUTPUT_FEATURES,
    STYLE_COLUMN: OUTPUT_FEATURES | OUTPUT_STYLE,
    CONDITIONAL: OUTPUT_FEATURES | OUTPUT_STYLE | INPUT_FEATURES,
    INPUT_PARTS: INPUT_FEATURES,
    CONTENT: INPUT_FEATURES,
}


def judged_events(column: int) -> int:
    """Events from which on the evidence of a text signal counts."""
    return drift.JUDGED_EVENTS if column in DIRECTIONS else vector_features.JUDGED_EVENTS


class TextFamily(Family):
    """Detectors of texts, by column of TEXT; what they share of a scope is in `bank`."""

    kind: ClassVar[Kind] = "text"
    detector: ClassVar[str] = "text"

    def __init__(self, signals: Signals, scopes: Rows, history: History) -> None:
        super().__init__(signals, signals.text, signals.text_channels, signals.text_weights)
        self._scopes = scopes
        self._history = history
        self.bank = TextBank(len(scopes.array))

    def changes(self, column: int) -> Changes[Any]:
        """Rows and life cycle of the detectors of a column."""
        return self.bank.changes(column)

    def context(self, slot: int, key: DetectorKey) -> Vectors | None:
        """The vectors that a direction watches; None for features."""
        return self.bank.vectors(slot, key.column)

    def keys(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope, in the order of columns."""
        return [DetectorKey("text", column) for column in self.bank.columns(slot)]

    def row(self, slot: int, key: DetectorKey) -> int:
        """Row number of a detector, -1 where there is none."""
        return self.bank.row(slot, key.column)

    def add(self, slot: int, key: DetectorKey) -> None:
        """Make a detector; a direction needs the rings."""
        self.bank.add(slot, key.column)

    def start(self, slot: int, key: DetectorKey) -> None:
        """Make a detector, with its part of the channel's budget."""
        self.add(slot, key)
        channel = int(self._channels[key.column])
        weights = float(self._weights[key.column]), float(self.signals.channel_weights[channel])
        join_channel(self._scopes.array[slot], channel, *weights)

    def start_missing(self, slot: int, outputs: int, inputs: int) -> None:
        """Begin with the signals that a scope with so many texts lacks: they are new to it, or were switched off.

        A direction begins with the texts to come, as it would have with an empty ring.
        """
        missing = [
            DetectorKey("text", column)
            for column in STARTING
            if self.configured[column].weight > 0.0
            and has_enough(column, outputs, inputs)
            and self.bank.row(slot, column) < 0
        ]
        for key in missing:
            self.start(slot, key)
            vectors = self.context(slot, key)
            if vectors is not None:
                self.record(slot, key)["first"] = self.record(slot, key)["events"] = seen(vectors.store, vectors.kind)

    def resize(self, scopes: int) -> None:
        """Room for more scopes."""
        self.bank.resize(scopes)

    def drop_scope(self, slot: int) -> None:
        """Free everything of a scope."""
        super().drop_scope(slot)
        self.bank.drop_scope(slot)

    def reported(self, slot: int) -> bool:
        """Did the newest text lead to something?"""
        return any(self.record(slot, key)["code"] for key in self.keys(slot))

    def restore(self, slot: int, key: DetectorKey) -> None:
        """The texts have returned to what they were before the open change."""
        super().restore(slot, key)
        self.bank.end_change(slot, key.column, accepted=False)

    def accept(self, slot: int, key: DetectorKey) -> None:
        """The new level is normal; where too few coordinates still vary at it, the side starts anew."""
        record = self.record(slot, key)
        since = 0
        if key.column in DIRECTIONS:
            since = int(self.changes(key.column).rows.array[record["watcher"]]["first"])
        super().accept(slot, key)
        self.bank.end_change(slot, key.column, accepted=True)
        side = self.bank.degenerate_side(slot, key.column, since)
        if side is not None:
            self.restart(slot, side, features=False, vectors=bool(self.bank.text(slot)["vectors"]))

    def close_immaterial(self, slot: int, key: DetectorKey) -> bool:
        """The open change is too small to matter: it ends, but its frozen reference stays for the next one."""
        if not self.changes(key.column).is_worth_retaining(self.row(slot, key)):
            self.accept(slot, key)
            return False
        super().close_immaterial(slot, key)
        self.bank.end_change(slot, key.column, accepted=True)
        return True

    def release(self, slot: int, key: DetectorKey) -> None:
        """The open change of a detector ends unreported; `restart` makes its baseline anew."""
        self.changes(key.column).release(self.row(slot, key))

    def restart(self, slot: int, side: str, *, features: bool, vectors: bool) -> None:
        """The texts of a side ("outputs" or "inputs") start anew; see `TextBank.restart`."""
        call = int(self._scopes.array[slot]["calls"]) + 1
        self.bank.restart(slot, side, call, features=features, vectors=vectors)

    def opened(self, slot: int, key: DetectorKey, call: int) -> None:
        """What was counted before call number `call` is counted apart from what came since."""
        bits = INPUT_FEATURES | INPUT_STYLE if key.column in (INPUT_PARTS, CONTENT) else OUTPUT_FEATURES | OUTPUT_STYLE
        counted = int(np.count_nonzero(self._history.read_since(slot, call)["texts"] & bits == bits))
        self.bank.split_counts(slot, key.column, counted)

    def measured(self, slot: int, key: DetectorKey, ring: Arena) -> npt.NDArray[np.bool_]:
        """For every call of the ring: was its text an event of the signal?"""
        bits = TEXT_BITS[key.column]
        if key.column in (CONDITIONAL, CONTENT) and self.bank.text(slot)["vectors"]:
            bits |= INPUT_VECTOR
        return np.asarray(ring["texts"] & bits == bits)

    def leader(self, slot: int, key: DetectorKey) -> int | None:
        """Number of the feature that led when the open change of features was opened; None for a direction."""
        return None if key.column in DIRECTIONS else self.bank.parts.leader(self.row(slot, key))

    def summaries(self, scope: Scope, common: Common, visible: Visible) -> Iterator[SignalSummary]:
        """Status and level; a text signal learns until its evidence counts."""
        for key in self.keys(scope.slot):
            signal = self.signal(scope, key)
            events = int(self.record(scope.slot, key)["events"])
            found = common(key, events)
            if found["status"] != "open" and events < judged_events(key.column):
                found["status"] = "learning"
            yield SignalSummary(name=signal.name, channel=signal.channel, unit="sd", **found)
