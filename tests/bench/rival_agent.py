"""A Faust agent as its documentation teaches it, with River's ADWIN on the same signals: what a team would write first.

    python -m tests.bench.rival_agent BOOTSTRAP TOPIC memory|table APP_ID

`memory`: one detector a signal of a scope, in a dictionary; a restart forgets them. `table`: the detectors of a scope
are a value of a Faust Table, so that they survive.
"""

import pickle
import sys
import tempfile
from collections import defaultdict

import faust
from leeboard.schemas import decode_observation

from .adwin import Adwins


def main() -> None:
    """Run the worker until it is told to stop."""
    bootstrap, topic_name, mode, app_id = sys.argv[1:]
    app = faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="leeboard-bench-"),
        web_enabled=False,
        topic_partitions=6,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(topic_name, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
    alerts = app.topic(f"{app_id}-found", value_type=bytes, value_serializer="raw")
    table = app.Table("detectors", partitions=6, key_type=bytes, value_type=bytes) if mode == "table" else None
    memory: defaultdict[str, Adwins] = defaultdict(Adwins)

    @app.agent(topic)
    async def detect(stream: faust.StreamT[bytes]) -> None:
        async for data in stream:
            observation = decode_observation(data)
            scope = observation.scope
            if table is None:
                found = memory[scope].update(observation)
            else:
                key = scope.encode()
                known = table.get(key)
                adwins = pickle.loads(known) if known is not None else Adwins()
                found = adwins.update(observation)
                table[key] = pickle.dumps(adwins)
            if found:
                await alerts.send(value=scope.encode())

    sys.argv = ["rival", "worker", "-l", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
