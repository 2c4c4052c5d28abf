"""When calls come and from whom: sessions as a non-homogeneous Poisson process, in blocks of time.

Times are those of a call's *end*, since that is what `ModelCall.time` says: a Poisson process stays one when its points
are displaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..units import DAY_MS, HOUR_MS, MINUTE_MS
from .apps import App, Rhythm

#: intensity and slow variation are constant, respectively linear, within one step
STEP_MS = 10 * MINUTE_MS
#: 1970-01-01 was a Thursday
FIRST_WEEKDAY = 3
#: expected calls of a block, held once a scope: with texts and columns about 3 KB a call, 3 MB a scope
BLOCK_CALLS = 1024
#: longest block: a week, so that a quiet scope does not hold months
MAX_BLOCK_STEPS = 7 * DAY_MS // STEP_MS
#: sd of the log of the pause between two calls of a session, and its longest value
PAUSE_SD = 0.8
MAX_PAUSE_MS = HOUR_MS
#: calls of a session at most
MAX_SESSION_CALLS = 64


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Calls in order of time; every array has one value a call."""

    time_ms: IntArray
    #: number of the session within the scope, and of the call within the session, from 0
    session: IntArray
    turn: IntArray
    tenant: IntArray
    user: IntArray
    #: standard normal, common to the calls of a session
    session_z: FloatArray

    @property
    def n(self) -> int:
        """Number of calls."""
        return self.time_ms.size

    def take(self, index: IntArray | BoolArray) -> "Arrivals":
        """Select the calls at `index`."""
        return Arrivals(*(getattr(self, field.name)[index] for field in fields(self)))

    def join(self, other: "Arrivals") -> "Arrivals":
        """Put `other` behind these calls."""
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Arrivals(*(np.concatenate(pair) for pair in pairs))


def intensity(rhythm: Rhythm, time_ms: IntArray) -> FloatArray:
    """Relative intensity at each time (epoch ms), mean 1 over a week."""
    hour = (time_ms % DAY_MS) / HOUR_MS - 0.5
    hours = np.asarray(rhythm.hours)
    weekdays = np.asarray(rhythm.weekdays)
    level = np.interp(hour, np.arange(-1, hours.size + 1), np.concatenate([hours[-1:], hours, hours[:1]]))
    weekday = (time_ms // DAY_MS + FIRST_WEEKDAY) % weekdays.size
    return np.asarray(level * weekdays[weekday] / (hours.mean() * weekdays.mean()))


def expected_time(app: App, start_ms: int, duration_ms: int, share: float) -> int:
    """When `share` (0..1) of the calls expected in the period have come, epoch ms, on the grid of steps."""
    steps = np.arange(start_ms, start_ms + duration_ms, STEP_MS)
    done = np.cumsum(intensity(app.rhythm, steps + STEP_MS // 2))
    return int(steps[np.searchsorted(done, share * done[-1])])


def shares_of(weights: dict[str, float]) -> FloatArray:
    """Cumulative shares, the last exactly 1: an index is `np.searchsorted(shares, uniform, side="right")`."""
    done = np.cumsum(np.fromiter(weights.values(), float, len(weights)))
    done /= done[-1]
    done[-1] = 1.0
    return np.asarray(done)


def block_steps(app: App) -> int:
    """Count the steps of a block: about BLOCK_CALLS calls, at least one step and at most a week."""
    return int(np.clip(BLOCK_CALLS / (app.calls_a_day * STEP_MS / DAY_MS), 1, MAX_BLOCK_STEPS))


def arrivals(
    app: App, rng: np.random.Generator, start_ms: int, duration_ms: int
) -> Iterator[tuple[int, int, Arrivals]]:
    """(start, end, calls) of every block: `block_steps(app)` steps of the period, the last one what is left."""
    tenants = shares_of(app.tenants or {"": 1.0})
    users = shares_of({str(k): 1 / k for k in range(1, app.users + 1)})
    rate = app.calls_a_day * STEP_MS / DAY_MS / app.session_calls
    end_ms = start_ms + duration_ms
    span_ms = block_steps(app) * STEP_MS
    waiting: Arrivals | None = None
    sessions = 0
    for block_ms in range(start_ms, end_ms, span_ms):
        until_ms = min(block_ms + span_ms, end_ms)
        steps = np.arange(block_ms, until_ms, STEP_MS)
        counts = rng.poisson(rate * intensity(app.rhythm, steps + STEP_MS // 2))
        starts = np.repeat(steps, counts) + (rng.random(counts.sum()) * STEP_MS).astype(np.int64)
        calls = _sessions(app, rng, np.sort(starts), sessions, tenants, users)
        sessions += starts.size
        if waiting is not None:
            calls = waiting.join(calls)
        calls = calls.take(np.lexsort((calls.turn, calls.session, calls.time_ms)))
        inside = calls.time_ms < until_ms
        waiting = calls.take(~inside)
        yield block_ms, until_ms, calls.take(inside)


def _sessions(
    app: App, rng: np.random.Generator, starts: IntArray, first: int, tenants: FloatArray, users: FloatArray
) -> Arrivals:
    """Draw the calls of sessions that begin at `starts` (epoch ms), not in order of time."""
    n = starts.size
    lengths = np.minimum(rng.geometric(1 / app.session_calls, n), MAX_SESSION_CALLS)
    tenant = np.searchsorted(tenants, rng.random(n), side="right")
    user = np.searchsorted(users, rng.random(n), side="right")
    session_z = rng.standard_normal(n)
    of = np.repeat(np.arange(n), lengths)
    turn = np.arange(of.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    pauses = app.session_pause_s * 1000 * np.exp(PAUSE_SD * rng.standard_normal(of.size))
    waited = np.cumsum(np.where(turn == 0, 0, np.minimum(pauses, MAX_PAUSE_MS)))
    waited -= waited[np.cumsum(lengths) - lengths][of]
    return Arrivals(starts[of] + waited.astype(np.int64), of + first, turn, tenant[of], user[of], session_z[of])


class SlowVariation:
    """Slowly varying levels of mean 0 and sd 1, one a signal.

    The sum of Ornstein-Uhlenbeck processes of equal variance with time constants of one hour to three days looks like
    long memory over the days that a scenario lasts.
    """

    #: time constants in steps
    CONSTANTS = np.array([HOUR_MS, 8 * HOUR_MS, 3 * DAY_MS]) / STEP_MS

    def __init__(self, rng: np.random.Generator, signals: int) -> None:
        self._rng = rng
        self._keep = np.exp(-1 / self.CONSTANTS)[:, None]
        self._noise = np.sqrt((1 - self._keep**2) / self.CONSTANTS.size)
        self._levels = rng.standard_normal((self.CONSTANTS.size, signals)) / np.sqrt(self.CONSTANTS.size)

    def at(self, position: FloatArray, steps: int) -> FloatArray:
        """Levels at `position`, in steps since the end of the call before, 0..steps; shape (signals, positions)."""
        noise = self._rng.standard_normal((steps, *self._levels.shape)) * self._noise
        grid = np.empty((steps + 1, self._levels.shape[1]))
        grid[0] = self._levels.sum(0)
        for step in range(steps):
            self._levels = self._keep * self._levels + noise[step]
            grid[step + 1] = self._levels.sum(0)
        return np.stack([np.interp(position, np.arange(steps + 1), grid[:, k]) for k in range(grid.shape[1])])
