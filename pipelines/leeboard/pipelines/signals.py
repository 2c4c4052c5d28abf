"""The one catalogue of signals: where each is measured, its unit and floor, how two samples compare, how it is said.

Engine, `compare`, `simulate`, reports, wording and configuration read it. The order of a kind's signals is the order of
their columns in the engine. A new signal is a name in NUMBERS or FLAGS, its line here, and its measurement.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from leeboard.schemas import FLAGS, GROUPS, NUMBERS

ChannelName = Literal["input", "output", "latency", "cost", "error", "quality", "identity", "coverage"]
Kind = Literal["numeric", "binary", "categorical", "text"]
#: how an effect is measured: relative change, difference, or difference in standard deviations
Measure = Literal["relative", "difference", "sd"]
#: what of an observation holds the values: `numbers`, `flags`, `measured`, `categories`, `tools`, `input` and `output`,
#: or `scores`
Source = Literal["number", "flag", "group", "category", "tools", "text", "score"]
#: the direction that is better, where there is one
Better = Literal["lower", "higher"] | None
#: field of `compare.Floors` with the smallest difference of two samples that matters
FloorName = Literal["latency", "ttft", "cost", "tokens", "error", "share", "cached_share", "relevance"]

CHANNELS: tuple[ChannelName, ...] = get_args(ChannelName)
#: channels that give an incident its context: alone they are notices, and they keep no incident open
CONTEXT: tuple[ChannelName, ...] = ("identity", "coverage")
#: floor of a signal that never pages by itself
NO_PAGES = math.inf
#: three times the latency or the cost; 20 points more errors, refusals, truncated or empty answers
SEVERE_FACTOR, SEVERE_POINTS = 2.0, 0.20


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal. `floor` and `severe` are in the measure of its effect."""

    name: str
    channel: ChannelName
    kind: Kind
    #: shown to people
    unit: str
    floor: float
    measure: Measure = "difference"
    #: an increase of this size pages after few calls; None: never
    severe: float | None = None
    #: value that counts as 1 inside asinh; what `compare` adds before it takes logarithms
    scale: float = 1.0
    source: Source
    #: its name in NUMBERS, FLAGS, GROUPS or `categories`; empty where that does not apply
    field: str = ""
    #: judged given the tokens of the call as well: `field` names what is judged so
    given_tokens: bool = False
    better: Better = None
    #: None: two samples of it are not compared
    compared_floor: FloorName | None = None
    #: what a person calls it, where its name does not say it
    said: str = ""
    weight: float = 1.0
    #: the River detector that replaces ours
    river: str | None = None
    #: may it page by itself?
    pages: bool = True

    @property
    def logarithmic(self) -> bool:
        """Are values taken as logarithms?"""
        return self.measure == "relative"

    @property
    def column(self) -> int:
        """Position in NUMBERS, FLAGS or GROUPS; -1 where values come from elsewhere."""
        names = {"number": NUMBERS, "flag": FLAGS, "group": GROUPS}.get(self.source)
        return -1 if names is None else names.index(self.field)


def _number(
    name: str,
    channel: ChannelName,
    unit: str,
    floor: float,
    compared_floor: FloorName,
    *,
    measure: Measure = "relative",
    field: str = "",
    scale: float = 1.0,
    severe: float | None = None,
    better: Better = None,
) -> Signal:
    """A number of NUMBERS; one that is taken from another's `field` is judged given the tokens."""
    return Signal(
        name=name,
        channel=channel,
        kind="numeric",
        unit=unit,
        floor=floor,
        measure=measure,
        severe=severe,
        scale=scale,
        source="number",
        field=field or name,
        given_tokens=bool(field),
        better=better,
        compared_floor=compared_floor,
    )


def _flag(
    name: str, channel: ChannelName, severe: float | None = SEVERE_POINTS, better: Better = "lower", floor: float = 0.01
) -> Signal:
    """A yes/no answer of FLAGS."""
    return Signal(
        name=name,
        channel=channel,
        kind="binary",
        unit="share",
        floor=floor,
        severe=severe,
        source="flag",
        field=name,
        better=better,
        compared_floor=None if channel == "coverage" else "error",
    )


def _category(
    name: str, channel: ChannelName, floor: float, *, source: Source = "category", severe: float | None = None
) -> Signal:
    """A name of `Observation.categories`, or the names of the tools."""
    return Signal(
        name=name,
        channel=channel,
        kind="categorical",
        unit="share",
        floor=floor,
        severe=severe,
        source=source,
        field=name if source == "category" else "",
        compared_floor="error" if channel == "error" else "share",
    )


def _text(name: str, channel: ChannelName, *, said: str = "", pages: bool = True) -> Signal:
    """What the texts of one side say, or of both."""
    return Signal(
        name=name,
        channel=channel,
        kind="text",
        unit="sd",
        floor=TEXT_FLOOR,
        measure="sd",
        source="text",
        said=said,
        pages=pages,
    )


