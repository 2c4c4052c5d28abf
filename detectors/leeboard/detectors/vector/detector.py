"""Streams of vectors behind the contract of `base`: learned directions, and the mean of readable features."""

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np
from leeboard.detectors.base import Uniforms, Value, level_nats, pack, unpack
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.evidence import Evidence
from leeboard.detectors.core.jit import Floats32, Record, kernel
from leeboard.detectors.core.lifecycle import report
from leeboard.detectors.numeric.detector import BYTES, COUNTS

from . import change, drift
from .changes import DirectionChanges, FeatureChanges, Vectors
from .features import observe_features, set_features_levels
from .store import (
    FIT_EVENTS,
    MOST_DIMENSIONS,
    RESIDUALS,
    VECTORS,
    code,
    fit_coordinate,
    next_row,
    pair_all,
    pair_newest,
    store_dtype,
)

#: larger values are cut to what 32 bits hold
LARGEST = 3e38


def as_vector(values: object, dimensions: int) -> Floats32 | None:
    """A vector (dimensions,) of finite numbers as 32-bit floats, None where `values` is none."""
    fits = False
    if isinstance(values, np.ndarray):
        fits = values.shape == (dimensions,) and values.dtype.kind in "fiub"
    elif isinstance(values, Sequence) and not isinstance(values, str | bytes) and len(values) == dimensions:
        fits = all(isinstance(x, Real | np.bool_) for x in values)
    if not fits:
        return None
    try:
        vector = np.array(values, np.float64)
    except OverflowError:  # an int beyond the floats
        return None
    if vector.shape != (dimensions,) or not np.isfinite(vector).all():
        return None
    return np.clip(vector, -LARGEST, LARGEST).astype(np.float32)


def event_hash(uniforms: Uniforms) -> np.uint64:
    """64 bits of an event, from its uniforms."""
    first, second = (int(u * 2.0**53) for u in uniforms[:2])
    return np.uint64((first << 11 ^ second) & 0xFFFFFFFFFFFFFFFF)


def checked(level: float, page_level: float | None, floor: float, **dimensions: int) -> tuple[float, float]:
    """Natural logs of the levels. Raises ValueError for settings that make no detector."""
    if not 0.0 <= floor < math.inf:
        raise ValueError(f"floor must be finite and not negative: {floor}")
    for name, number in dimensions.items():
        if not 1 <= number <= MOST_DIMENSIONS:
            raise ValueError(f"{name} must be from 1 to {MOST_DIMENSIONS}: {number}")
    return level_nats(level, page_level)


@kernel
def finish_warm_up(quantiser: Record, ring: Record, first: Floats32) -> None:
    """Fit a quantiser to the first FIT_EVENTS vectors and write them into the ring."""
    quantiser["varying"] = 0
    values = np.zeros(FIT_EVENTS, np.float32)
    for j in range(first.shape[1]):
        for k in range(FIT_EVENTS):
            values[k] = first[k, j]
        fit_coordinate(quantiser, j, values)
    for k in range(FIT_EVENTS):
        slot = next_row(ring, k + 1)
        ring["partners"][slot] = k
        for j in range(first.shape[1]):
            ring["codes"][slot, j] = code(quantiser["edges"][j], first[k, j])
    quantiser["fitted"] = FIT_EVENTS


@kernel
def write(quantiser: Record, ring: Record, vector: Floats32) -> None:
    """Write a vector into its ring."""
    event = ring["events"]
    slot = next_row(ring, event + 1)
    ring["partners"][slot] = event
    for j in range(vector.size):
        ring["codes"][slot, j] = code(quantiser["edges"][j], vector[j])


