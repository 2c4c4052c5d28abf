"""The size of a change: before, after, and the effect with its interval; and the evidence that is made of it."""

import math
from numbers import Real
from typing import NamedTuple

import numpy as np
from leeboard.detectors.core.evidence import Direction, Evidence, Guarantee

from .changetime import ChangeTime

#: two-sided 95 % normal quantile
Z95 = 1.959963984540054


class Effect(NamedTuple):
    """Before and after in the unit of the values; the effect as `Evidence` has it."""

    before: float
    after: float
    effect: float
    low: float
    high: float
    direction: Direction
    n_before: int
    n_after: int


def finite(value: object) -> float | None:
    """The value as a finite number, or None where it is anything else."""
    if not isinstance(value, (Real, np.bool_)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an int beyond the floats
        return None
    return number if math.isfinite(number) else None


def make_evidence(nats: float, effect: Effect, change: ChangeTime, guarantee: Guarantee, name: str) -> Evidence:
    """Evidence of a change that has just been opened at a level of exp(nats)."""
    return Evidence(
        math.exp(nats),
        effect.direction,
        effect.before,
        effect.after,
        effect.effect,
        (effect.low, effect.high),
        effect.n_before,
        effect.n_after,
        change,
        guarantee,
        name,
    )
