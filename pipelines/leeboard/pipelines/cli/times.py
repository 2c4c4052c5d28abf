"""Times as people write them on the command line."""

from datetime import UTC, datetime

from leeboard.pipelines.units import DAY_MS


def parse_time(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time, or of a number of days before now (`7d`). Raises ValueError."""
    if text.endswith("d"):
        return round(datetime.now(UTC).timestamp() * 1000 - float(text[:-1]) * DAY_MS)
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000)
