"""Spans of time in milliseconds, and ranges of settings, that several rooms share."""

from typing import Annotated

from msgspec import Meta

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

Positive = Annotated[float, Meta(gt=0)]
