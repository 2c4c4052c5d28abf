"""What can happen to a scope, with the truth about it.

A cause turns the block of base draws into that of the changed world. It takes no randomness of its own from the
scope, so calls before its start, calls it does not touch and other scopes are the same bytes with and without it.
"""

from typing import ClassVar, NamedTuple, TypeAlias

import numpy as np
from leeboard.schemas import VerdictKind
from msgspec import Struct

from ..arrays import BoolArray, IntArray
from ..units import DAY_MS
from .apps import App, Prompt, RequestKind, ServedModel
from .effects import Effects
from .text import StyleName


def _snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")


class AffectedCalls(NamedTuple):
    """Which calls of a block a cause affects, and the number of each since its start, from 0."""

    active: BoolArray
    nth: IntArray


class Cause(Struct, frozen=True, kw_only=True, tag_field="cause", tag=_snake):
    """Something that happens to the calls of `scope` from `start_ms` until `end_ms` (None: it lasts)."""

    scope: str
    start_ms: int
    end_ms: int | None = None

    #: signals of which at least one must move, the root first, and those that may move with them
    moves: ClassVar[tuple[str, ...]] = ()
    follow: ClassVar[tuple[str, ...]] = ()
    #: right answers to "what moved", best first; empty: nothing that should be reported
    answers: ClassVar[tuple[VerdictKind, ...]] = ()
    #: what happens, {0} is the cause
    says: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The tag in JSON."""
        return str(self.__struct_config__.tag)

    @property
    def complete_ms(self) -> int:
        """When its effect is complete."""
        return self.start_ms

    @property
    def lasts_calls(self) -> int | None:
        """Number of calls after which it is over by itself."""
        return None

    def note(self) -> str:
        """Say what happens, in words and numbers."""
        return self.says.format(self)

    def active(self, time_ms: IntArray) -> BoolArray:
        """Find the calls that fall into its time."""
        return (time_ms >= self.start_ms) & (time_ms < (self.end_ms if self.end_ms is not None else np.inf))

    def check(self, app: App) -> None:
        """Raise ValueError where the cause cannot happen to `app`."""
        if reason := self._impossible(app):
            raise ValueError(f"{self.name} at {app.scope}: {reason}")

    def apply(self, effects: Effects, active: BoolArray, nth: IntArray) -> None:
        """Change `effects` where `active`; `nth` counts the calls of the scope since the start, from 0."""
        self._apply(effects, AffectedCalls(active, nth))

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        raise NotImplementedError

    def _impossible(self, app: App) -> str | None:
        """Say why it cannot happen to `app`, None where it can."""
        return None if app.scope == self.scope else "another scope"


class SilentUpdate(Cause, frozen=True, kw_only=True):
    """The provider changes what it serves under the same name: answers of another length and style."""

    length: float = 1.45
    style: StyleName = "markdown"

    moves = ("output_tokens",)
    follow = ("latency_ms", "cost_usd", "truncated", "finish_reason")
    answers = ("behaviour_changed",)
    says = "the same model name gives answers x{0.length:g} as long, in style {0.style!r}"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.output[on.active] *= self.length
        effects.restyle(on.active, self.style)


class ServedModelChanged(Cause, frozen=True, kw_only=True):
    """Another model answers: its name, speed and price differ, and how long its answers are."""

    model: ServedModel
    length: float = 0.8
    style: StyleName = "terse"

    moves = ("model_served", "latency_ms", "cost_usd", "cost_given_tokens", "latency_given_tokens")
    follow = ("output_tokens", "ttft_ms", "provider", "system_fingerprint", "truncated", "finish_reason")
    answers = ("served_model_changed",)
    says = "model_served becomes {0.model.served}, answers x{0.length:g} as long"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.model[on.active] = len(effects.models)
        effects.models.append(self.model)
        effects.output[on.active] *= self.length
        effects.restyle(on.active, self.style)


class PromptEdited(Cause, frozen=True, kw_only=True):
    """Somebody edits the system text: answers follow it."""

    prompt: Prompt
    length: float = 0.5

    moves = ("prompt_version", "system_hash", "output_tokens")
    follow = ("latency_ms", "cost_usd", "input_tokens", "truncated", "finish_reason")
    answers = ("prompt_changed",)
    says = "the system text changes to version {0.prompt.version}, answers x{0.length:g} as long"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.prompt[on.active] = len(effects.prompts)
        effects.prompts.append(self.prompt)
        effects.output[on.active] *= self.length


class TrafficMix(Cause, frozen=True, kw_only=True):
    """A new kind of request takes a share of the traffic; the old ones are answered as before."""

    kind: RequestKind
    share: float = 0.3

    moves = ("input_tokens", "output_tokens")
    follow = ("latency_ms", "ttft_ms", "cost_usd", "cached_share", "truncated", "finish_reason")
    answers = ("traffic_mix_shifted", "cannot_tell")
    says = "requests of a new kind ({0.kind.name}) take {0.share:.0%} of the calls"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.newcomer[on.active] = len(effects.newcomers)
        effects.newcomers.append(self.kind)
        effects.newcomer_share[on.active] = self.share


class Slowdown(Cause, frozen=True, kw_only=True):
    """The provider is slower, nothing else moves."""

    factor: float = 1.6

    moves = ("latency_ms", "ttft_ms", "latency_given_tokens")
    answers = ("behaviour_changed", "cannot_tell")
    says = "latency x{0.factor:g}"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.latency[on.active] *= self.factor


class ErrorBurst(Cause, frozen=True, kw_only=True):
    """An outage: `errors` of the first `calls` calls fail, then it is over."""

    errors: int = 25
    calls: int = 30

    moves = ("error",)
    follow = ("error_type",)
    answers = ("behaviour_changed", "cannot_tell")
    says = "{0.errors} of {0.calls} consecutive calls fail, then it is over"

    @property
    def lasts_calls(self) -> int:
        """Length of the burst."""
        return self.calls

    def __post_init__(self) -> None:
        if not 0 < self.errors <= self.calls or self.end_ms is not None:
            raise ValueError("error_burst: 0 < errors <= calls, and its end follows from them")

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        spared = on.nth * (self.calls - self.errors) // self.calls  # spread evenly over the burst
        spare = spared != (on.nth + 1) * (self.calls - self.errors) // self.calls
        effects.forced_error |= on.active & (on.nth < self.calls) & ~spare


class PriceRise(Cause, frozen=True, kw_only=True):
    """The same tokens cost more; only where the application reports its own cost."""

    factor: float = 2.0

    moves = ("cost_usd", "cost_given_tokens")
    answers = ("behaviour_changed", "cannot_tell")
    says = "cost x{0.factor:g} at equal tokens"

    def _impossible(self, app: App) -> str | None:
        return "cost is left to the price table" if app.usd_per_million is None else None

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.cost[on.active] *= self.factor


class OneTenant(Cause, frozen=True, kw_only=True):
    """Answers to one tenant change, those to the others do not."""

    tenant: str
    length: float = 2.2
    style: StyleName = "chatty"

    moves = ("output_tokens",)
    follow = ("latency_ms", "cost_usd", "truncated", "finish_reason")
    answers = ("segment", "cannot_tell")
    says = "answers to tenant {0.tenant} become x{0.length:g} as long"

    def _impossible(self, app: App) -> str | None:
        return None if self.tenant in app.tenants else f"no tenant {self.tenant!r}"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        here = on.active & (effects.tenant == list(effects.app.tenants).index(self.tenant))
        effects.output[here] *= self.length
        effects.restyle(here, self.style)


class Truncation(Cause, frozen=True, kw_only=True):
    """`max_tokens` is lowered: long answers are cut."""

    max_tokens: int

    moves = ("finish_reason", "truncated", "params_hash", "output_tokens")
    follow = ("latency_ms", "cost_usd")
    answers = ("prompt_changed", "behaviour_changed")
    says = "max_tokens is lowered to {0.max_tokens}"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.limit[on.active] = len(effects.max_tokens)
        effects.max_tokens.append(self.max_tokens)


class CachingLost(Cause, frozen=True, kw_only=True):
    """Most prefixes are no longer found in the provider's prompt cache."""

    remains: float = 0.1

    moves = ("cached_share", "cost_usd", "cost_given_tokens")
    follow = ("ttft_ms", "latency_ms", "latency_given_tokens")
    answers = ("behaviour_changed", "cannot_tell")
    says = "prompt cache hits fall to {0.remains:.0%} of what they were"

    def _impossible(self, app: App) -> str | None:
        return None if app.prompt_cache_rate else "no prompt cache"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.prompt_cache[on.active] *= self.remains


