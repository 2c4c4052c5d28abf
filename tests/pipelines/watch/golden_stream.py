"""A fixed stream of three scopes from integers and decimal constants only: the same bits on every machine."""

from collections.abc import Iterator
from heapq import merge
from pathlib import Path
from typing import Any

from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay, ReplayResult
from leeboard.schemas import Accept, Deploy, ModelCall, Score

#: written by `python -m tests.pipelines.watch.regenerate`
ALERTS = Path(__file__).parent / "goldens" / "alerts.jsonl"
START_MS = 1_767_571_200_000
MINUTE_MS = 60_000


class Dice:
    """Numerical Recipes' linear congruential generator; sums of throws are bell-shaped."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, n: int) -> int:
        """0 to n - 1."""
        self._state = (1_664_525 * self._state + 1_013_904_223) % 2**32
        return self._state * n >> 32

    def bell(self, centre: int) -> int:
        """About `centre`, within half of it."""
        return centre // 2 + sum(self.below(centre // 4 + 1) for _ in range(4))


def call(
    dice: Dice, route: str, number: int, *, slow: int = 10, long: int = 10, failing: int = 2, **own: Any
) -> ModelCall:
    """One call; `slow` and `long` in tenths, `failing` in per cent."""
    asked, answered = dice.bell(900), dice.bell(240) * long // 10
    latency_ms = (300 + 8 * answered + dice.bell(600)) * slow // 10
    failed, cut = dice.below(100) < failing, dice.below(100) < 4
    fields: dict[str, Any] = {
        "id": f"{route}-{number:05d}",
        "time": START_MS + number * MINUTE_MS + len(route),
        "app": "golden",
        "route": route,
        "provider": "acme",
        "model_served": "m-1",
        "input_tokens": asked,
        "labels": {"team": "red" if dice.below(3) else "blue"},
    }
    if failed:
        fields["error_type"] = "rate_limit"
    else:
        fields["output_tokens"] = answered
        fields["latency_ms"] = latency_ms
        fields["cost_usd"] = (3 * asked + 15 * answered) * 0.000001
        fields["finish_reason"] = "length" if cut else "stop"
    return ModelCall(**{**fields, **own})


def answers(dice: Dice) -> Iterator[ModelCall | Score | Accept]:
    """Slower for a while; then another model, whose longer answers are accepted."""
    for number in range(900):
        if number < 350:
            record = call(dice, "answer", number)
        elif number < 420:
            record = call(dice, "answer", number, slow=17)
        elif number < 720:
            record = call(dice, "answer", number)
        else:
            record = call(dice, "answer", number, long=16, model_served="m-2")
        yield record
        yield Score(
            time=record.time,
            app="golden",
            route="answer",
            call_id=record.id,
            name="grounded",
            value=dice.bell(200) / 100 - (0.25 if number > 850 else 0.0),
            evaluator="judge",
        )
        if number == 780:
            yield Accept(time=record.time, app="golden", route="answer")


def documents(dice: Dice) -> Iterator[ModelCall | Deploy]:
    """A burst of errors, an announced release, a field that stops arriving."""
    for number in range(900):
        if number == 520:
            yield Deploy(
                time=START_MS + number * MINUTE_MS, app="golden", route="documents", what="prompt", version="2"
            )
        lost: dict[str, Any] = {"cost_usd": None} if number >= 700 else {}
        yield call(
            dice,
            "documents",
            number,
            failing=60 if 300 <= number < 335 else 2,
            long=7 if number >= 520 else 10,
            prompt_version="2" if number >= 520 else "1",
            **lost,
        )


ASKED = ("Where is my parcel?", "Can I send the shoes back?", "How do I pay by card?", "When do you open on Sunday?")
ANSWERED = (
    "Your parcel is on its way and will arrive tomorrow.",
    "Yes: send the shoes back within 30 days.\n\n- Print the label.\n- Bring the box to a shop.",
    "Choose **card** at the end, and enter its number.",
    "On Sunday we open at ten, and we close at six.",
)
EN_ESPANOL = "El paquete está en camino y llega mañana a la dirección que nos has dado."
REFUSED = "I'm sorry, but I can't help with that."


def chats(dice: Dice) -> Iterator[ModelCall]:
    """Answers with their texts: refusals for a while, later other languages."""
    for number in range(900):
        which, off = dice.below(4), dice.below(10)
        text = ANSWERED[which if off else dice.below(4)]
        if (400 <= number < 460 and dice.below(3) == 0) or dice.below(100) == 0:
            text = REFUSED
        elif number >= 700 and dice.below(4) == 0:
            text = EN_ESPANOL
        yield call(dice, "chat", number, input_text=ASKED[which], output_text=text)


def replayed() -> ReplayResult:
    """The alerts of the stream, under the default configuration."""
    replay = Replay(Config())
    streams = (answers(Dice(1)), documents(Dice(2)), chats(Dice(3)))
    replay.feed(merge(*streams, key=lambda record: record.time))
    return replay.finish()
