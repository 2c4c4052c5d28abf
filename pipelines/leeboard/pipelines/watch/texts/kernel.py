"""How the text detectors of all scopes lie in memory, and the compiled step of one call through them."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.detectors import hash64
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.jit import Floats, Integers, Record, kernel
from leeboard.detectors.core.lifecycle import QUIET
from leeboard.detectors.vector.drift import ALL_BETS
from leeboard.pipelines.watch.columns import Signals

from .rows import TEXT_FEATURES, TextBatch
from .signals import DIRECTIONS, SIGNALS, TextArenas, TextColumns, TextScratch, observe_text


class TextState(NamedTuple):
    """Arenas and tables; tables hold row numbers, -1 for none."""

    arenas: TextArenas
    rows: npt.NDArray[np.int32]  # (scopes, 2 + signals): TEXT_STATE, STORE, then those of SIGNALS
    chunks: npt.NDArray[np.int32]  # (scopes, WARM_UP_CHUNKS)


class TextConstants(NamedTuple):
    """Constants of the text signals."""

    salts: TextColumns
    channels: Integers  # (signals,)
    weights: Floats


class TextWorkspace(NamedTuple):
    """Scratch space of the kernels."""

    nats: Floats  # (signals,)
    page_nats: Floats
    codes: Integers
    scratch: TextScratch


def make_text_constants(signals: Signals) -> TextConstants:
    """Constants of the signals as configured."""
    output_salts, input_salts = (
        np.array([hash64(f"{SIGNALS[s]}.{k}") for k in range(TEXT_FEATURES)], np.uint64)
        for s in range(len(SIGNALS))
        if s not in DIRECTIONS
    )
    salts = TextColumns(output_salts, input_salts, np.array([hash64(SIGNALS[s]) for s in DIRECTIONS], np.uint64))
    return TextConstants(salts, signals.text_channels, signals.text_weights)


def make_text_workspace() -> TextWorkspace:
    """Scratch space for one thread."""
    nats, page_nats = np.zeros((2, len(SIGNALS)))
    scratch = TextScratch(np.zeros(TEXT_FEATURES), np.zeros(max(BETS, ALL_BETS)))
    return TextWorkspace(nats, page_nats, np.zeros(len(SIGNALS), np.int64), scratch)


@kernel
def watch_texts(
    scope: Record,
    slot: int,
    state: TextState,
    batch: TextBatch,
    constants: TextConstants,
    e: int,
    event: np.uint64,
    most_nats: float,
    workspace: TextWorkspace,
) -> int:
    """The texts of entry e through their signals; the codes of what it led to. `most_nats`: log of the page level."""
    rows = state.rows[slot]
    if rows[0] < 0:
        return QUIET
    nats, page_nats = workspace.nats, workspace.page_nats
    for s in range(nats.size):
        more = 0.0
        if rows[2 + s] >= 0:
            more = scope["channel_nats"][constants.channels[s]] - math.log(constants.weights[s])
        nats[s] = scope["notice_nats"] + more
        page_nats[s] = most_nats + more
    arenas, chunks, call = state.arenas, state.chunks[slot], scope["calls"]
    args = (
        arenas,
        rows,
        chunks,
        call,
        batch,
        e,
        event,
        constants.salts,
        nats,
        page_nats,
        workspace.codes,
        workspace.scratch,
    )
    codes: int = observe_text(*args)
    return codes
