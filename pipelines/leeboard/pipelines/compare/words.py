"""A comparison said to a person."""

from collections.abc import Sequence

import numpy as np

from ..signals import GIVEN_TOKENS
from .result import FAMILY_ERROR, ComparedVerdict, SignalComparison

_HEADINGS: dict[ComparedVerdict, str] = {
    "worse": "Worse",
    "better": "Better",
    "changed": "Changed",
    "too_few_calls": "Too few calls for",
}
#: shares of categories that a sentence names
_NAMED = 3
#: significant digits of every number
_DIGITS = 3


def comparison_sentence(c: SignalComparison) -> str:
    """Say one signal in one sentence; `c.sentence` is not read."""
    if c.effect is None:
        return _unmeasured(c)
    interval = f"({_interval(c)}{f', {c.pairs:,} pairs' if c.paired else ''})"
    if c.verdict == "too_few_calls":
        return f"{c.name}: too few calls {interval}{_needed(c)}.{_moves(c)}"
    if c.p_value is None or c.p_adjusted is None:
        return f"{c.name} is the same {'in every pair' if c.paired else 'on every call'}{_visible(c)}.{_moves(c)}"
    if c.p_adjusted > FAMILY_ERROR:
        return f"{c.name}: no difference shown {interval}{_visible(c)}."
    end = f"real, but below the floor of {_size(c, c.floor)}" if c.verdict == "no_difference_shown" else c.verdict
    return f"{_change(c, c.effect)} {interval}{_levels(c)}: {end}.{_moves(c)}"


def summary(signals: Sequence[SignalComparison]) -> str:
    """Say what stands out among all signals, the worst first."""
    parts = []
    for verdict, heading in _HEADINGS.items():
        names = [c.name for c in signals if c.verdict == verdict]
        if names:
            parts.append(f"{heading}: {', '.join(names)}.")
    return " ".join(parts) or "No difference shown in any signal."


def _unmeasured(c: SignalComparison) -> str:
    if c.name in GIVEN_TOKENS and not (c.n_base and c.n_candidate):
        return f"{c.name}: no calls of like size on both sides."
    silent = [name for name, n in (("base", c.n_base), ("candidate", c.n_candidate)) if n == 0]
    if silent:
        return f"{c.name} was measured on no call of the {' and the '.join(silent)}."
    return f"{c.name}: {c.n_base:,} and {c.n_candidate:,} calls, or their sessions, are too few for any estimate."


def _needed(c: SignalComparison) -> str:
    if c.calls_needed is None:
        return ""
    base, candidate = c.calls_needed
    calls = f"{base:,} calls a side" if base == candidate else f"{base:,} and {candidate:,} calls"
    return f"; to show {_size(c, c.floor)}, about {calls} are needed"


def _visible(c: SignalComparison) -> str:
    return f"; {_size(c, c.detectable)} or more would have been seen" if c.detectable else ""


def _change(c: SignalComparison, effect: float) -> str:
    if c.effect_kind == "distance":
        return f"{c.name}: {_size(c, effect)} of the calls moved to another category"
    return f"{c.name} is {_size(c, abs(effect))} {'higher' if effect > 0.0 else 'lower'}"


def _levels(c: SignalComparison) -> str:
    if c.before is None or c.after is None:
        return ""
    return f", {_amount(c.before, c.unit)} -> {_amount(c.after, c.unit)}"


def _moves(c: SignalComparison) -> str:
    moved = [f"{k.value} {_amount(k.before, 'share')} -> {_amount(k.after, 'share')}" for k in c.categories[:_NAMED]]
    return f" {'; '.join(moved)}." if moved else ""


def _interval(c: SignalComparison) -> str:
    ends = [
        "unbounded" if end is None else _size(c, end, sign="" if c.effect_kind == "distance" else "+")
        for end in (c.low, c.high)
    ]
    return f"{ends[0]} to {ends[1]}"


def _size(c: SignalComparison, effect: float, sign: str = "") -> str:
    """Write an effect with its unit: `12 %`, `1.5 points`, `0.3`; `sign`: "+" puts one before what is not negative."""
    lead = sign if effect >= 0.0 else ""
    if c.effect_kind != "difference":
        return f"{lead}{_digits(100.0 * effect)} %"
    if c.unit != "share":
        return f"{lead}{_digits(effect)} {c.unit}".rstrip()
    points = _digits(100.0 * effect)
    return f"{lead}{points} point{'' if points == '1' else 's'}"


def _amount(value: float, unit: str) -> str:
    return f"{_digits(100.0 * value)} %" if unit == "share" else f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    if abs(value) >= 10**_DIGITS:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=_DIGITS, fractional=False, trim="-")
