"""What an application is made of: rhythm of its traffic, kinds of requests, model, prompt, habits."""

from typing import Any

from leeboard.schemas import scope_key
from msgspec import Struct

from .text import Form, StyleName, TopicName

#: of one application: a block of one step (traffic.STEP_MS) then holds 70,000 calls, 200 MB with texts
MAX_CALLS_A_DAY = 10_000_000
#: of a scenario: 3 MB a block (traffic.BLOCK_CALLS), 600 MB in all
MAX_APPS = 200
MAX_USERS = 100_000

HOURS = 24
DAYS = 7


class Rhythm(Struct, frozen=True, kw_only=True):
    """When calls come, in UTC. Only ratios count: the mean over a week is `App.calls_a_day`."""

    #: relative intensity in the middle of each hour of the day
    hours: tuple[float, ...]
    #: relative intensity of Monday to Sunday
    weekdays: tuple[float, ...] = (1.0,) * DAYS

    def __post_init__(self) -> None:
        for name, values, length in (("hours", self.hours, HOURS), ("weekdays", self.weekdays, DAYS)):
            if len(values) != length or min(values) < 0 or sum(values) <= 0:
                raise ValueError(f"rhythm.{name} holds {length} numbers, none negative, not all zero")


class RequestKind(Struct, frozen=True, kw_only=True):
    """One sort of request. Sizes are lognormal: a median in tokens and the sd of the natural logarithm."""

    name: str
    #: share among the kinds of the application
    share: float
    #: what the user and retrieval bring, without system text and history
    input_tokens: float
    input_sd: float = 0.6
    output_tokens: float
    output_sd: float = 0.5
    #: elasticity of the answer's size on the size of the input
    follows: float = 0.2
    #: word list that texts are made of
    topic: TopicName


class ServedModel(Struct, frozen=True, kw_only=True):
    """A served model and how fast it is."""

    provider: str
    requested: str
    served: str
    #: fingerprints that its replicas report, the first twice as often as the others
    fingerprints: tuple[str, ...] = ()
    #: median time to the first token of a call without input, at mean load
    ttft_ms: float
    #: per 1,000 input tokens that no prompt cache holds
    prefill_ms: float = 40.0
    #: per output token
    token_ms: float


class Prompt(Struct, frozen=True, kw_only=True):
    """A system text; `version` is None where nobody versions prompts."""

    name: str | None = None
    version: str | None = None
    text: str
    tokens: int
    #: how answers are written
    style: StyleName = "plain"


class App(Struct, frozen=True, kw_only=True):
    """One scope of traffic."""

    app: str
    route: str
    env: str = "production"
    calls_a_day: float
    rhythm: Rhythm
    kinds: tuple[RequestKind, ...]
    model: ServedModel
    prompt: Prompt
    #: what an answer looks like (text.write_output)
    form: Form = "prose"
    params: dict[str, Any] = {}
    max_tokens: int = 4096
    #: longest input; longer ones are cut
    context_tokens: int = 128_000

    #: tenant -> share of the sessions; empty where the application has no tenants
    tenants: dict[str, float] = {}
    #: users of a tenant (of the application where there are no tenants); the k-th is busy in proportion to 1/k
    users: int = 200
    #: user label -> value -> share of the users
    labels: dict[str, dict[str, float]] = {}
    #: mean number of calls of a session and the median pause between two of them
    session_calls: float = 1.0
    session_pause_s: float = 45.0
    #: share of the preceding turns that is sent again
    history: float = 0.0
    #: sd, in log units, of what the calls of one session have in common in their input size
    session_sd: float = 0.3

    tools: tuple[str, ...] = ()
    #: share of the calls that use a tool
    tool_rate: float = 0.0
    #: share of the calls that ask one of REPEATS stored questions again
    repeat_rate: float = 0.05
    #: share of those that a response cache answers
    cached_rate: float = 0.0
    #: share of the calls whose system text and history the provider still holds
    prompt_cache_rate: float = 0.0
    #: median reasoning tokens, part of the output tokens; 0 for models without
    reasoning_tokens: float = 0.0
    #: input and output price where the application reports its own cost; None leaves it to the price table
    usd_per_million: tuple[float, float] | None = None
    #: name, share of the calls scored, mean and sd of a score in 0..1
    score: tuple[str, float, float, float] | None = None

    #: are answers streamed, so that the first token is timed?
    streamed: bool = True
    error_rate: float = 0.005
    #: sd, in log units, of the slow variation of sizes and of speeds
    slow_tokens_sd: float = 0.05
    slow_latency_sd: float = 0.05
    #: sd, in log units, of the speed of single calls
    latency_sd: float = 0.28
    #: log units that the busiest hour is slower than the quietest
    load: float = 0.15
    app_version: str = "1.4.0"

    def __post_init__(self) -> None:
        if not 0 < self.calls_a_day <= MAX_CALLS_A_DAY:
            raise ValueError(f"{self.scope}: calls_a_day lies between 0 and {MAX_CALLS_A_DAY}")
        if not self.kinds or not 0 < self.users <= MAX_USERS or self.session_calls < 1:
            raise ValueError(f"{self.scope}: needs a kind, 1 to {MAX_USERS} users, and sessions of at least one call")

    @property
    def scope(self) -> str:
        """The scope key that calls of this application get (tenants are a label)."""
        return scope_key(None, self.app, self.env, self.route)
