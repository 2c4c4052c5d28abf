"""What is kept of the newest calls of all scopes: a ring of rows, a ring of the hashes of their ids, the newest ids."""

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.jit import Arena
from leeboard.pipelines.arrays import enlarged

from .layout import CHUNK, ID_CHUNK, RING_ROW
from .scope import RecentId, Scope

#: chunks of the ring of recent ids: 4,096 hashes
ID_CHUNKS = 8
#: ids of recent calls kept as they are, for examples
RECENT_IDS = 64
#: calls of a scope that can be compared with the ring of ids before they are written to it
MAX_AHEAD = ID_CHUNKS * ID_CHUNK
#: calls before a change that shares of labels are taken from
BEFORE_CALLS = 1000


class History:
    """The rings of all scopes, by scope slot. `scopes`: arena of SCOPE, which says how many calls each has had."""

    def __init__(self, scopes: Rows, ring_calls: int) -> None:
        self._scopes = scopes
        self.ring = Rows(RING_ROW, (CHUNK,))
        self.ids = Rows(np.dtype(np.uint64), (ID_CHUNK,))
        self.ring_size = ring_calls
        self.ring_chunks = np.full((len(scopes.array), ring_calls // CHUNK), -1, np.int32)
        self.id_chunks = np.full((len(scopes.array), ID_CHUNKS), -1, np.int32)
        self._recent: dict[int, deque[RecentId]] = {}

    def resize(self, scopes: int) -> None:
        """Room for more scopes."""
        self.ring_chunks = enlarged(self.ring_chunks, scopes, -1)
        self.id_chunks = enlarged(self.id_chunks, scopes, -1)

    def drop_scope(self, slot: int) -> None:
        """Free the rings of a scope."""
        for chunks, rows, _ in self._rings():
            for chunk in chunks[slot]:
                if chunk >= 0:
                    rows.free(int(chunk))
            chunks[slot] = -1
        self._recent.pop(slot, None)

    def reserve(self, slot: int, calls: int) -> None:
        """Make sure that the rings of a scope have room for `calls` calls in all."""
        for chunks, rows, size in self._rings():
            for k in range(min(chunks.shape[1], (calls + size - 1) // size)):
                if chunks[slot, k] < 0:
                    chunks[slot, k] = rows.allocate()

    def _rings(self) -> list[tuple[npt.NDArray[np.int32], Rows, int]]:
        return [(self.ring_chunks, self.ring, CHUNK), (self.id_chunks, self.ids, ID_CHUNK)]

    def recent(self, slot: int) -> Sequence[RecentId]:
        """The newest calls that can be named, oldest first."""
        return self._recent.get(slot, ())

    def add_recent(self, slot: int, ids: Iterable[RecentId]) -> None:
        """These calls of a scope are the newest ones."""
        self._recent.setdefault(slot, deque(maxlen=RECENT_IDS)).extend(ids)

    def repeats(self, slot: int, hashes: Sequence[int]) -> list[bool]:
        """Which of the next calls of a scope (MAX_AHEAD at most) repeat a recent id, as the kernel will find."""
        assert len(hashes) <= MAX_AHEAD
        calls = int(self._scopes.array[slot]["calls"])
        size = ID_CHUNKS * ID_CHUNK
        kept = self.ids.array[self.id_chunks[slot][self.id_chunks[slot] >= 0]].ravel()[: min(calls, size)]
        places = np.flatnonzero(np.isin(kept, np.array(hashes, np.uint64))).tolist()
        at = {int(kept[place]): place for place in places}
        new: set[int] = set()
        found = []
        for event in hashes:
            # as many of the oldest are overwritten by then as calls were new
            known = event in new or (event in at and (at[event] - calls) % size >= len(new))
            found.append(known)
            if not known:
                new.add(event)
        return found

    def read(self, slot: int, first: int, last: int) -> Arena:
        """Rows of the calls number `first` to `last` (1 is the scope's first) that are kept, oldest first."""
        calls = int(self._scopes.array[slot]["calls"])
        first = max(first, calls - self.ring_size + 1, 1)
        at = (np.arange(first, min(last, calls) + 1) - 1) % self.ring_size
        chunks = self.ring_chunks[slot][at // CHUNK]
        rows: Arena = self.ring.array[chunks, at % CHUNK]
        return rows

    def read_all(self, slot: int) -> Arena:
        """Rows of all calls that are kept, oldest first."""
        return self.read(slot, 1, int(self._scopes.array[slot]["calls"]))

    def read_since(self, slot: int, first: int) -> Arena:
        """Rows of the calls from number `first` on."""
        return self.read(slot, first, int(self._scopes.array[slot]["calls"]))

    def oldest(self, slot: int) -> int:
        """Number of the oldest call that the ring holds."""
        return max(int(self._scopes.array[slot]["calls"]) - self.ring_size + 1, 1)

    def time_of(self, slot: int, call: int) -> int:
        """Scope time of a call, epoch ms to the second; that of the oldest one kept where it is older."""
        scope = self._scopes.array[slot]
        rows = self.read(slot, call, call)
        if len(rows) == 0:
            oldest = self.oldest(slot)
            rows = self.read(slot, oldest, oldest)
        return int(scope["first"]) + 1000 * int(rows["time"][0])

    def label_shares(self, scope: Scope, first: int, last: int) -> tuple[dict[str, dict[str, float]], int]:
        """Shares of every value of every label over calls `first` to `last` (as far as kept), and their number."""
        rows = self.read(scope.slot, first, last)
        numbers, counts = np.unique(rows["labels"], return_counts=True)
        by_number = scope.labels.by_number()
        shares: dict[str, dict[str, float]] = {}
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            for label, value in by_number.get(number, {}).items():
                values = shares.setdefault(label, {})
                values[value] = values.get(value, 0.0) + count / len(rows)
        return shares, len(rows)
