"""One scope's calls in order of time, a block at a time."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from leeboard.schemas import ModelCall

from .apps import App
from .causes import AnyCause
from .columns import Habits, columns
from .effects import Effects
from .measures import VARYING_LEVELS, bursts, compose, draw, stored_questions
from .traffic import STEP_MS, Arrivals, SlowVariation, arrivals


def scope_seed(seed: int, scope: str) -> np.random.SeedSequence:
    """Every scope has randomness of its own: adding an application to a fleet changes no other."""
    digest = hashlib.blake2b(scope.encode(), digest_size=8).digest()
    return np.random.SeedSequence([seed, int.from_bytes(digest, "little")])


def id_prefix(app: App, seed: int) -> str:
    """Give what the ids of the scope's calls begin with: 12 hexadecimal digits."""
    return hashlib.blake2b(f"{seed}/{app.scope}".encode(), digest_size=6).hexdigest()


def call_id(prefix: str, number: int) -> str:
    """Id of the scope's call `number`, counted from 0."""
    return f"{prefix}-{number:07d}"


def scope_arrivals(app: App, seed: int, start_ms: int, duration_ms: int) -> Iterator[tuple[int, int, Arrivals]]:
    """When the calls of `scope_calls` come, without the calls: their generator is not shared with anything else."""
    rng = np.random.default_rng(scope_seed(seed, app.scope).spawn(1)[0])
    return arrivals(app, rng, start_ms, duration_ms)


def scope_calls(
    app: App, causes: Iterable[AnyCause], seed: int, start_ms: int, duration_ms: int, *, text: bool
) -> Iterator[ModelCall]:
    """Yield the calls of one application that end in the period (epoch ms), in order of time."""
    _, *seeds = scope_seed(seed, app.scope).spawn(4)
    rng, slow_rng, stored_rng = (np.random.default_rng(one) for one in seeds)
    slow = SlowVariation(slow_rng, VARYING_LEVELS)
    stored = stored_questions(stored_rng)
    timeline = _Timeline(causes)
    prefix = id_prefix(app, seed)
    habits = Habits(app, prefix, text=text)
    count = burst_left = 0
    for block_ms, until_ms, block in scope_arrivals(app, seed, start_ms, duration_ms):
        steps = -((block_ms - until_ms) // STEP_MS)
        levels = slow.at((block.time_ms - block_ms) / STEP_MS, steps)
        draws = draw(app, rng, stored, block.n)
        in_burst, burst_left = bursts(app, draws, burst_left)
        effects = timeline.effects(app, block, count)
        measures = compose(app, draws, block, levels, effects, in_burst)
        fields = columns(habits, block, draws, measures, effects)
        fields["id"] = [call_id(prefix, number) for number in range(count, count + block.n)]
        names = list(fields)
        for row in zip(*fields.values(), strict=True):
            yield ModelCall(**habits.constants, **dict(zip(names, row, strict=True)))
        count += block.n


class _Timeline:
    """The causes of a scope, and which call was the first after each start."""

    def __init__(self, causes: Iterable[AnyCause]) -> None:
        self._causes = list(causes)
        self._first: dict[int, int] = {}

    def effects(self, app: App, block: Arrivals, count: int) -> Effects:
        """Apply the causes to a block that begins with call number `count`."""
        effects = Effects.none(app, block.time_ms, block.tenant)
        numbers = count + np.arange(block.n)
        for index, cause in enumerate(self._causes):
            active = cause.active(block.time_ms)
            if active.any():
                first = self._first.setdefault(index, int(numbers[active.argmax()]))
                cause.apply(effects, active, numbers - first)
        return effects
