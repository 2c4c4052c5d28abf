"""Write the golden alerts anew: `python -m tests.pipelines.watch.regenerate`, from the top of the checkout.

To be run, and its difference read, whenever a change of the engine is meant to change alerts.
"""

from leeboard.schemas import encode

from .golden_stream import ALERTS, replayed


def main() -> None:
    """Write the file and say what changed."""
    new = [encode(alert) for alert in replayed().alerts]
    old = ALERTS.read_bytes().splitlines() if ALERTS.exists() else []
    ALERTS.parent.mkdir(exist_ok=True)
    ALERTS.write_bytes(b"\n".join(new) + b"\n")
    print(f"{ALERTS}: {len(new)} alerts, {len(set(new) - set(old))} of them new, {len(set(old) - set(new))} gone")


if __name__ == "__main__":
    main()
