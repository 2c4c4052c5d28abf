"""Whole streams of vectors through the detectors at compiled speed: what `update` does event for event."""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.changes import ACCEPTED_AFTER
from leeboard.detectors.core.jit import Arena, Floats, Floats32, Record, Salts, kernel
from leeboard.detectors.core.lifecycle import FIRED, NEXT, RETURNED, accept
from leeboard.detectors.vector import change as vector_change
from leeboard.detectors.vector import drift as vector
from leeboard.detectors.vector import features as vector_features
from leeboard.detectors.vector.detector import finish_warm_up, write
from leeboard.detectors.vector.store import FIT_EVENTS, RESIDUALS, VECTORS, pair_all, pair_newest, store_dtype

Codes = npt.NDArray[np.int8]


@kernel
def _direction(
    rows: Arena,
    frozen: Arena,
    space: Record,
    kind: int,
    x: Floats32,
    given: Floats32,
    events: Salts,
    nats: float,
    codes: Codes,
) -> None:
    logs = np.zeros(vector.ALL_BETS)
    row = rows[0]
    for t in range(FIT_EVENTS - 1, x.shape[0]):
        if t >= FIT_EVENTS:
            if kind == RESIDUALS:
                write(space["given_quantiser"], space["given"], given[t])
            write(space["quantiser"], space["ring"], x[t])
            if kind == RESIDUALS:
                pair_newest(space, t + 1)
        code = vector_change.observe_direction(rows, 0, frozen, space, kind, events[t], np.uint64(0), nats, logs)
        if code in (FIRED, NEXT):
            moved = rows[0] if code == FIRED else rows[1]
            since = moved["events"] - 1 - vector.locate(moved, space, kind)[0]
            if code == FIRED:
                vector_change.open_direction_change(rows, 0, 1, frozen, 0, since, 0.0)
            else:
                vector_change.supersede_direction(rows, 0, frozen, since, 0.0)
        elif code == RETURNED:
            vector_change.restore_direction(rows, 0, frozen)
        elif row["frozen"] >= 0 and row["events"] - frozen[0]["opened"] > ACCEPTED_AFTER:
            accept(rows, 0)
        codes[t] = code


@kernel
def _features(rows: Arena, frozen: Arena, x: Floats32, events: Salts, salts: Salts, nats: float, codes: Codes) -> None:
    values, scratch = np.zeros(x.shape[1]), np.zeros(BETS)
    row = rows[0]
    for t in range(x.shape[0]):
        args = (rows, 0, frozen, x[t], events[t], salts, nats, values, scratch)
        code = vector_features.observe_features(*args)
        if code == FIRED:
            vector_features.open_features_change(rows, 0, 1, frozen, 0, row["change"], 0.0, scratch)
        elif code == NEXT:
            vector_features.supersede_features(rows, 0, frozen, 0.0, scratch)
        elif code == RETURNED:
            vector_features.restore_features(rows, 0, frozen)
        elif row["frozen"] >= 0 and row["events"] - frozen[0]["opened"] > ACCEPTED_AFTER:
            accept(rows, 0)
        codes[t] = code


def direction_codes(x: Floats, events: Salts, level: float = 1e4, *, given: Floats | None = None) -> Codes:
    """What a direction of that level makes of every vector: QUIET, FIRED, RETURNED or NEXT; conditional on `given`."""
    kind, nats = VECTORS if given is None else RESIDUALS, math.log(level)
    vectors, others = x.astype(np.float32), (np.zeros((len(x), 1)) if given is None else given).astype(np.float32)
    shape = vectors.shape[1], others.shape[1]
    rows, space = np.zeros(2, vector.direction_dtype(*shape)), np.zeros(1, store_dtype(*shape))[0]
    vector.open_direction(rows[0], 0, nats, nats)
    finish_warm_up(space["quantiser"], space["ring"], vectors[:FIT_EVENTS])
    if kind == RESIDUALS:
        finish_warm_up(space["given_quantiser"], space["given"], others[:FIT_EVENTS])
        pair_all(space, FIT_EVENTS)
    codes = np.zeros(len(x), np.int8)
    _direction(
        rows,
        np.zeros(1, vector_change.frozen_direction_dtype(*shape)),
        space,
        kind,
        vectors,
        others,
        events,
        nats,
        codes,
    )
    return codes


def features_codes(x: Floats, events: Salts, level: float = 1e4) -> Codes:
    """The same for readable features."""
    features, nats = x.shape[1], math.log(level)
    rows, codes = np.zeros(2, vector_features.features_dtype(features)), np.zeros(len(x), np.int8)
    vector_features.open_features(rows[0], nats, nats)
    frozen = np.zeros(1, vector_features.frozen_features_dtype(features))
    _features(rows, frozen, x.astype(np.float32), events, np.arange(features, dtype=np.uint64), nats, codes)
    return codes
