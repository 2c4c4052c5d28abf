"""The settings of engine and gate: every key has a default, and all of it is in the fingerprint of an alert."""

import hashlib
from typing import Annotated

import msgspec
from leeboard.pipelines.units import Positive
from msgspec import Meta, Struct, field

Weight = Annotated[float, Meta(ge=0, le=1)]


class ScopeSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[scope]`: what a scope is."""

    #: watch every tenant by itself; otherwise the tenant is a label
    tenant: bool = False


class BudgetSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[budget]`: the one number that a team sets, and the traffic it is meant for."""

    #: false pages a week, whole fleet
    pages_per_week: Positive = 1.0
    #: calls a week, whole fleet; with pages_per_week it gives the page level
    calls_per_week: Positive = 1e6
    #: false notices a week and scope
    notices_per_week: Positive = 2.0


class ChannelSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[channels]`: how the evidence budget of a scope is shared; the weights are divided by their sum."""

    input: Weight = 0.1
    output: Weight = 0.25
    latency: Weight = 0.15
    cost: Weight = 0.15
    error: Weight = 0.15
    quality: Weight = 0.1
    identity: Weight = 0.05
    coverage: Weight = 0.05


class SignalSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[signals.<name>]`: one signal; what is left out keeps its default."""

    enabled: bool = True
    #: part of the channel's weight, relative to the other signals of the channel
    weight: Positive = 1.0
    #: smallest effect that may page (relative change, or difference of shares or values)
    floor: Annotated[float, Meta(ge=0)] | None = None
    #: effect that pages after few calls (relative increase, or increase of a share)
    severe: Positive | None = None
    #: `river:Name(parameter=value)` replaces the detector; its alarms raise notices only
    detector: str | None = None


class WatchSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[watch]`: bounds and times of the engine."""

    #: scopes in memory; beyond it the one that was quiet longest is dropped and counted
    max_scopes: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    #: recent calls kept for a verdict, a multiple of 250
    ring_calls: Annotated[int, Meta(ge=250, le=10_000, multiple_of=250)] = 2000
    #: scope time between two summaries, minutes
    summary_minutes: Positive = 5.0
    #: an open incident whose level holds for so many days becomes normal
    accept_days: Positive = 7.0
    #: a scope without calls for so many days starts anew
    idle_days: Positive = 30.0


class EngineSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that an alert depends on besides its records."""

    scope: ScopeSettings = field(default_factory=ScopeSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    signals: dict[str, SignalSettings] = field(default_factory=dict)
    watch: WatchSettings = field(default_factory=WatchSettings)
    #: templates with {scope}, {app}, {env}, {route}, {dedup_key}: name -> URL
    links: dict[str, str] = field(default_factory=dict)
    #: the same, for one runbook
    runbook_url: str | None = None

    def fingerprint(self) -> str:
        """16 hex digits that change with any setting."""
        return hashlib.blake2b(msgspec.json.encode(self, order="deterministic"), digest_size=8).hexdigest()