class FieldLost(Cause, frozen=True, kw_only=True):
    """Token counts stop arriving."""

    moves = ("coverage.tokens",)
    follow = ("coverage.cost",)
    answers = ("cannot_tell", "behaviour_changed")
    says = "input_tokens, output_tokens and cached_tokens are missing"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.tokens_lost |= on.active


class SlowDrift(Cause, frozen=True, kw_only=True):
    """Answers grow over days, too slowly for anyone to see a step."""

    length: float = 1.6
    ramp_days: float = 4.0

    moves = ("output_tokens",)
    follow = ("latency_ms", "cost_usd", "truncated", "finish_reason")
    answers = ("behaviour_changed", "cannot_tell")
    says = "answers grow to x{0.length:g} over {0.ramp_days:g} days"

    @property
    def complete_ms(self) -> int:
        """When the ramp ends."""
        return self.start_ms + round(self.ramp_days * DAY_MS)

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        done = np.clip((effects.time_ms[on.active] - self.start_ms) / (self.ramp_days * DAY_MS), 0, 1)
        effects.output[on.active] *= np.exp(np.log(self.length) * done)


class Release(Cause, frozen=True, kw_only=True):
    """The application is released and behaves as before. At most a notice."""

    version: str = "1.5.0"

    follow = ("app_version",)
    says = "app_version becomes {0.version}, nothing else moves"

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.version[on.active] = len(effects.versions)
        effects.versions.append(self.version)


