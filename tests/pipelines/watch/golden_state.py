"""A fixed stream whose state is kept in `goldens/state`, one file a version of the format, and what comes after it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from leeboard.pipelines.numerics import numerics_tag
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.snapshot.codec import VERSION
from leeboard.schemas import ModelCall, Observation

from .golden_stream import ANSWERED, ASKED, Dice, call
from .streams import ALERTS_ONLY, MEASURER, run

FOLDER = Path(__file__).parent / "goldens" / "state"
#: written by `python -m tests.pipelines.watch.regenerate`
NEWEST = FOLDER / f"version-{VERSION}.msgpack"
SCOPE = "/golden/default/kept"
#: calls before the state was written: the texts are in their warm-up, and an incident is open
BEFORE = 250


class GoldenState(msgspec.Struct):
    """The parts of a scope, and the arithmetic of the machine that wrote them."""

    numerics: str
    parts: dict[str, bytes]


def _calls(dice: Dice) -> Iterator[ModelCall]:
    """Slower for a while, then as before; then another model with more failures."""
    for number in range(560):
        which = dice.below(4)
        yield call(
            dice,
            "kept",
            number,
            slow=17 if 210 <= number < 320 else 10,
            failing=2 if number < 450 else 30,
            model_served="m-1" if number < 450 else "m-2",
            input_text=ASKED[which],
            output_text=ANSWERED[which if dice.below(10) else dice.below(4)],
        )


def records() -> list[Observation]:
    """The whole stream, measured."""
    return [MEASURER.measure(each) for each in _calls(Dice(7))]


def written() -> GoldenState:
    """The state after BEFORE calls."""
    engine = run(records()[:BEFORE], engine=Engine(ALERTS_ONLY, numerics_tag())).engine
    return GoldenState(numerics_tag(), engine.snapshot(SCOPE))
