"""What every chart is made of: plotly's traces and layouts as plain data, axes with round ticks.

Colours are names of the page's palette (see templates/draw.js), which turns them into those of its light or dark form.
Every text that comes from records goes through `plotly_text` or `hover_text`.
"""

from typing import Any, TypeAlias

import numpy as np

from ..arrays import FloatArray
from .series import ticks

Figure: TypeAlias = dict[str, Any]
#: of a signal's charts
HEIGHT_PX = 240


def digits(values: FloatArray, most: int = 4) -> list[float]:
    """Values with so many significant digits."""
    return [float(f"{value:.{most}g}") for value in values.tolist()]


def tick_text(value: float, unit: str) -> str:
    """A number at an axis."""
    if unit in ("share", "yes or no"):
        return f"{value * 100:.3g} %"
    if unit == "ratio":
        return f"×{value:.3g}"
    text = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
    return f"${text}" if unit == "USD" else text


def value_axis(low: float, high: float, unit: str, *, logarithmic: bool, most_ticks: int = 7) -> Figure:
    """An axis of values with round ticks."""
    margin = (high / low) ** 0.06 if logarithmic else 0.06 * (high - low) or 0.5
    if logarithmic:
        low, high = low / max(margin, 1.02), high * max(margin, 1.02)
    else:
        low, high = (low if low == 0 else low - margin), high + margin
    at = ticks(low, high, logarithmic=logarithmic, most=most_ticks)
    ends = np.log10([low, high]) if logarithmic else np.array([low, high])
    return {
        "type": "log" if logarithmic else "linear",
        "range": digits(ends, 8),
        "tickvals": at,
        "ticktext": [tick_text(tick, unit) for tick in at],
    }


def share_axis(high: float, *, most_ticks: int = 7) -> Figure:
    """An axis of shares from zero."""
    high = min(max(high * 1.08, 0.02), 1.02)
    at = ticks(0.0, high, logarithmic=False, most=most_ticks)
    return {"range": [0, high], "tickvals": at, "ticktext": [tick_text(tick, "share") for tick in at]}
