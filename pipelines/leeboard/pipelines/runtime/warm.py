"""Kernels are compiled before a worker joins its group: half a minute the first time, then they come from a cache."""

from collections.abc import Iterator

from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.schemas import ModelCall

#: calls before a change of numbers and texts, and calls after it: enough that an incident opens and is updated
CALLS_BEFORE, CALLS_AFTER = 800, 200
WARM_WORDS = ("the", "tide", "is", "not", "what", "it", "was", "and", "we", "wait")


def warm_calls() -> Iterator[ModelCall]:
    """Calls of one scope in which many signals change at once."""
    for k in range(CALLS_BEFORE + CALLS_AFTER):
        before = k < CALLS_BEFORE
        words = [WARM_WORDS[(step * k + k // step) % len(WARM_WORDS)] for step in range(1, 9)]
        yield ModelCall(
            id=f"warm-{k}",
            time=60_000 * k,
            app="warm",
            model_served="m" if before else "n",
            input_tokens=100 + k % 7,
            output_tokens=50 + k % 11,
            latency_ms=(1.0 if before else 5.0) * (100.0 + k % 13),
            cost_usd=0.001 * (1 + k % 5),
            error_type="timeout" if k % 17 == 0 else None,
            input_text=f"{words[0]} {words[3]} {words[5]}?",
            output_text=" ".join(words) + "." if before else "\n".join(f"- **{word}**" for word in words),
        )


def warm_kernels(settings: EngineSettings) -> None:
    """Run an engine over a change, then save and restore its state, so that every kernel is compiled."""
    engine = Engine(settings)
    # the default embedder will do: *watch* gets measured calls
    measurer = Measurer(MeasureSettings())
    for k, call in enumerate(warm_calls()):
        engine.step([measurer.measure(call)], [k])
    for key in list(engine.scopes):
        engine.restore(engine.snapshot(key))
