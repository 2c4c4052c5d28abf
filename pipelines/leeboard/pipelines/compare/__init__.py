"""Two sets of calls, one verdict a signal: what `leeboard compare` does."""

from collections.abc import Sequence

from leeboard.schemas import Observation

from . import words
from .columns import side
from .judge import judge_signals, overall
from .measure import measure
from .pairs import match
from .result import CategoryShift, ComparedVerdict, CompareSettings, Comparison, EffectKind, Floors, SignalComparison
from .signals import signals

__all__ = [
    "CategoryShift",
    "CompareSettings",
    "ComparedVerdict",
    "Comparison",
    "EffectKind",
    "Floors",
    "SignalComparison",
    "compare",
]


def compare(
    base: Sequence[Observation], candidate: Sequence[Observation], settings: CompareSettings | None = None
) -> Comparison:
    """How `candidate` differs from `base`, signal by signal; the order within a side does not matter.

    Any calls give a result; what cannot be measured says so. Calls are taken as they come: differences of traffic, time
    of day or sampling between the sides are part of the effect, except where inputs recur on both sides (pairs) and in
    the signals at equal tokens.
    """
    settings = settings or CompareSettings()
    first, second = side(base), side(candidate)
    matching = match(first, second)
    found = signals(first, second, settings)
    compared = judge_signals([measure(signal, first, second, matching, settings.min_pairs) for signal in found])
    verdict, exit_code = overall(compared, found)
    return Comparison(
        verdict=verdict,
        exit_code=exit_code,
        sentence=words.summary(compared),
        n_base=len(first.calls),
        n_candidate=len(second.calls),
        signals=compared,
    )
