"""`summary/1`: what a scope looked like over the last few minutes of its own time."""

from typing import Literal

from msgspec import Struct, field


class SignalSummary(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One signal of the scope."""

    name: str
    channel: str
    status: Literal["learning", "watching", "open"]
    #: values that the baseline holds
    n: int
    #: base-10 log of the level now, in calls of the scope
    log10_level: float
    #: over at most the last 128 values
    median: float | None = None
    p90: float | None = None
    p99: float | None = None
    #: share of yes, or of every category
    share: float | None = None
    shares: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    #: smallest lasting change that the signal can show at the notice level, in the unit of its effect
    visible: float | None = None


class Summary(Struct, tag_field="schema", tag="summary/1", kw_only=True, omit_defaults=True, frozen=True):
    """The state of a scope. Times are epoch milliseconds of event time."""

    scope: str
    time: int
    #: calls since the state began
    sequence: int
    #: calls since the last summary
    calls: int
    young: bool = False
    incident: str | None = None
    degraded: bool = False
    signals: list[SignalSummary] = field(default_factory=list)
    #: counted since the state began: late, duplicate_id, not_finite, scores that found no call ...
    counts: dict[str, int] = field(default_factory=dict)
    #: identity values seen for the first time since the last summary: label -> values
    first_seen: dict[str, list[str]] = field(default_factory=dict)
