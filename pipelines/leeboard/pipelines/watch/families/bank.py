"""The state of all scopes: their own records, the rings of their calls, one family of detectors a kind of signal."""

from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.lifecycle import QUIET
from leeboard.detectors.share.changes import ShareChanges
from leeboard.pipelines.signals import Kind
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.state.history import History
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import SCOPE, State, make_columns, make_scratch
from leeboard.pipelines.watch.state.river import RiverDetectors

from .base import Family
from .numeric import NumericFamily
from .share import BinaryFamily, CategoricalFamily
from .text import TextFamily


class Bank:
    """All detectors, by scope slot and key; `of(key)` knows what is particular to a kind."""

    def __init__(self, signals: Signals, ring_calls: int, page_nats: float, notices_per_week: float) -> None:
        self.signals = signals
        self.scopes = Rows(SCOPE)
        self.history = History(self.scopes, ring_calls)
        slots = len(self.scopes.array)
        shares = ShareChanges()
        self.numeric = NumericFamily(signals, slots)
        self.binary = BinaryFamily(signals, shares, slots)
        self.categorical = CategoricalFamily(signals, shares, slots)
        self.text = TextFamily(signals, self.scopes, self.history)
        self.river = RiverDetectors()
        #: in the order in which a scope's detectors are listed
        self.families: dict[Kind, Family] = {
            family.kind: family for family in (self.numeric, self.binary, self.categorical, self.text)
        }
        #: in the order of summaries
        self.summarised: tuple[Family, ...] = (self.numeric, self.binary, self.text, self.categorical)
        self.scratch = make_scratch()
        self.columns = make_columns(signals, page_nats, notices_per_week)

    def of(self, key: DetectorKey) -> Family:
        """The family that a detector belongs to."""
        return self.families[key.kind]

    def state(self) -> State:
        """The arrays as they are now, for the kernel."""
        return State(
            self.scopes.array,
            self.numeric.detectors.rows.array,
            self.numeric.detectors.frozen.array,
            self.numeric.clocks.array,
            self.numeric.givens.array,
            self.binary.detectors.rows.array,
            self.binary.detectors.frozen.array,
            self.history.ring.array,
            self.history.ids.array,
            self.numeric.rows,
            self.numeric.regressions,
            self.binary.rows,
            self.binary.events,
            self.categorical.rows,
            self.categorical.events,
            self.history.ring_chunks,
            self.history.id_chunks,
            self.text.bank.state(),
        )

    def add_scope(self) -> int:
        """A slot for a new scope."""
        before = len(self.scopes.array)
        slot = self.scopes.allocate()
        if len(self.scopes.array) > before:
            self.history.resize(len(self.scopes.array))
            for family in self.families.values():
                family.resize(len(self.scopes.array))
        return slot

    def drop_scope(self, slot: int) -> None:
        """Free everything of a scope, and its slot."""
        self.history.drop_scope(slot)
        self.river.drop_scope(slot)
        for family in self.families.values():
            family.drop_scope(slot)
        self.scopes.free(slot)

    def keys(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope."""
        return [key for family in self.families.values() for key in family.keys(slot)]

    def add(self, slot: int, key: DetectorKey) -> None:
        """Make a detector for a signal that is measured for the first time (or a category seen for the first time)."""
        self.of(key).add(slot, key)

    def reported(self, slot: int) -> list[tuple[DetectorKey, int]]:
        """Detectors whose newest value led to something, with its code; the codes are cleared."""
        if not any(family.reported(slot) for family in self.families.values()):
            return []
        found: list[tuple[DetectorKey, int]] = []
        for key in self.keys(slot):
            record = self.of(key).record(slot, key)
            if record["code"] != QUIET:
                found.append((key, int(record["code"])))
                record["code"] = QUIET
        return found

    def is_open(self, slot: int, key: DetectorKey) -> bool:
        """Has the detector an open change?"""
        return self.of(key).is_open(slot, key)

    def nats(self, slot: int, key: DetectorKey) -> float:
        """How much higher than the scope's level a detector must reach."""
        return self.of(key).nats(self.scopes.array[slot], slot, key)

    def level_nats(self, slot: int, key: DetectorKey) -> float:
        """Log of the level of a detector now, in calls of the scope."""
        return self.of(key).level_nats(self.scopes.array[slot], slot, key)

    def expect_milestone(self, slot: int, key: DetectorKey, level_nats: float) -> None:
        """Ask the kernel to stop when the evidence of an open change reaches this level, in calls of the scope."""
        self.of(key).expect_milestone(self.scopes.array[slot], slot, key, level_nats)
