"""Numbers as they stand in alerts and summaries."""

import math

NEVER_LEVEL = 1e300


def rounded(x: float) -> float:
    """6 significant digits."""
    return float(f"{x:.6g}") if math.isfinite(x) else math.copysign(NEVER_LEVEL, x)
