"""Write the golden alerts and the golden state of this version anew: `python -m tests.pipelines.watch.regenerate`.

To be run from the top of the checkout, and its difference read, whenever a change of the engine is meant to change
alerts or what is kept of a scope. Golden states of earlier versions are never written again.
"""

import msgspec
from leeboard.schemas import encode

from .golden_state import NEWEST, written
from .golden_stream import ALERTS, replayed


def main() -> None:
    """Write the files and say what changed."""
    new = [encode(alert) for alert in replayed().alerts]
    old = ALERTS.read_bytes().splitlines() if ALERTS.exists() else []
    ALERTS.parent.mkdir(exist_ok=True)
    ALERTS.write_bytes(b"\n".join(new) + b"\n")
    print(f"{ALERTS}: {len(new)} alerts, {len(set(new) - set(old))} of them new, {len(set(old) - set(new))} gone")
    NEWEST.parent.mkdir(exist_ok=True)
    NEWEST.write_bytes(msgspec.msgpack.encode(written()))
    print(f"{NEWEST}: {NEWEST.stat().st_size} bytes")


if __name__ == "__main__":
    main()
