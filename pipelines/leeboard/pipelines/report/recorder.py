"""What a report draws from: the numbers of every call of a replay, without its names and texts, in few bytes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from leeboard.pipelines.signals import CATEGORICAL, MAX_SCORES
from leeboard.pipelines.watch.state.labels import identities
from leeboard.schemas import NUMBERS, Observation

#: 102 bytes a call
ROW = np.dtype(
    [
        ("time", "<i8"),
        ("numbers", "<f4", (len(NUMBERS),)),
        ("flags", "<u4"),
        ("measured", "<u4"),
        ("codes", "u1", (len(CATEGORICAL),)),
        ("scores", "<f4", (MAX_SCORES,)),
    ]
)
#: calls kept over all scopes: 2 million x 102 bytes = 204 MB, at most half as much again while arrays grow; beyond it
#: the scope with the most keeps every second of its calls, old and new
MAX_CALLS = 2_000_000
#: scopes kept: 20,000 x about 5 KB (dictionaries and the smallest array) = 100 MB; calls of later ones are only counted
MAX_SCOPES = 20_000
#: values of one categorical signal of one scope that are kept distinct
MAX_VALUES = 64
#: values kept over all scopes: 200,000 x at most 250 bytes = 50 MB
MAX_NAMES = 200_000
#: codes of "not measured" and of values beyond those that are kept distinct
ABSENT, OTHER = 0, 255
SMALLEST = 16

CallRows = npt.NDArray[np.void]
_NAMES = [signal.name for signal in CATEGORICAL]
_TOOLS = next(column for column, signal in enumerate(CATEGORICAL) if signal.source == "tools")
_LABELS = [(column, name) for column, name in enumerate(_NAMES) if column != _TOOLS]
_BLANK = np.array([(0, np.nan, 0, 0, ABSENT, np.nan)], ROW)


class Track:
    """The calls of one scope, in the order in which they came."""

    def __init__(self) -> None:
        self._rows: CallRows = np.repeat(_BLANK, SMALLEST)
        self.kept = 0
        self.seen = 0
        #: every so many calls one is kept
        self.stride = 1
        #: column of CATEGORICAL -> value -> its code
        self.values: list[dict[str, int]] = [{} for _ in CATEGORICAL]
        #: score name -> column of `scores`
        self.scores: dict[str, int] = {}

    @property
    def rows(self) -> CallRows:
        """The kept calls, of type ROW."""
        return self._rows[: self.kept]

    def add(self, calls: Sequence[Observation], room: int) -> int:
        """Take calls; `room`: values that may still get a code. Gives how many did."""
        first = -self.seen % self.stride
        self.seen += len(calls)
        calls = calls[first :: self.stride]
        rows = np.repeat(_BLANK, len(calls))
        rows["time"] = [call.time for call in calls]
        rows["numbers"] = np.frombuffer(b"".join([c.all_numbers() for c in calls]), "<f4").reshape(len(calls), -1)
        rows["flags"] = [call.flags for call in calls]
        rows["measured"] = [call.measured for call in calls]
        before = sum(map(len, self.values))
        rows["codes"] = np.frombuffer(b"".join([self._codes(call, before + room) for call in calls]), "u1").reshape(
            len(calls), len(CATEGORICAL)
        )
        for at, call in enumerate(calls):
            if call.scores:
                self._put_scores(rows, at, call.scores)
        self._append(rows)
        return sum(map(len, self.values)) - before

    def thin(self) -> None:
        """Keep every second of the kept calls, and half as many from now on."""
        self._rows = self.rows[::2].copy()
        self.kept = len(self._rows)
        self.stride *= 2

    def _append(self, rows: CallRows) -> None:
        needed = self.kept + len(rows)
        if needed > len(self._rows):
            larger = np.repeat(_BLANK, max(needed, len(self._rows) * 3 // 2))
            larger[: self.kept] = self.rows
            self._rows = larger
        self._rows[self.kept : needed] = rows
        self.kept = needed

    def _codes(self, call: Observation, most: int) -> bytes:
        codes = bytearray(len(CATEGORICAL))
        categories = dict(identities(call))
        for column, name in _LABELS:
            value = categories.get(name)
            if value:
                codes[column] = self._code(column, value, most)
        if call.tools:
            codes[_TOOLS] = self._code(_TOOLS, "+".join(sorted(set(call.tools)))[:128], most)
        return bytes(codes)

    def _code(self, column: int, value: str, most: int) -> int:
        known = self.values[column]
        code = known.get(value)
        if code is None:
            if len(known) >= MAX_VALUES or sum(map(len, self.values)) >= most:
                return OTHER
            code = known[value] = len(known) + 1
        return code

    def _put_scores(self, rows: CallRows, at: int, scores: dict[str, float | str]) -> None:
        for name, value in scores.items():
            if isinstance(value, str) or (name not in self.scores and len(self.scores) >= MAX_SCORES):
                continue
            rows["scores"][at, self.scores.setdefault(name, len(self.scores))] = value


class Recorder:
    """Observes a replay; a report draws from what it kept.

    Memory is bounded (MAX_CALLS, MAX_SCOPES, MAX_NAMES): the same calls in the same batches always keep the same rows.
    """

    def __init__(self) -> None:
        #: scope key -> its calls
        self.tracks: dict[str, Track] = {}
        #: calls of scopes beyond MAX_SCOPES
        self.calls_left_out = 0
        self._kept = 0
        self._names = 0

    def observe(self, observations: list[Observation]) -> None:
        """Take the next observations of a replay."""
        by_scope: dict[str, list[Observation]] = {}
        for observation in observations:
            by_scope.setdefault(observation.scope, []).append(observation)
        for scope, calls in by_scope.items():
            track = self.tracks.get(scope)
            if track is None:
                if len(self.tracks) >= MAX_SCOPES:
                    self.calls_left_out += len(calls)
                    continue
                track = self.tracks[scope] = Track()
            before = track.kept
            self._names += track.add(calls, MAX_NAMES - self._names)
            self._kept += track.kept - before
        while self._kept > MAX_CALLS:
            largest = max(self.tracks.values(), key=lambda track: track.kept)
            before = largest.kept
            largest.thin()
            self._kept += largest.kept - before

    def thinned(self) -> dict[str, int]:
        """Scopes of which not every call was kept: every so many calls one was."""
        return {scope: track.stride for scope, track in sorted(self.tracks.items()) if track.stride > 1}
