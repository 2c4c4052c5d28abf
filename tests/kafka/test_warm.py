"""The calls that a worker compiles its kernels with."""

from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay
from leeboard.pipelines.runtime.warm import warm_calls


def test_a_worker_has_compiled_the_code_for_changes_of_numbers_and_texts_before_it_joins() -> None:
    """Otherwise the first change would wait some seconds for the compiler."""
    replay = Replay(Config())
    replay.feed(warm_calls())
    changed = {signal.name for alert in replay.finish().alerts for signal in alert.signals}
    assert changed >= {"latency_ms", "model_served", "output_features", "output_style", "output_given_input"}
