"""One yes/no stream, and one stream of categories: the kernels of `categorical` behind the contract of `base`."""

import json
import math

import numpy as np
from leeboard.detectors.base import Uniforms, Value, level_nats, pack, unpack
from leeboard.detectors.core.effect import finite
from leeboard.detectors.core.evidence import Evidence
from leeboard.detectors.core.lifecycle import QUIET
from leeboard.detectors.numeric.detector import BYTES, COUNTS

from . import kernels
from .changes import ShareChanges

#: categories that are kept apart; later ones are counted together as "other"
MAX_CATEGORIES = 16
OTHER = "other"
#: names of categories are cut here
LONGEST_NAME = 128


class BinaryDetector:
    """Finds shifts of the share of yes in a stream of yes (1, True) and no (0, False).

    `level`: fire when the evidence supports one false firing in so many events; `page_level`: level beyond which claims
    are tempered for; `floor`: difference of shares below which the stream counts as returned.
    Source: module `share.kernels`.

    >>> import random
    >>> from leeboard.detectors import BinaryDetector, event_uniforms
    >>> rng, detector = random.Random(1), BinaryDetector(level=1e4)
    >>> for t in range(1500):
    ...     failed = rng.random() < (0.01 if t < 1000 else 0.2)
    ...     evidence = detector.update(failed, uniforms=event_uniforms(str(t), "error"))
    ...     if evidence:
    ...         print(t, f"{evidence.before:.3f}", evidence.direction)
    1031 0.009 up
    """

    def __init__(self, *, level: float = 1e4, page_level: float | None = None, floor: float = 0.0) -> None:
        if not 0.0 <= floor < math.inf:
            raise ValueError(f"floor must be finite and not negative: {floor}")
        self.refused = 0
        self._nats, self._nats_page = level_nats(level, page_level)
        self._floor = floor
        self._changes = ShareChanges(rows=2)
        #: row of the share, -1 while the stream has only ever shown one value
        self._row = -1
        self._events = 0
        self._first = False
        self._scratch = np.zeros(kernels.RATIO_BETS)

    @property
    def log_level(self) -> float:
        """Natural log of the level now."""
        return self._changes.log_level(self._row, self._nats) if self._row >= 0 else -math.inf

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return self._row >= 0 and self._changes.is_open(self._row)

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,  # noqa: ARG002 - the contract's; a share knows no clock
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`; any value but 0 and 1 is refused."""
        x = finite(value)
        if x not in (0.0, 1.0):
            self.refused += 1
            return None
        said, changes = x == 1.0, self._changes
        if self._events == 0:
            self._first = said
        elif self._row < 0 and said != self._first:  # nothing could be learned from what came before but its length
            self._row = changes.rows.allocate()
            kernels.open_share(changes.record(self._row), self._events, self._first, self._nats, self._nats_page)
        self._events += 1
        if self._row < 0:
            return None
        args = (changes.rows.array, self._row, changes.frozen.array, said, uniforms[0], self._nats, self._nats_page)
        code = kernels.step_share(*args, self._scratch)
        return changes.follow(self._row, code, self._floor, self._nats, None)

    def accept(self) -> None:
        """The level since the open change is normal from now on."""
        if self.open:
            self._changes.accept(self._row)

    def snapshot(self) -> bytes:
        """The whole state."""
        changes = self._changes
        row = changes.snapshot(self._row) if self._row >= 0 else np.zeros(changes.snapshot_bytes, np.uint8)
        return pack("binary", row, np.array([float(self.refused), self._row, self._events, float(self._first)]))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot."""
        row, counts = unpack("binary", state, (BYTES, self._changes.snapshot_bytes), (COUNTS, 4))
        refused, has_row, events, first = counts["refused"].tolist()
        if self._row >= 0:
            self._changes.remove(self._row)
            self._row = -1
        if has_row >= 0.0:
            self._row = self._changes.rows.allocate()
            self._changes.restore_snapshot(self._row, row)
        self.refused, self._events, self._first = int(refused), int(events), bool(first)


class CategoricalDetector:
    """Finds shifts of the share of any category against all others, in a stream of strings.

    Every category seen so far has an equal part of the budget; the first MAX_CATEGORIES - 1 are told apart.

    >>> import random
    >>> from leeboard.detectors import CategoricalDetector, event_uniforms
    >>> rng, detector = random.Random(1), CategoricalDetector(level=1e4)
    >>> for t in range(1100):
    ...     reason = rng.choices(["stop", "length"], [0.95, 0.05] if t < 1000 else [0.4, 0.6])[0]
    ...     evidence = detector.update(reason, uniforms=event_uniforms(str(t), "finish_reason"))
    ...     if evidence:
    ...         print(t, detector.moved, evidence.direction)
    1009 length up
    1084 stop down
    """

    def __init__(self, *, level: float = 1e4, page_level: float | None = None, floor: float = 0.0) -> None:
        if not 0.0 <= floor < math.inf:
            raise ValueError(f"floor must be finite and not negative: {floor}")
        self.refused = 0
        #: the category behind the last evidence
        self.moved: str | None = None
        self._nats, self._nats_page = level_nats(level, page_level)
        self._floor = floor
        self._names: list[str] = []
        self._events = 0
        self._changes = ShareChanges(rows=2 * MAX_CATEGORIES)
        #: row of every category, -1 for none: the first one has none until there is another
        self._rows = np.full(MAX_CATEGORIES, -1, np.int32)
        self._scratch = np.zeros(kernels.RATIO_BETS)

    @property
    def log_level(self) -> float:
        """Natural log of the level now: that of the surest category, less the log of their number."""
        rows = self._rows[self._rows >= 0].tolist()
        if not rows:
            return -math.inf
        nats = self._nats + math.log(len(rows))
        return max(self._changes.log_level(i, nats) for i in rows) - math.log(len(rows))

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return any(self._changes.is_open(i) for i in self._rows[self._rows >= 0].tolist())

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`; a number counts as the category that its digits name."""
        if not isinstance(value, str) and finite(value) is None:
            self.refused += 1
            return None
        changes, known = self._changes, len(self._names)
        shown = self._category(str(value)[:LONGEST_NAME])
        if known == 1 and len(self._names) == 2:
            self._rows[0] = changes.rows.allocate()
            kernels.open_share(changes.record(self._rows[0]), self._events, True, self._nats, self._nats_page)
        if shown >= known > 0:
            self._rows[shown] = changes.rows.allocate()
        args = (changes.rows.array, self._rows, changes.frozen.array, shown, self._events, uniforms[0])
        kernels.step_categories(*args, self._nats, self._nats_page, 0.0, self._scratch)
        self._events += 1
        rows = self._rows[self._rows >= 0].tolist()
        nats = self._nats + math.log(max(len(rows), 1))
        found: Evidence | None = None
        for k, i in enumerate(rows):
            code = int(changes.record(i)["code"])
            changes.record(i)["code"] = QUIET
            evidence = changes.follow(i, code, self._floor, nats, None)
            if evidence and (found is None or evidence.level > found.level):
                found, self.moved = evidence, self._names[k]
        return found

    def accept(self) -> None:
        """The shares since the open changes are normal from now on."""
        for i in self._rows[self._rows >= 0].tolist():
            if self._changes.is_open(i):
                self._changes.accept(i)

    def snapshot(self) -> bytes:
        """The whole state: the rows of all categories (zeros where there is none), then counts and names."""
        changes = self._changes
        absent = np.zeros(changes.snapshot_bytes, np.uint8)
        rows = [changes.snapshot(i) if i >= 0 else absent for i in self._rows.tolist()]
        tail = json.dumps({"events": self._events, "names": self._names, "moved": self.moved, "refused": self.refused})
        return pack("categorical", *rows, np.frombuffer(tail.encode(), np.uint8))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot."""
        rows = [(BYTES, self._changes.snapshot_bytes)] * MAX_CATEGORIES
        tail = len(state.partition(b"\n")[2]) - MAX_CATEGORIES * self._changes.snapshot_bytes
        *arrays, names = unpack("categorical", state, *rows, (BYTES, max(tail, 0)))
        counts = json.loads(names.tobytes())
        self._events, self._names = int(counts["events"]), list(counts["names"])
        self.moved, self.refused = counts["moved"], int(counts["refused"])
        for i in self._rows[self._rows >= 0].tolist():
            self._changes.remove(i)
        self._rows[:] = -1
        if len(self._names) > 1:
            for k in range(len(self._names)):
                self._rows[k] = i = self._changes.rows.allocate()
                self._changes.restore_snapshot(i, arrays[k])

    def _category(self, name: str) -> int:
        if name in self._names:
            return self._names.index(name)
        if len(self._names) == MAX_CATEGORIES:
            return MAX_CATEGORIES - 1
        self._names.append(name if len(self._names) < MAX_CATEGORIES - 1 else OTHER)
        return len(self._names) - 1
