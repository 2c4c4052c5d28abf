"""The scale of a numeric stream, and the noise that breaks ties."""

import math

from leeboard.detectors.core.jit import Row, kernel

#: half width of the random noise that breaks ties, in transformed units: .05 % of a positive value. An owner to whom
#: small shifts do not matter uses more (an eighth of its effect floor), so that they never gain evidence
DITHER = 2.0**-11
#: the noise is at least this part of a value: 64 steps of a 32-bit float
COARSEST = 2.0**-18
#: scaled values are clipped here, so that their squares stay finite
LARGEST = 1e30
assert math.inf > LARGEST * LARGEST


@kernel
def prepare_number(row: Row, x: float, v: float, logarithmic: bool, dither: float) -> float:
    """Transformed and dithered value: asinh(x / unit), or x / unit where `logarithmic` is false.

    `v`: uniform on (0, 1); `dither`: half width of the noise. A unit of 0 is learned: it becomes a sixteenth of the
    first value other than 0, so that asinh is close to a logarithm.
    """
    if row["unit"] == 0.0 and x != 0.0:
        row["unit"] = abs(x) * 0.0625
    scaled = min(max(x / row["unit"], -LARGEST), LARGEST) if row["unit"] > 0.0 else 0.0
    y: float = math.asinh(scaled) if logarithmic else scaled
    return y + (2.0 * v - 1.0) * max(dither, abs(y) * COARSEST)