class _Directions:
    """What both kinds of learned directions have in common."""

    def __init__(
        self,
        kind: int,
        dimensions: int,
        conditioning_dimensions: int,
        level: float,
        page_level: float | None,
        floor: float,
    ) -> None:
        self.refused = 0
        self._nats, self._nats_page = checked(
            level, page_level, floor, dimensions=dimensions, conditioning_dimensions=conditioning_dimensions
        )
        self._floor, self._kind = floor, kind
        self._dimensions, self._conditioning = dimensions, conditioning_dimensions
        self._name = "direction" if kind == VECTORS else "conditional"
        self._store = np.zeros(1, store_dtype(dimensions, conditioning_dimensions))
        self._changes = DirectionChanges(self._name, dimensions, conditioning_dimensions, rows=2)
        self._row = self._changes.rows.allocate()
        self._first = np.zeros((FIT_EVENTS, dimensions + conditioning_dimensions), np.float32)
        self._seen = np.zeros(1, np.int64)
        self._logs = np.zeros(drift.ALL_BETS)
        drift.set_direction_levels(self._changes.record(self._row), self._nats, self._nats_page)

    @property
    def log_level(self) -> float:
        """Natural log of the level now: the page process counts only once the notice level was reached."""
        return self._changes.log_level(self._row, self._nats)

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return self._changes.is_open(self._row)

    def accept(self) -> None:
        """The mean since the open change is normal from now on."""
        if self.open:
            self._changes.accept(self._row)

    def snapshot(self) -> bytes:
        """The whole state."""
        counts = np.array([float(self.refused)])
        first = self._first if self._seen[0] < FIT_EVENTS else np.zeros_like(self._first)
        return pack(self._label(), self._store, self._changes.snapshot(self._row), first, self._seen, counts)

    def restore(self, state: bytes) -> None:
        """Take over a snapshot of a detector with the same settings."""
        row, first = (BYTES, self._changes.snapshot_bytes), (np.dtype(np.float32), self._first.size)
        dtypes = [(self._store.dtype, 1), row, first, (np.dtype(np.int64), 1), (COUNTS, 1)]
        self._store, saved, waiting, self._seen, counts = unpack(self._label(), state, *dtypes)
        self._changes.restore_snapshot(self._row, saved)
        self._first = waiting.reshape(self._first.shape)
        self.refused = int(counts["refused"][0])

    def _label(self) -> str:
        return f"{self._name}{self._dimensions}-{self._conditioning}"

    def _take(self, values: Floats32, conditioning: Floats32, event: np.uint64) -> Evidence | None:
        """Take in a vector and its conditioning vector."""
        store, d = self._store[0], self._dimensions
        if self._seen[0] < FIT_EVENTS:
            self._first[self._seen[0], :d] = values
            self._first[self._seen[0], d:] = conditioning
            self._seen[0] += 1
            if self._seen[0] < FIT_EVENTS:
                return None
            finish_warm_up(store["quantiser"], store["ring"], np.ascontiguousarray(self._first[:, :d]))
            if self._kind == RESIDUALS:
                finish_warm_up(
                    store["conditioning_quantiser"], store["conditioning"], np.ascontiguousarray(self._first[:, d:])
                )
                pair_all(store, FIT_EVENTS)
        else:
            if self._kind == RESIDUALS:
                write(store["conditioning_quantiser"], store["conditioning"], conditioning)
            write(store["quantiser"], store["ring"], values)
            if self._kind == RESIDUALS:
                pair_newest(store, int(store["ring"]["events"]))
        changes, i = self._changes, self._row
        vectors = Vectors(store, self._kind)
        args = (changes.rows.array, i, changes.frozen.array, *vectors, event, np.uint64(0), self._nats, self._logs)
        with np.errstate(over="ignore"):  # hashes wrap around, also where the kernel runs as plain Python
            found = report(changes.record(i), change.observe_direction(*args))
        return changes.follow(i, found, self._floor, self._nats, vectors)


