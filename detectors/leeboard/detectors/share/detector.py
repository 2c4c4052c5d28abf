"""One yes/no stream, and one stream of categories: the kernels of `categorical` behind the contract of `base`."""

import json
import math

import numpy as np
from leeboard.detectors.base import Evidence, Uniforms, Value, level_nats, pack, unpack
from leeboard.detectors.core.effect import finite, make_evidence, share_change, share_effect, share_guarantee
from leeboard.detectors.core.jit import Arena
from leeboard.detectors.core.lifecycle import FIRED, NEXT, RETURNED, accept
from leeboard.detectors.numeric.detector import ACCEPTED_AFTER, COUNTS

from . import kernels as categorical

#: categories that are told apart; later ones are counted together as "other"
MAX_CATEGORIES = 16
OTHER = "other"
#: names of categories are cut here
LONGEST_NAME = 128


class BinaryDetector:
    """Finds shifts of the share of yes in a stream of yes (1, True) and no (0, False).

    `level`: fire when the evidence supports one false firing in so many events; `page_level`: level beyond which claims
    are tempered for; `floor`: difference of shares below which the stream counts as returned.
    Source: module `categorical`.

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
        self._rows = np.zeros(2, categorical.SHARE)
        self._frozen = np.zeros(1, categorical.FROZEN_SHARE)
        self._scratch = np.zeros(categorical.RATIO_BETS)
        categorical.open_share(self._rows[0], 0, False, self._nats, self._nats_page)

    @property
    def log_level(self) -> float:
        """Natural log of the level now."""
        row = self._rows[0]
        return float(max(row["peak_page"], self._nats)) if self.open else float(row["log_notice"])

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return bool(self._rows[0]["frozen"] >= 0)

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
        return step(self._rows, 0, 1, self._frozen, 0, x == 1.0, uniforms[0], self._nats, self._floor, self._scratch)

    def accept(self) -> None:
        """The level since the open change is normal from now on."""
        if self.open:
            accept(self._rows, 0)

    def snapshot(self) -> bytes:
        """The whole state."""
        return pack("binary", self._rows, self._frozen, np.array([float(self.refused)]))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot."""
        dtypes = [(self._rows.dtype, 2), (self._frozen.dtype, 1), (COUNTS, 1)]
        self._rows, self._frozen, counts = unpack("binary", state, *dtypes)
        self.refused = int(counts["refused"][0])


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
        self._rows = np.zeros(2 * MAX_CATEGORIES, categorical.SHARE)
        self._frozen = np.zeros(MAX_CATEGORIES, categorical.FROZEN_SHARE)
        self._scratch = np.zeros(categorical.RATIO_BETS)

    @property
    def log_level(self) -> float:
        """Natural log of the level now: that of the surest category, less the log of their number."""
        n = len(self._names)
        if n == 0:
            return -math.inf
        rows = self._rows[:n]
        levels = np.where(rows["frozen"] >= 0, np.maximum(rows["peak_page"], self._nats), rows["log_notice"])
        return float(levels.max()) - math.log(n)

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return bool((self._rows["frozen"][: len(self._names)] >= 0).any())

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`; a number counts as the category of its text."""
        if not isinstance(value, str) and finite(value) is None:
            self.refused += 1
            return None
        known = len(self._names)
        place = self._place(str(value)[:LONGEST_NAME])
        nats = self._nats + math.log(len(self._names))
        found: Evidence | None = None
        for k in range(len(self._names)):
            if k >= known:  # first seen: counted, not bet on
                categorical.open_share(self._rows[k], self._events, False, nats, self._nats_page)
                categorical.count_share(self._rows[k], True)
                continue
            j = MAX_CATEGORIES + k
            evidence = step(
                self._rows, k, j, self._frozen, k, k == place, uniforms[0], nats, self._floor, self._scratch
            )
            if evidence and (found is None or evidence.level > found.level):
                found, self.moved = evidence, self._names[k]
        self._events += 1
        return found

    def accept(self) -> None:
        """The shares since the open changes are normal from now on."""
        for k in range(len(self._names)):
            if self._rows[k]["frozen"] >= 0:
                accept(self._rows, k)

    def snapshot(self) -> bytes:
        """The whole state: the arrays, then counts and names."""
        tail = json.dumps({"events": self._events, "names": self._names, "moved": self.moved, "refused": self.refused})
        return pack("categorical", self._rows, self._frozen, np.frombuffer(tail.encode(), np.uint8))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot."""
        dtypes = [(self._rows.dtype, self._rows.size), (self._frozen.dtype, self._frozen.size)]
        tail = len(state.partition(b"\n")[2]) - self._rows.nbytes - self._frozen.nbytes
        self._rows, self._frozen, text = unpack("categorical", state, *dtypes, (np.dtype(np.uint8), max(tail, 0)))
        counts = json.loads(text.tobytes())
        self._events, self._names = int(counts["events"]), list(counts["names"])
        self.moved, self.refused = counts["moved"], int(counts["refused"])

    def _place(self, name: str) -> int:
        if name in self._names:
            return self._names.index(name)
        if len(self._names) == MAX_CATEGORIES:
            return MAX_CATEGORIES - 1
        self._names.append(name if len(self._names) < MAX_CATEGORIES - 1 else OTHER)
        return len(self._names) - 1


def step(
    rows: Arena,
    i: int,
    j: int,
    frozen: Arena,
    k: int,
    hit: bool,
    uniform: float,
    nats: float,
    floor: float,
    scratch: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> Evidence | None:
    """One event of share row i (watcher j, frozen reference k) with the life cycle of a change; evidence when one opens."""
    row = rows[i]
    if row["frozen"] < 0 and (row["hits"] == 0.0 or row["misses"] == 0.0):  # constant so far: counted, not bet on
        categorical.count_share(row, hit)
        return None
    code = categorical.observe_share(rows, i, frozen, hit, uniform, nats, scratch)
    if code == FIRED:
        categorical.open_share_change(rows, i, j, frozen, k, row["change"], floor)
    elif code == NEXT:
        categorical.supersede_share(rows, i, frozen, floor)
    elif code == RETURNED:
        categorical.restore_share(rows, i, frozen)
        return None
    elif row["frozen"] >= 0 and row["events"] - frozen[k]["opened"] > ACCEPTED_AFTER:
        accept(rows, i)
        return None
    if code not in (FIRED, NEXT):
        return None
    effect = share_effect(rows, i, frozen)
    change = share_change(row, int(row["events"]) - 1, effect.before)
    return make_evidence(max(nats, float(row["log_page"])), effect, change, share_guarantee(row), "share")
