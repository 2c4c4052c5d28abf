"""Stands for the library: as much of a tensor as a fingerprint needs."""

from typing import Any

import numpy as np

uint8 = "uint8"


class Tensor:
    """Three bytes."""

    def _same(self, *_: Any) -> "Tensor":
        return self

    detach = cpu = contiguous = reshape = view = _same

    def numpy(self) -> Any:
        """As an array."""
        return np.arange(3, dtype=np.uint8)