class DirectionDetector(_Directions):
    """Finds shifts of the mean of a stream of vectors, in whatever direction.

    `dimensions`: numbers of a vector, 1 to 128. `level`: fire when the evidence supports one false firing in so many
    events; `page_level`: level beyond which claims are tempered for; `floor`: effect, in sd along the direction, below
    which the stream counts as returned. The first 300 vectors are learned from, evidence counts from the 600th on. The
    effect is the shift along the learned direction in its standard deviations, before is 0.
    Source: modules `drift`, `direction`, `store`.

    >>> import random
    >>> from leeboard.detectors import DirectionDetector, event_uniforms
    >>> rng, detector = random.Random(1), DirectionDetector(dimensions=4)
    >>> for t in range(1200):
    ...     x = [rng.gauss(0.0, 1.0) for _ in range(4)]
    ...     if t >= 1000:
    ...         x[1] += 1.0
    ...         x[2] -= 1.0
    ...     evidence = detector.update(x, uniforms=event_uniforms(str(t), "vector"))
    ...     if evidence:
    ...         print(t, t - evidence.change.estimate, f"{evidence.effect:.1f} sd")
    1014 1001 1.2 sd
    """

    def __init__(
        self, *, dimensions: int, level: float = 1e4, page_level: float | None = None, floor: float = 0.0
    ) -> None:
        super().__init__(VECTORS, dimensions, 1, level, page_level, floor)

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,  # noqa: ARG002 - the contract's; a direction knows no clock
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`; `value` is a vector."""
        values = as_vector(value, self._dimensions)
        if values is None:
            self.refused += 1
            return None
        return self._take(values, np.zeros(1, np.float32), event_hash(uniforms))


class ConditionalDetector(_Directions):
    """Finds shifts of the mean of vectors given other vectors: what regression on these does not explain.

    `conditioning_dimensions`: numbers of a conditioning vector, which comes as `covariates`. All else as for
    `DirectionDetector`.

    >>> import random
    >>> from leeboard.detectors import ConditionalDetector, event_uniforms
    >>> rng, detector = random.Random(1), ConditionalDetector(dimensions=2, conditioning_dimensions=2)
    >>> for t in range(1500):
    ...     given = [rng.gauss(2.0 if t >= 1000 else 0.0, 1.0), rng.gauss(0.0, 1.0)]  # its shift is no change
    ...     x = [given[0] + rng.gauss(0.0, 1.0), given[1] + rng.gauss(1.5 if t >= 1300 else 0.0, 1.0)]
    ...     uniforms = event_uniforms(str(t), "vector")
    ...     evidence = detector.update(x, uniforms=uniforms, covariates=tuple(given))
    ...     if evidence:
    ...         print(t, t - evidence.change.estimate, f"{evidence.effect:.1f} sd")
    1336 1300 1.0 sd
    """

    def __init__(
        self,
        *,
        dimensions: int,
        conditioning_dimensions: int,
        level: float = 1e4,
        page_level: float | None = None,
        floor: float = 0.0,
    ) -> None:
        super().__init__(RESIDUALS, dimensions, conditioning_dimensions, level, page_level, floor)

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,
    ) -> Evidence | None:
        """See `base.Detector.update`; `value` is a vector, `covariates` its conditioning vector."""
        values, conditioning = as_vector(value, self._dimensions), as_vector(covariates, self._conditioning)
        if values is None or conditioning is None:
            self.refused += 1
            return None
        return self._take(values, conditioning, event_hash(uniforms))


class FeaturesDetector:
    """Finds shifts of any of a few readable numbers of a stream, each judged as `NumericDetector` judges one.

    `features`: how many, 1 to 128. The evidence is the mean of their levels; it counts from event 300 on. The effect is
    the shift of the feature that leads, in standard deviations; `moved` says which, `before` and `after` are its means.
    Source: module `features`.

    >>> import random
    >>> from leeboard.detectors import FeaturesDetector, event_uniforms
    >>> rng, detector = random.Random(1), FeaturesDetector(features=3)
    >>> for t in range(1200):
    ...     x = [rng.gauss(5.0, 1.0), rng.random(), float(rng.random() < (0.1 if t < 1000 else 0.7))]
    ...     evidence = detector.update(x, uniforms=event_uniforms(str(t), "features"))
    ...     if evidence:
    ...         print(t, detector.moved, f"{evidence.effect:+.1f} sd")
    1023 2 +2.0 sd
    """

    def __init__(
        self, *, features: int, level: float = 1e4, page_level: float | None = None, floor: float = 0.0
    ) -> None:
        self.refused = 0
        #: the feature behind the last evidence
        self.moved: int | None = None
        self._nats, self._nats_page = checked(level, page_level, floor, features=features)
        self._floor, self._features = floor, features
        self._changes = FeatureChanges(features, rows=2)
        self._row = self._changes.rows.allocate()
        self._salts = np.arange(features, dtype=np.uint64)
        self._values, self._bets = np.zeros(features), np.zeros(BETS)
        set_features_levels(self._changes.record(self._row), self._nats, self._nats_page)

    @property
    def log_level(self) -> float:
        """Natural log of the level now."""
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
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`; `value` is a vector of the features."""
        x = as_vector(value, self._features)
        if x is None:
            self.refused += 1
            return None
        changes, i, event = self._changes, self._row, event_hash(uniforms)
        args = (changes.rows.array, i, changes.frozen.array, x, event, self._salts, self._nats)
        with np.errstate(over="ignore"):
            found = report(changes.record(i), observe_features(*args, self._values, self._bets))
        evidence = changes.follow(i, found, self._floor, self._nats, None)
        if evidence is not None:
            self.moved = changes.leader(i)
        return evidence

    def accept(self) -> None:
        """The level since the open change is normal from now on."""
        if self.open:
            self._changes.accept(self._row)

    def snapshot(self) -> bytes:
        """The whole state."""
        moved = -1.0 if self.moved is None else float(self.moved)
        counts = np.array([float(self.refused), moved])
        return pack(f"features{self._features}", self._changes.snapshot(self._row), counts)

    def restore(self, state: bytes) -> None:
        """Take over a snapshot of a detector with the same settings."""
        dtypes = [(BYTES, self._changes.snapshot_bytes), (COUNTS, 2)]
        row, counts = unpack(f"features{self._features}", state, *dtypes)
        self._changes.restore_snapshot(self._row, row)
        self.refused = int(counts["refused"][0])
        self.moved = int(counts["refused"][1]) if counts["refused"][1] >= 0.0 else None
