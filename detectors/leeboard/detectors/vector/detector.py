"""Streams of vectors behind the contract of `base`: learned directions, and the mean of readable features."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from leeboard.detectors.base import Evidence, Uniforms, Value, level_nats, pack, unpack
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.effect import make_evidence
from leeboard.detectors.core.jit import Floats32, Record, kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, RETURNED, accept
from leeboard.detectors.numeric.detector import ACCEPTED_AFTER, COUNTS

from . import change as vector_change
from . import drift as vector
from . import features as vector_features
from .effect import (
    direction_change,
    direction_effect,
    direction_guarantee,
    features_change,
    features_effect,
    features_guarantee,
)
from .store import (
    FIT_EVENTS,
    MAX_DIMENSIONS,
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
        if not 1 <= number <= MAX_DIMENSIONS:
            raise ValueError(f"{name} must be from 1 to {MAX_DIMENSIONS}: {number}")
    return level_nats(level, page_level)


@kernel
def finish_warm_up(quantiser: Record, ring: Record, young: Floats32) -> None:
    """Fit a quantiser to the first FIT_EVENTS vectors and write them into the ring."""
    quantiser["varying"] = 0
    values = np.zeros(FIT_EVENTS, np.float32)
    for j in range(young.shape[1]):
        for k in range(FIT_EVENTS):
            values[k] = young[k, j]
        fit_coordinate(quantiser, j, values)
    for k in range(FIT_EVENTS):
        slot = next_row(ring, k + 1)
        ring["partners"][slot] = k
        for j in range(young.shape[1]):
            ring["codes"][slot, j] = code(quantiser["edges"][j], young[k, j])
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
        self, kind: int, dimensions: int, given: int, level: float, page_level: float | None, floor: float
    ) -> None:
        self.refused = 0
        self._nats, self._nats_page = checked(level, page_level, floor, dimensions=dimensions, given=given)
        self._floor, self._kind = floor, kind
        self._dimensions, self._given = dimensions, given
        self._name = "direction" if kind == VECTORS else "conditional"
        self._space = np.zeros(1, store_dtype(dimensions, given))
        self._rows = np.zeros(2, vector.direction_dtype(dimensions, given))
        self._frozen = np.zeros(1, vector_change.frozen_direction_dtype(dimensions, given))
        self._warm_up = np.zeros((FIT_EVENTS, dimensions + given), np.float32)
        self._seen = np.zeros(1, np.int64)
        self._logs = np.zeros(vector.ALL_BETS)
        vector.open_direction(self._rows[0], 0, self._nats, self._nats_page)

    @property
    def log_level(self) -> float:
        """Natural log of the level now: the page process counts only once the notice level was reached."""
        row = self._rows[0]
        return float(max(row["peak_page"], self._nats)) if self.open else float(row["log_notice"])

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""
        return bool(self._rows[0]["frozen"] >= 0)

    def accept(self) -> None:
        """The mean since the open change is normal from now on."""
        if self.open:
            accept(self._rows, 0)

    def snapshot(self) -> bytes:
        """The whole state."""
        counts = np.array([float(self.refused)])
        young = self._warm_up if self._seen[0] < FIT_EVENTS else np.zeros_like(self._warm_up)
        return pack(self._label(), self._space, self._rows, self._frozen, young, self._seen, counts)

    def restore(self, state: bytes) -> None:
        """Take over a snapshot of a detector with the same settings."""
        young = np.dtype(np.float32)
        dtypes = [(self._space.dtype, 1), (self._rows.dtype, 2), (self._frozen.dtype, 1), (young, self._warm_up.size)]
        parts = unpack(self._label(), state, *dtypes, (np.dtype(np.int64), 1), (COUNTS, 1))
        self._space, self._rows, self._frozen, waiting, self._seen, counts = parts
        self._warm_up = waiting.reshape(self._warm_up.shape)
        self.refused = int(counts["refused"][0])

    def _label(self) -> str:
        return f"{self._name}{self._dimensions}-{self._given}"

    def _take(self, values: Floats32, given: Floats32, event: np.uint64) -> Evidence | None:
        """Take in a vector and what it is given."""
        space, d = self._space[0], self._dimensions
        if self._seen[0] < FIT_EVENTS:
            self._warm_up[self._seen[0], :d] = values
            self._warm_up[self._seen[0], d:] = given
            self._seen[0] += 1
            if self._seen[0] < FIT_EVENTS:
                return None
            finish_warm_up(space["quantiser"], space["ring"], np.ascontiguousarray(self._warm_up[:, :d]))
            if self._kind == RESIDUALS:
                finish_warm_up(space["given_quantiser"], space["given"], np.ascontiguousarray(self._warm_up[:, d:]))
                pair_all(space, FIT_EVENTS)
        else:
            if self._kind == RESIDUALS:
                write(space["given_quantiser"], space["given"], given)
            write(space["quantiser"], space["ring"], values)
            if self._kind == RESIDUALS:
                pair_newest(space, int(space["ring"]["events"]))
        return self._judge(space, event)

    def _judge(self, space: Record, event: np.uint64) -> Evidence | None:
        rows, old, kind, floor = self._rows, self._frozen, self._kind, self._floor
        args = (rows, 0, old, space, kind, event, np.uint64(0), self._nats, self._logs)
        with np.errstate(over="ignore"):  # hashes wrap around, also where the kernel runs as plain Python
            code = vector_change.observe_direction(*args)
        if code in (FIRED, NEXT):
            row = rows[0] if code == FIRED else rows[1]
            change = direction_change(row, space, kind)
            since = int(row["events"]) - 1 - change.estimate
            if code == FIRED:
                vector_change.open_direction_change(rows, 0, 1, old, 0, since, floor)
            else:
                vector_change.supersede_direction(rows, 0, old, since, floor)
            nats = max(self._nats, float(rows[0]["log_page"]))
            effect = direction_effect(rows, 0, old)
            return make_evidence(nats, effect, change, direction_guarantee(rows[0]), self._name)
        if code == RETURNED:
            vector_change.restore_direction(rows, 0, old)
        elif self.open and rows[0]["events"] - old[0]["opened"] > ACCEPTED_AFTER:
            accept(rows, 0)
        return None


class DirectionDetector(_Directions):
    """Finds shifts of the mean of a stream of vectors, in whatever direction.

    `dimensions`: numbers of a vector, 1 to 128. `level`: fire when the evidence supports one false firing in so many
    events; `page_level`: level beyond which claims are tempered for; `floor`: effect, in sd along the direction, below
    which the stream counts as returned. The first 300 vectors are learned from, evidence counts from the 600th on. The
    effect is the shift along the learned direction in its standard deviations, before is 0.
    Source: modules `vector`, `vector_aim`, `vector_space`.

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

    `given`: numbers of what a vector is given, which comes as `covariates`. All else as for `DirectionDetector`.

    >>> import random
    >>> from leeboard.detectors import ConditionalDetector, event_uniforms
    >>> rng, detector = random.Random(1), ConditionalDetector(dimensions=2, given=2)
    >>> for t in range(1500):
    ...     given = [rng.gauss(2.0 if t >= 1000 else 0.0, 1.0), rng.gauss(0.0, 1.0)]  # moves, and is no news
    ...     x = [given[0] + rng.gauss(0.0, 1.0), given[1] + rng.gauss(1.5 if t >= 1300 else 0.0, 1.0)]
    ...     uniforms = event_uniforms(str(t), "vector")
    ...     evidence = detector.update(x, uniforms=uniforms, covariates=tuple(given))
    ...     if evidence:
    ...         print(t, t - evidence.change.estimate, f"{evidence.effect:.1f} sd")
    1336 1300 1.0 sd
    """

    def __init__(
        self, *, dimensions: int, given: int, level: float = 1e4, page_level: float | None = None, floor: float = 0.0
    ) -> None:
        super().__init__(RESIDUALS, dimensions, given, level, page_level, floor)

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,
    ) -> Evidence | None:
        """See `base.Detector.update`; `value` is a vector, `covariates` what it is given."""
        values, given = as_vector(value, self._dimensions), as_vector(covariates, self._given)
        if values is None or given is None:
            self.refused += 1
            return None
        return self._take(values, given, event_hash(uniforms))


class FeaturesDetector:
    """Finds shifts of any of a few readable numbers of a stream, each judged as `NumericDetector` judges one.

    `features`: how many, 1 to 128. The evidence is the mean of their levels; it counts from event 300 on. The effect is
    the shift of the feature that leads, in standard deviations; `moved` says which, `before` and `after` are its means.
    Source: module `vector_features`.

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
        self._rows = np.zeros(2, vector_features.features_dtype(features))
        self._frozen = np.zeros(1, vector_features.frozen_features_dtype(features))
        self._salts = np.arange(features, dtype=np.uint64)
        self._values, self._bets = np.zeros(features), np.zeros(BETS)
        vector_features.open_features(self._rows[0], self._nats, self._nats_page)

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
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`; `value` is a vector of the features."""
        x = as_vector(value, self._features)
        if x is None:
            self.refused += 1
            return None
        rows, old, event, salts = self._rows, self._frozen, event_hash(uniforms), self._salts
        args = (rows, 0, old, x, event, salts, self._nats, self._values, self._bets)
        with np.errstate(over="ignore"):
            code = vector_features.observe_features(*args)
        if code in (FIRED, NEXT):
            row = rows[0] if code == FIRED else rows[1]
            change = features_change(row)
            if code == FIRED:
                vector_features.open_features_change(rows, 0, 1, old, 0, row["change"], self._floor, self._bets)
            else:
                vector_features.supersede_features(rows, 0, old, self._floor, self._bets)
            self.moved = int(old[0]["leader"])
            nats = max(self._nats, float(rows[0]["log_page"]))
            return make_evidence(nats, features_effect(rows, 0, old), change, features_guarantee(rows[0]), "features")
        if code == RETURNED:
            vector_features.restore_features(rows, 0, old)
        elif self.open and rows[0]["events"] - old[0]["opened"] > ACCEPTED_AFTER:
            accept(rows, 0)
        return None

    def accept(self) -> None:
        """The level since the open change is normal from now on."""
        if self.open:
            accept(self._rows, 0)

    def snapshot(self) -> bytes:
        """The whole state."""
        moved = -1.0 if self.moved is None else float(self.moved)
        return pack(f"features{self._features}", self._rows, self._frozen, np.array([float(self.refused), moved]))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot of a detector with the same settings."""
        dtypes: list[tuple[np.dtype[Any], int]] = [(self._rows.dtype, 2), (self._frozen.dtype, 1), (COUNTS, 2)]
        self._rows, self._frozen, counts = unpack(f"features{self._features}", state, *dtypes)
        self.refused = int(counts["refused"][0])
        self.moved = int(counts["refused"][1]) if counts["refused"][1] >= 0.0 else None
