"""Stands for the library: the model `telltale` fails and quotes what it was given, `sleeper` stalls at a word."""

import time
from typing import Any

import numpy as np
import torch


class SentenceTransformer:
    """A model that gives every text the same vector."""

    max_seq_length = 256

    def __init__(self, name: str, device: str) -> None:
        assert device == "cpu"
        self._name = name

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Its weights."""
        return {"weight": torch.Tensor()}

    def encode(self, inputs: list[str], **_: Any) -> Any:
        """Vectors of the texts."""
        if self._name == "telltale" and any(len(text) > 20 for text in inputs):
            raise ValueError(f"cannot embed {inputs}")
        if self._name == "sleeper" and any("lullaby" in text for text in inputs):
            time.sleep(3600)
        return np.full((len(inputs), 4), 0.5, np.float32)
