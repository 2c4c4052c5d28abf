"""What a comparison is asked and what it answers."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..signals import BY_NAME, SCORE

#: the probability that any signal is said to differ where none does
FAMILY_ERROR = 0.05

ComparedVerdict = Literal["better", "worse", "changed", "no_difference_shown", "too_few_calls"]
#: how an effect reads: `ratio` 0.2 = 20 % more; `difference` in the signal's unit (of shares: 0.01 = 1 point);
#: `distance` the share of calls that would have to move to another category (total variation)
EffectKind = Literal["ratio", "difference", "distance"]
Relative = Annotated[float, Meta(gt=0, le=100)]
Points = Annotated[float, Meta(gt=0, lt=1)]


class Floors(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The smallest effects that matter, as in the catalogue of signals; below them a difference is real but small."""

    #: relative: 0.2 = 20 %; a fall counts from 1 / 1.2 on, so that swapping the sides swaps better and worse
    latency: Relative = BY_NAME["latency_ms"].floor
    ttft: Relative = BY_NAME["ttft_ms"].floor
    cost: Relative = BY_NAME["cost_usd"].floor
    #: and the number of tool calls
    tokens: Relative = BY_NAME["output_tokens"].floor
    #: differences of shares: error, truncated, empty, refusal, valid JSON, and the least for any other yes/no score
    error: Points = BY_NAME["error"].floor
    #: categories: total variation distance; the error type has the floor of errors. Also the share of repetition
    share: Points = BY_NAME["finish_reason"].floor
    #: difference of the mean share of cached input
    cached_share: Points = BY_NAME["cached_share"].floor
    #: difference of the mean cosine of input and output; its floor in the catalogue is in sd of a scope
    relevance: Points = 0.05
    #: standard deviations of the values within a side
    score_sd: Relative = SCORE.floor


class CompareSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What the user may decide about a comparison."""

    floors: Floors = Floors()
    #: fewest inputs known on both sides for a signal to be compared in pairs
    min_pairs: Annotated[int, Meta(ge=2)] = 20
    #: names of scores where less is better, whole or the part after the last dot
    lower_is_better: tuple[str, ...] = ("refusal", "repetition")


class CategoryShift(Struct, kw_only=True, frozen=True):
    """A category and its share of the calls on both sides."""

    value: str
    before: float
    after: float


class SignalComparison(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One signal on both sides. None stands for "could not be computed"."""

    name: str
    channel: str
    #: of `before` and `after`
    unit: str
    verdict: ComparedVerdict
    sentence: str
    #: calls on which the signal was measured; at equal tokens, those of a size that both sides know
    n_base: int
    n_candidate: int
    #: geometric means of ratios, means of differences, shares; over the pairs where paired. For the `_given_tokens`
    #: signals `after` is what the candidate would take for the base's calls
    before: float | None = None
    after: float | None = None
    effect_kind: EffectKind
    effect: float | None = None
    #: ends of the interval, at `confidence`; see `judge.holm` for what holds for all signals together
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    p_value: float | None = None
    #: after Holm's procedure over all signals that vary
    p_adjusted: float | None = None
    paired: bool = False
    pairs: int = 0
    floor: float
    #: the smallest effect that these calls could have shown
    detectable: float | None = None
    #: calls of base and candidate that could show an effect of the floor; only with `too_few_calls`
    calls_needed: tuple[int, int] | None = None
    #: of a categorical signal: those that moved most, first
    categories: list[CategoryShift] = []


class Comparison(Struct, kw_only=True, frozen=True):
    """The answer."""

    verdict: ComparedVerdict
    #: 0 nothing is worse, 1 something is, 3 nothing with a better direction could be measured
    exit_code: Literal[0, 1, 3]
    sentence: str
    #: calls given
    n_base: int
    n_candidate: int
    signals: list[SignalComparison]