class Outlier(Cause, frozen=True, kw_only=True):
    """One freak call. Nothing that should be reported."""

    input_tokens: int = 913_414

    says = "one call of {0.input_tokens} input tokens; must not open an incident"

    @property
    def lasts_calls(self) -> int:
        """One."""
        return 1

    def _apply(self, effects: Effects, on: AffectedCalls) -> None:
        effects.freak[on.active & (on.nth == 0)] = self.input_tokens


AnyCause: TypeAlias = (
    SilentUpdate
    | ServedModelChanged
    | PromptEdited
    | TrafficMix
    | Slowdown
    | ErrorBurst
    | PriceRise
    | OneTenant
    | Truncation
    | CachingLost
    | FieldLost
    | SlowDrift
    | Release
    | Outlier
)


class Injected(Struct, frozen=True, kw_only=True):
    """The truth about one cause. Times are epoch milliseconds."""

    cause: str
    scope: str
    start_ms: int
    #: None: it lasts until the scenario ends
    end_ms: int | None
    #: when its effect is complete (later than the start for a ramp)
    complete_ms: int
    #: at least one of `moves` must move, `follow` may; `channels` are those of `moves`
    moves: tuple[str, ...]
    follow: tuple[str, ...]
    channels: tuple[str, ...]
    #: right answers, best first; empty: no incident
    answers: tuple[VerdictKind, ...]
    #: id of the first call at or after the start
    first_call: str | None
    #: calls of the scope before the start, and from it on
    calls_before: int
    calls_after: int
    note: str