NUMERIC = (
    _number("input_tokens", "input", "tokens", 0.20, "tokens"),
    _number("output_tokens", "output", "tokens", 0.20, "tokens"),
    _number("reasoning_tokens", "output", "tokens", 0.20, "tokens"),
    _number("tool_calls", "output", "calls", 0.20, "tokens"),
    _number("latency_ms", "latency", "ms", 0.20, "latency", severe=SEVERE_FACTOR, better="lower"),
    _number("ttft_ms", "latency", "ms", 0.20, "ttft", severe=SEVERE_FACTOR, better="lower"),
    _number("latency_given_tokens", "latency", "ratio", 0.20, "latency", field="latency_ms", better="lower"),
    _number("cost_usd", "cost", "USD", 0.15, "cost", scale=1e-6, severe=SEVERE_FACTOR, better="lower"),
    _number("cost_given_tokens", "cost", "ratio", 0.15, "cost", field="cost_usd", scale=1e-6, better="lower"),
    _number("cached_share", "cost", "share", 0.10, "cached_share", measure="difference"),
    _number("relevance", "output", "cosine", 0.2, "relevance", measure="sd"),
    _number("repetition", "quality", "share", 0.05, "share", measure="difference", better="lower"),
)
#: those of FLAGS, in its order, then one for every field group
BINARY = (
    _flag("error", "error"),
    _flag("truncated", "quality"),
    _flag("empty", "quality"),
    _flag("refusal", "quality"),
    # no severe floor: those are for increases, and here a decrease is bad
    _flag("json_valid", "quality", severe=None, better="higher"),
    _flag("coverage.vectors", "coverage", severe=None, better=None, floor=NO_PAGES),
    *(
        Signal(
            name=f"coverage.{group}",
            channel="coverage",
            kind="binary",
            unit="share",
            floor=NO_PAGES,
            source="group",
            field=group,
        )
        for group in GROUPS
    ),
)
#: what served a call and what shaped it
IDENTITY = (
    "provider",
    "model_served",
    "system_fingerprint",
    "prompt_version",
    "system_hash",
    "tools_hash",
    "params_hash",
    # what measured the texts; a change of it is a new baseline for their signals (see `texts`)
    "embedder",
    "text_version",
)
#: named like IDENTITY where they move with a change, but no signals: never the cause alone
IDENTITY_LABELS = ("model_requested", "app_version", "sample_rate")
CATEGORICAL = (
    _category("finish_reason", "output", 0.05),
    _category("tool_names", "output", 0.05, source="tools"),
    _category("error_type", "error", 0.01, severe=SEVERE_POINTS),
    _category("input_language", "input", 0.05),
    _category("output_language", "output", 0.05),
    *(_category(name, "identity", NO_PAGES) for name in IDENTITY),
)
#: inputs and features do not page: in traffic whose topics come in runs, a topic that is new to a scope with few calls
#: reaches any level though nothing changes (docs/BENCHMARKS.md, texts)
TEXT_FLOOR = 0.2
TEXT = (
    _text("output_features", "output", pages=False),
    _text("output_style", "output", said="the style of the outputs"),
    _text("output_given_input", "output", said="outputs to like inputs"),
    _text("input_features", "input", pages=False),
    _text("input_content", "input", said="the content of the inputs", pages=False),
)
TEXT_SIGNALS = tuple(signal.name for signal in TEXT)
#: every signal but the scores, which calls bring with them
BY_NAME = {signal.name: signal for signal in (*NUMERIC, *BINARY, *CATEGORICAL, *TEXT)}
#: numbers judged given the tokens of the call -> the number that they are taken from
GIVEN_TOKENS = {signal.name: signal.field for signal in NUMERIC if signal.given_tokens}

SCORE = Signal(name="score", channel="quality", kind="numeric", unit="score", floor=0.2, measure="sd", source="score")
CATEGORICAL_SCORE = Signal(
    name="score", channel="quality", kind="categorical", unit="share", floor=0.05, source="score"
)
#: score signals of one scope, numeric and categorical; later ones are counted and left out
MAX_SCORES = 8
MAX_CATEGORICAL_SCORES = 4
#: units of signals whose effects are in standard deviations
UNITS_IN_SD = frozenset(signal.unit for signal in (*NUMERIC, *TEXT, SCORE) if signal.measure == "sd")

FLAG_COLUMNS = len(FLAGS)
NUMERIC_COLUMNS = len(NUMERIC) + MAX_SCORES
CATEGORICAL_COLUMNS = len(CATEGORICAL) + MAX_CATEGORICAL_SCORES

assert len(BY_NAME) == len(NUMERIC) + len(BINARY) + len(CATEGORICAL) + len(TEXT), "names are unique"
assert {signal.field for signal in NUMERIC} == set(NUMBERS), "every number has its signal"
assert tuple(signal.field for signal in BINARY) == FLAGS + GROUPS, "columns of yes/no signals are those of the records"
