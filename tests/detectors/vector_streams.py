"""Whole streams of vectors through the detectors at compiled speed: what `update` does event for event."""

import math

import numpy as np
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.jit import Arena, Floats, Floats32, Record, Salts, kernel
from leeboard.detectors.core.lifecycle import QUIET, report
from leeboard.detectors.vector import drift
from leeboard.detectors.vector.change import observe_direction
from leeboard.detectors.vector.changes import DirectionChanges, FeatureChanges, Vectors
from leeboard.detectors.vector.detector import finish_warm_up, write
from leeboard.detectors.vector.features import observe_features, set_features_levels
from leeboard.detectors.vector.store import FIT_EVENTS, RESIDUALS, VECTORS, pair_all, pair_newest, store_dtype

from tests.detectors.following import Codes, followed, is_due


@kernel
def _walk_vectors(
    rows: Arena,
    i: int,
    frozen: Arena,
    store: Record,
    kind: int,
    first: int,
    x: Floats32,
    given: Floats32,
    events: Salts,
    nats: float,
    logs: Floats,
) -> int:
    for t in range(first, x.shape[0]):
        if t >= FIT_EVENTS:
            if kind == RESIDUALS:
                write(store["conditioning_quantiser"], store["conditioning"], given[t])
            write(store["quantiser"], store["ring"], x[t])
            if kind == RESIDUALS:
                pair_newest(store, t + 1)
        code = observe_direction(rows, i, frozen, store, kind, events[t], np.uint64(0), nats, logs)
        if report(rows[i], code) != QUIET or is_due(rows, i, frozen):
            return t + 1
    return x.shape[0]


@kernel
def _walk_features(
    rows: Arena,
    i: int,
    frozen: Arena,
    first: int,
    x: Floats32,
    events: Salts,
    salts: Salts,
    nats: float,
    values: Floats,
    bets: Floats,
) -> int:
    for t in range(first, x.shape[0]):
        code = observe_features(rows, i, frozen, x[t], events[t], salts, nats, values, bets)
        if report(rows[i], code) != QUIET or is_due(rows, i, frozen):
            return t + 1
    return x.shape[0]


def direction_codes(x: Floats, events: Salts, level: float = 1e4, *, given: Floats | None = None) -> Codes:
    """What a direction of that level makes of every vector: QUIET, FIRED, RETURNED or NEXT; conditional on `given`."""
    kind, nats, logs = VECTORS if given is None else RESIDUALS, math.log(level), np.zeros(drift.ALL_BETS)
    vectors, others = x.astype(np.float32), (np.zeros((len(x), 1)) if given is None else given).astype(np.float32)
    shape = vectors.shape[1], others.shape[1]
    changes, store = DirectionChanges("direction", *shape, rows=2), np.zeros(1, store_dtype(*shape))[0]
    i = changes.rows.allocate()
    drift.set_direction_levels(changes.record(i), nats, nats)
    finish_warm_up(store["quantiser"], store["ring"], vectors[:FIT_EVENTS])
    if kind == RESIDUALS:
        finish_warm_up(store["conditioning_quantiser"], store["conditioning"], others[:FIT_EVENTS])
        pair_all(store, FIT_EVENTS)

    def walk(first: int) -> int:
        rows, frozen = changes.rows.array, changes.frozen.array
        return int(_walk_vectors(rows, i, frozen, store, kind, first, vectors, others, events, nats, logs))

    return followed(changes, i, walk, FIT_EVENTS - 1, len(x), nats, Vectors(store, kind))


def features_codes(x: Floats, events: Salts, level: float = 1e4) -> Codes:
    """The same for readable features."""
    features, nats, bets = x.shape[1], math.log(level), np.zeros(BETS)
    changes, numbers = FeatureChanges(features, rows=2), x.astype(np.float32)
    salts, values = np.arange(features, dtype=np.uint64), np.zeros(features)
    i = changes.rows.allocate()
    set_features_levels(changes.record(i), nats, nats)

    def walk(first: int) -> int:
        rows, frozen = changes.rows.array, changes.frozen.array
        return int(_walk_features(rows, i, frozen, first, numbers, events, salts, nats, values, bets))

    return followed(changes, i, walk, 0, len(x), nats)
