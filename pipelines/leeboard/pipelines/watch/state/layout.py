"""How the state of all scopes lies in memory: arenas, tables, a batch, and the constants of the signals."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.jit import Arena, Floats, Floats32, Integers
from leeboard.detectors.numeric import season
from leeboard.pipelines.signals import CATEGORICAL, CHANNELS, NUMERIC
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.texts.kernel import (
    TextConstants,
    TextState,
    TextWorkspace,
    make_text_constants,
    make_text_workspace,
)
from leeboard.pipelines.watch.texts.rows import TextBatch

FIXED_NUMERIC = len(NUMERIC)
FIXED_CATEGORICAL = len(CATEGORICAL)
#: hashes of a chunk of the ring of recent ids
ID_CHUNK = 512
#: rows of a chunk of the ring of recent calls
CHUNK = 250
#: categories of one signal that are kept apart, the last of them standing for all others
CATEGORIES = 16
#: days of calls that the notice level of a busy scope counts
WEEK_DAYS = 7
#: calls before the notice level is computed again, as a share of the calls so far
RECOUNT = 0.1
#: a recent call's normal score as one byte: score x SCORE_STEPS, NOT_MEASURED where there is none
SCORE_STEPS = 36.0
NOT_MEASURED = -128

SCOPE = np.dtype(
    [
        ("calls", "i8"),
        ("time", "i8"),  # scope time, epoch ms
        ("first", "i8"),  # time of the first call
        ("notice_nats", "f8"),
        ("recount_calls", "i8"),  # calls at which the notice level is computed again
        ("day", "i8"),
        ("day_calls", "i4", WEEK_DAYS),  # ring over days
        ("measured", "f8", len(CHANNELS)),  # sum of the weights of the signals that were ever measured
        ("channel_nats", "f8", len(CHANNELS)),  # log of the channel's budget divided among them
        ("next_check_call", "i8"),  # call number and scope time of the next check
        ("summary_check_time", "i8"),
        ("summary_check_call", "i8"),  # look_time waits for this call, but not beyond look_latest
        ("latest_check_time", "i8"),
        ("repeated", "i8"),  # calls whose id was among those of the last ones
    ],
    align=True,
)


def ring_row(numbers: int) -> np.dtype[Any]:
    """What the ring keeps of a call, with the scores of so many numeric signals."""
    return np.dtype(
        [
            ("time", "u4"),  # seconds since the first call of the scope
            ("flags", "u4"),  # see Observation.flags: 16 of 2 bits
            ("labels", "u2"),  # the call's set of labels in the scope's table
            ("texts", "u1"),  # what was measured of its texts, see texts.rows.TextBatch
            ("scores", "i1", numbers),
        ]
    )


RING_ROW = ring_row(len(NUMERIC))


class State(NamedTuple):
    """Arenas and tables; tables hold row numbers, -1 for none."""

    scopes: Arena
    numeric: Arena
    frozen: Arena
    clocks: Arena
    givens: Arena
    shares: Arena
    frozen_shares: Arena
    ring: Arena  # (chunks, CHUNK)
    ids: npt.NDArray[np.uint64]  # (chunks, ID_CHUNK)
    numeric_rows: npt.NDArray[np.int32]  # (scopes, numeric columns)
    regression_rows: npt.NDArray[np.int32]  # of clocks or givens
    binary_rows: npt.NDArray[np.int32]
    binary_events: Integers  # (scopes, binary columns): events of the signal
    category_rows: npt.NDArray[np.int32]  # (scopes, categorical columns, CATEGORIES)
    category_events: Integers  # (scopes, categorical columns): events of the signal
    ring_chunks: npt.NDArray[np.int32]  # (scopes, chunks of a ring)
    id_chunks: npt.NDArray[np.int32]
    texts: TextState


class Batch(NamedTuple):
    """Entries ordered by scope, then by position. A score that comes later is an entry that is no call."""

    slots: Integers
    is_call: npt.NDArray[np.bool_]
    hashes: npt.NDArray[np.uint64]
    salts: npt.NDArray[np.uint64]  # (entries, score columns): salts of the scores, numeric then categorical
    times: Integers  # epoch ms
    scope_times: Integers
    numbers: Floats  # (entries, numeric columns), NaN where not measured
    binaries: npt.NDArray[np.int8]  # (entries, binary columns), -1 where not measured
    codes: npt.NDArray[np.int8]  # (entries, categorical columns), -1 where not measured
    labels: npt.NDArray[np.uint16]
    flags: npt.NDArray[np.uint32]
    tokens: Floats32  # (entries, 2): output and input tokens
    alarms: npt.NDArray[np.bool_]  # a River detector raised an alarm at this entry
    repeated: npt.NDArray[np.bool_]  # written by the kernel: the call's id was seen before
    stops: npt.NDArray[np.bool_]  # Python has work to do before this entry
    texts: TextBatch


class Columns(NamedTuple):
    """Constants of the signals."""

    numeric_channels: Integers
    numeric_weights: Floats
    logarithmic: npt.NDArray[np.bool_]
    dithers: Floats
    given: npt.NDArray[np.bool_]
    numeric_salts: npt.NDArray[np.uint64]
    binary_channels: Integers
    binary_weights: Floats
    binary_salts: npt.NDArray[np.uint64]
    categorical_channels: Integers
    categorical_weights: Floats
    categorical_salts: npt.NDArray[np.uint64]
    channel_weights: Floats
    texts: TextConstants
    page_nats: float
    notices_per_week: float


class Scratch(NamedTuple):
    """Space that the kernels write over."""

    bets: Floats
    features: Floats
    gain: Floats
    covariates: Floats32
    texts: TextWorkspace


def make_scratch() -> Scratch:
    """Scratch space for one thread."""
    features, gain = np.zeros((2, season.FEATURES))
    return Scratch(np.zeros(BETS), features, gain, np.zeros(season.COVARIATES, np.float32), make_text_workspace())


def make_columns(signals: Signals, page_nats: float, notices_per_week: float) -> Columns:
    """Constants of the signals as configured."""
    return Columns(
        signals.numeric_channels,
        signals.numeric_weights,
        signals.numeric_logarithmic,
        signals.numeric_dithers,
        signals.numeric_given,
        signals.numeric_salts,
        signals.binary_channels,
        signals.binary_weights,
        signals.binary_salts,
        signals.categorical_channels,
        signals.categorical_weights,
        signals.categorical_salts,
        signals.channel_weights,
        make_text_constants(signals),
        page_nats,
        notices_per_week,
    )
