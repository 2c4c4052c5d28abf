"""A Faust agent as its documentation teaches it, with River's ADWIN on the same signals: what a team would write first.

    python -m tests.bench.rival_agent BOOTSTRAP TOPIC memory|table APP_ID

`memory`: one detector a signal of a scope, in a dictionary; a restart forgets them. `table`: the detectors of a scope
are a value of a Faust Table, so that they survive.
"""

import pickle
import sys
import tempfile

import faust
import numpy as np
from longshore.schemas import NUMBERS, decode_observation
from river import drift

FLAGS = 3
Detectors = dict[int, drift.ADWIN]


def signals(data: bytes) -> tuple[str, list[float]]:
    """Scope and numbers of an observation, NaN where not measured: what longshore's engine takes, less categories."""
    observation = decode_observation(data)
    values = np.frombuffer(observation.numbers, "<f4")[: len(NUMBERS)].tolist()
    return observation.scope, [*values, *((observation.flags >> 2 * k & 3) - 1 for k in range(FLAGS))]


def update(detectors: Detectors, values: list[float]) -> bool:
    """Give every signal its value; did one of them find a change?"""
    found = False
    for k, value in enumerate(values):
        if value == value:
            detector = detectors.get(k)
            if detector is None:
                detector = detectors[k] = drift.ADWIN()
            detector.update(value)
            found |= detector.drift_detected
    return found


def main() -> None:
    """Run the worker until it is told to stop."""
    bootstrap, topic_name, mode, app_id = sys.argv[1:]
    app = faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="longshore-bench-"),
        web_enabled=False,
        topic_partitions=6,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(topic_name, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
    alerts = app.topic(f"{app_id}-found", value_type=bytes, value_serializer="raw")
    table = app.Table("detectors", partitions=6, key_type=bytes, value_type=bytes) if mode == "table" else None
    memory: dict[str, Detectors] = {}

    @app.agent(topic)
    async def detect(stream: faust.StreamT[bytes]) -> None:
        async for data in stream:
            scope, values = signals(data)
            if table is None:
                detectors = memory.setdefault(scope, {})
                found = update(detectors, values)
            else:
                key = scope.encode()
                known = table.get(key)
                detectors = pickle.loads(known) if known is not None else {}
                found = update(detectors, values)
                table[key] = pickle.dumps(detectors)
            if found:
                await alerts.send(value=scope.encode())

    sys.argv = ["rival", "worker", "-l", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
