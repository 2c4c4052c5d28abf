"""A fleet, what happens to it, and its calls."""

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

import numpy as np
from leeboard.schemas import ModelCall
from msgspec import Struct

from ..arrays import IntArray
from ..signals import BY_NAME
from ..units import DAY_MS
from .apps import MAX_APPS, App
from .causes import AnyCause, Injected
from .stream import call_id, id_prefix, scope_arrivals, scope_calls

#: Monday, 2026-01-05 00:00 UTC
START_MS = 1_767_571_200_000
MAX_DAYS = 366


class Scenario(Struct, frozen=True, kw_only=True):
    """Everything that `simulate` needs: the same scenario gives the same calls. Serialises to JSON and back."""

    seed: int
    start_ms: int = START_MS
    duration_ms: int
    apps: tuple[App, ...]
    causes: tuple[AnyCause, ...] = ()
    #: are input and output texts written?
    text: bool = True

    def __post_init__(self) -> None:
        if self.seed < 0 or not 0 < self.duration_ms <= MAX_DAYS * DAY_MS or not 0 < len(self.apps) <= MAX_APPS:
            raise ValueError(f"seed >= 0, at most {MAX_DAYS} days, 1 to {MAX_APPS} applications")
        apps = {app.scope: app for app in self.apps}
        if len(apps) < len(self.apps):
            raise ValueError("two applications share a scope")
        for cause in self.causes:
            if cause.scope not in apps:
                raise ValueError(f"{cause.name}: no application has the scope {cause.scope!r}")
            if not self.start_ms <= cause.start_ms < self.end_ms:
                raise ValueError(f"{cause.name}: starts outside the scenario")
            cause.check(apps[cause.scope])

    @property
    def end_ms(self) -> int:
        """End of the period, epoch ms."""
        return self.start_ms + self.duration_ms

    def causes_of(self, scope: str) -> list[AnyCause]:
        """Select what happens to one scope, in order of start."""
        return sorted((cause for cause in self.causes if cause.scope == scope), key=attrgetter("start_ms"))


def simulate(scenario: Scenario) -> Iterator[ModelCall]:
    """Yield the calls of all scopes in order of time; holds one block of calls (traffic.BLOCK_CALLS) a scope."""
    streams = [
        scope_calls(
            app,
            scenario.causes_of(app.scope),
            scenario.seed,
            scenario.start_ms,
            scenario.duration_ms,
            text=scenario.text,
        )
        for app in scenario.apps
    ]
    return merge(*streams, key=attrgetter("time"))


def truth(scenario: Scenario) -> list[Injected]:
    """List what really happened, in order of start. Draws the arrivals again, millions of calls a second, no calls."""
    injected = []
    for app in scenario.apps:
        if causes := scenario.causes_of(app.scope):
            times = _times(scenario, app)
            injected += [_injected(scenario, app, cause, times) for cause in causes]
    return sorted(injected, key=attrgetter("start_ms"))


def _times(scenario: Scenario, app: App) -> IntArray:
    blocks = scope_arrivals(app, scenario.seed, scenario.start_ms, scenario.duration_ms)
    return np.concatenate([block.time_ms for _, _, block in blocks])


def _injected(scenario: Scenario, app: App, cause: AnyCause, times: IntArray) -> Injected:
    before = int(np.searchsorted(times, cause.start_ms))
    end_ms = cause.end_ms
    if cause.lasts_calls is not None and before + cause.lasts_calls <= times.size:
        end_ms = int(times[before + cause.lasts_calls - 1]) + 1
    return Injected(
        cause=cause.name,
        scope=cause.scope,
        start_ms=cause.start_ms,
        end_ms=end_ms,
        complete_ms=cause.complete_ms,
        moves=cause.moves,
        follow=cause.follow,
        channels=tuple(dict.fromkeys(BY_NAME[signal].channel for signal in cause.moves)),
        answers=cause.answers,
        first_call=call_id(id_prefix(app, scenario.seed), before) if before < times.size else None,
        calls_before=before,
        calls_after=times.size - before,
        note=cause.note(),
    )
