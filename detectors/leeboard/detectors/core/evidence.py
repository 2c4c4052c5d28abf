"""What a detector delivers when it fires."""

from dataclasses import dataclass
from typing import Literal

from leeboard.schemas.alert import Guarantee as Guarantee

from .changetime import ChangeTime

Direction = Literal["up", "down", "spread"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a detector fired.

    `level` is the largest A, in events of the stream, at which it would fire now: while nothing changes, such a level
    is first reached at most once in A events on average. It is `exact` under exchangeability up to the first firing,
    `approximate` where the stream's own course is predicted, `empirical` after a firing or on wandering traffic.
    `effect` is a relative change for logarithmic values (0.2 = 20 % more), else a difference; `before` and `after` are
    in the unit of the values.
    """

    level: float
    direction: Direction
    before: float
    after: float
    effect: float
    effect_interval: tuple[float, float]
    n_before: int
    n_after: int
    change: ChangeTime
    guarantee: Guarantee
    detector: str
