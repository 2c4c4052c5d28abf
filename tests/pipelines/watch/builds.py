"""Other builds than this one, for what a release may change: their catalogues of signals differ.

`change(NAME)` is called before anything is imported that reads the catalogue, so a build needs a process of its own.
`python -m tests.pipelines.watch.builds NAME IN OUT` takes the state in IN over, feeds it the calls in IN, and writes
what came of it to OUT (see `Task` and `Answer`).
"""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from leeboard.pipelines import signals as catalogue


class Task(msgspec.Struct):
    """A state, and what comes after it: encoded observations."""

    parts: dict[str, bytes]
    calls: list[bytes]


class Answer(msgspec.Struct):
    """What came of it."""

    dropped: int
    new: int
    alerts: list[bytes]
    counts: dict[str, int]
    #: signals that say something in the scope's summary
    summarised: list[str]
    #: "kind name category" -> hash of the state of the detector
    detectors: dict[str, str]


def _named(signals: tuple[catalogue.Signal, ...], name: str) -> catalogue.Signal:
    return next(signal for signal in signals if signal.name == name)


def _without(signals: tuple[catalogue.Signal, ...], *names: str) -> list[catalogue.Signal]:
    return [signal for signal in signals if signal.name not in names]


def another_number() -> catalogue.Signal:
    """What a call costs, once more: a signal that this build does not have."""
    return replace(_named(catalogue.NUMERIC, "cost_usd"), name="cost_again", floor=0.5)


def swap(module: Any) -> None:
    """One number and one identity fewer, one of each more, and all others in other columns."""
    module.NUMERIC = (another_number(), *_without(module.NUMERIC, "input_tokens"))
    identity = replace(_named(module.CATEGORICAL, "provider"), name="app_version")
    module.CATEGORICAL = (identity, *_without(module.CATEGORICAL, "system_hash"))


def no_latency(module: Any) -> None:
    """Two other numbers in place of those of latency."""
    others = [replace(another_number(), name=f"other_{k}", weight=1.0) for k in range(2)]
    module.NUMERIC = (*others, *_without(module.NUMERIC, "latency_ms", "latency_given_tokens"))


def another_flag(module: Any) -> None:
    """One flag more."""
    at = module.FLAG_COLUMNS
    module.BINARY = (*module.BINARY[:at], replace(module.BINARY[1], name="cut_short"), *module.BINARY[at:])
    module.FLAG_COLUMNS = at + 1


def more(module: Any) -> None:
    """One number and one category more, in the first columns."""
    module.NUMERIC = (another_number(), *module.NUMERIC)
    module.CATEGORICAL = (replace(_named(module.CATEGORICAL, "provider"), name="app_version"), *module.CATEGORICAL)
    module.NUMERIC_COLUMNS += 1
    module.CATEGORICAL_COLUMNS += 1


def fewer(module: Any) -> None:
    """One number and one category fewer."""
    module.NUMERIC = tuple(_without(module.NUMERIC, "input_tokens"))
    module.CATEGORICAL = tuple(_without(module.CATEGORICAL, "system_hash"))
    module.NUMERIC_COLUMNS -= 1
    module.CATEGORICAL_COLUMNS -= 1


BUILDS = {build.__name__: build for build in (swap, no_latency, another_flag, more, fewer)}


def change(name: str) -> None:
    """Make this process the build of that name; "this" is the one that it is."""
    layout = "leeboard.pipelines.watch.state.layout"
    assert layout not in sys.modules, "the catalogue has been read"
    if name != "this":
        BUILDS[name](catalogue)


def answered(task: Task) -> Answer:
    """Take a scope over and go on."""
    from leeboard.schemas import decode_observation, encode

    from .streams import ALERTS_ONLY, NUMERICS, Engine, run

    engine = Engine(ALERTS_ONLY, NUMERICS)
    restored = engine.restore(task.parts)
    engine.validate_state()
    alerts = run([decode_observation(call) for call in task.calls], engine=engine).alerts
    scope, bank = restored.scope, engine.bank
    detectors = {}
    for key in bank.keys(scope.slot):
        family = bank.of(key)
        dump = family.changes(key.column).dump(family.row(scope.slot, key))
        state = b"".join(part or b"-" for part in dump)
        name = f"{key.kind} {family.signal(scope, key).name} {scope.names.get(key, '')}"
        detectors[name] = hashlib.blake2b(state, digest_size=8).hexdigest()
    [summary] = engine.summarise()
    return Answer(
        restored.dropped,
        restored.new,
        [encode(alert) for alert in alerts],
        summary.counts,
        [signal.name for signal in summary.signals],
        detectors,
    )


def main() -> None:
    """See above."""
    name, source, target = sys.argv[1:]
    change(name)
    task = msgspec.msgpack.decode(Path(source).read_bytes(), type=Task)
    Path(target).write_bytes(msgspec.msgpack.encode(answered(task)))


if __name__ == "__main__":
    main()
