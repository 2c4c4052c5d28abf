"""Calls of the same input on both sides."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..arrays import BoolArray, FloatArray, IntArray
from .columns import Side, blocks, codes
from .fits import Layout, dense

#: sessions that share inputs merge into one group; with fewer groups than this (in effect, by their sizes) calls are
#: compared without pairs
MIN_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Matching:
    """Which calls of the two sides had the same input, before looking at any signal."""

    #: number of the input, shapes (n_base,) and (n_candidate,); -1 where no hash is known
    base: IntArray
    candidate: IntArray
    #: number of the session, one numbering for both sides; -1 where not known
    base_sessions: IntArray
    candidate_sessions: IntArray


@dataclass(frozen=True, slots=True)
class Pairs:
    """The P inputs for which a signal was measured on both sides."""

    #: number of the pair of each call, shapes (n_base,) and (n_candidate,); -1 for calls without partner
    base: IntArray
    candidate: IntArray
    #: by session and by block of neighbours in time, as in Side.groupings; side 0 throughout
    layout: Layout
    #: every input was called as often on one side as on the other
    balanced: bool

    def means(self, base: FloatArray, candidate: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Average values over the calls of each pair: two arrays of shape (P,)."""
        return _means(base, self.base, len(self)), _means(candidate, self.candidate, len(self))

    def __len__(self) -> int:
        return len(self.layout.side)


def match(base: Side, candidate: Side) -> Matching:
    """Give inputs and sessions the same numbers on both sides."""
    n = len(base.calls)
    calls = base.calls + candidate.calls
    inputs = codes([call.input_hash for call in calls])
    sessions = codes([call.session for call in calls])
    return Matching(inputs[:n], inputs[n:], sessions[:n], sessions[n:])


def pair_calls(matching: Matching, base: BoolArray, candidate: BoolArray, min_pairs: int) -> Pairs | None:
    """Pair the calls where a signal was measured (masks `base`, `candidate`); None: compare without pairs.

    Pairs are used when there are at least `min_pairs` and they cover at least half of the inputs of the side that has
    fewer (a call without hash is an input of its own). Then most of what the smaller side knows stays in, and the
    spread between inputs drops out. The rule depends on which values exist, never on the values.
    """
    codes_base, codes_candidate = np.where(base, matching.base, -1), np.where(candidate, matching.candidate, -1)
    in_base, in_candidate = np.unique(codes_base[codes_base >= 0]), np.unique(codes_candidate[codes_candidate >= 0])
    common = np.intersect1d(in_base, in_candidate, assume_unique=True)
    inputs_base = len(in_base) + int(np.sum(base & (matching.base < 0)))
    inputs_candidate = len(in_candidate) + int(np.sum(candidate & (matching.candidate < 0)))
    if len(common) < min_pairs or 2 * len(common) < min(inputs_base, inputs_candidate):
        return None
    of_base, of_candidate = _position(codes_base, common), _position(codes_candidate, common)
    sessions = _sessions(matching, of_base, of_candidate, len(common))
    sizes = np.bincount(sessions).astype(np.float64)
    if sizes.sum() ** 2 / np.sum(sizes**2) < min(MIN_GROUPS, min_pairs):
        return None
    counts = [np.bincount(of[of >= 0], minlength=len(common)) for of in (of_base, of_candidate)]
    # in order of the base's first call
    order = np.argsort(np.unique(of_base[of_base >= 0], return_index=True)[1])
    in_time = np.empty(len(common), np.int64)
    in_time[order] = blocks(len(common))
    layout = Layout(np.zeros(len(common), np.int64), (sessions, in_time))
    return Pairs(of_base, of_candidate, layout, bool(np.array_equal(counts[0], counts[1])))


def _position(inputs: IntArray, common: IntArray) -> IntArray:
    """Find each input in the sorted `common`, -1 where it is not in there."""
    position = np.minimum(np.searchsorted(common, inputs), len(common) - 1)
    return np.where(common[position] == inputs, position, -1)


def _sessions(matching: Matching, base: IntArray, candidate: IntArray, n: int) -> IntArray:
    """Group the pairs that share a session on either side, directly or through other pairs."""
    pair_of = np.concatenate([base, candidate])
    session_of = np.concatenate([matching.base_sessions, matching.candidate_sessions])
    linked = (pair_of >= 0) & (session_of >= 0)
    nodes = n + int(session_of.max(initial=-1)) + 1
    links = coo_array((np.ones(linked.sum(), np.int8), (pair_of[linked], n + session_of[linked])), shape=(nodes, nodes))
    return dense(connected_components(links, directed=False)[1][:n])


def _means(values: FloatArray, pair_of: IntArray, n: int) -> FloatArray:
    paired = pair_of >= 0
    sums = np.bincount(pair_of[paired], weights=values[paired], minlength=n)
    return sums / np.bincount(pair_of[paired], minlength=n)
