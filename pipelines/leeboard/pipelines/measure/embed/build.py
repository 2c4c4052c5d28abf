"""Distil the static table from all-MiniLM-L6-v2: `python -m leeboard.pipelines.measure.embed.build FOLDER [INTO]`.

Every vocabulary item is read by the model by itself, between the marks of a sentence; its vector is the model's. Then
principal components over the items (most variance first), weights that make frequent items count less (Arora, Liang,
Ma 2017; the vocabulary is in order of frequency, Zipf's law gives the rest), and eight bits a number. The model is
computed here in float64, so that the rounding to eight bits comes out the same on any machine.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from ...arrays import FloatArray
from .table import FOLDER, write_table

Weights = dict[str, FloatArray]

#: the published weights, sentence-transformers/all-MiniLM-L6-v2
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
LAYERS, HEADS, EPSILON = 6, 12, 1e-12
#: marks of the model that no text holds
MARKS = frozenset({"[PAD]", "[CLS]", "[SEP]", "[MASK]"})
CLS, SEP = 101, 102
#: items read at once: 512 x 3 positions x 1,536 x 8 bytes = 19 MB for the widest layer
BATCH = 512
DIMENSIONS = 128
#: smoothing of the weights: an item whose share of all text is this counts half
SMOOTHING = 1e-4


def read_weights(path: Path) -> Weights:
    """The arrays of a safetensors file that holds float32. Raises ValueError unless it is the published file."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path}: SHA-256 {found}, not the published {WEIGHTS_SHA256}")
    (length,) = struct.unpack_from("<Q", data)
    weights = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if entry.get("dtype") == "F32":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            weights[name] = np.frombuffer(data[start:end], "<f4").astype(np.float64).reshape(entry["shape"])
    return weights


def read_items(path: Path) -> list[tuple[str, int]]:
    """The vocabulary items that texts can hold, with their ids, most frequent first. Raises ValueError."""
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != VOCABULARY_SHA256:
        raise ValueError(f"{path}: SHA-256 {found}, not the published {VOCABULARY_SHA256}")
    items = data.decode().removesuffix("\n").split("\n")
    return [(item, k) for k, item in enumerate(items) if item not in MARKS and not item.startswith("[unused")]


def sentence_vectors(weights: Weights, ids: npt.NDArray[np.int64]) -> FloatArray:
    """Vectors of unit length, (n, 384), of sentences of one length: `ids` (n, positions), the marks included."""
    n, positions = ids.shape
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][:positions]
    x = x + weights["embeddings.token_type_embeddings.weight"][0]
    x = _normed(x, weights, "embeddings.LayerNorm")
    width = x.shape[2]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        heads = (n, positions, HEADS, width // HEADS)
        query, key, value = (
            _linear(x, weights, f"{at}attention.self.{part}").reshape(heads).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(width // HEADS)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
        mixed = mixed.transpose(0, 2, 1, 3).reshape(n, positions, width)
        x = _normed(
            x + _linear(mixed, weights, f"{at}attention.output.dense"), weights, f"{at}attention.output.LayerNorm"
        )
        inner = _linear(x, weights, f"{at}intermediate.dense")
        inner = inner * 0.5 * (1.0 + erf(inner / np.sqrt(2.0)))
        x = _normed(x + _linear(inner, weights, f"{at}output.dense"), weights, f"{at}output.LayerNorm")
    mean = x.mean(axis=1)
    unit: FloatArray = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return unit


def distil(vectors: FloatArray) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """The table of the items' vectors, (items, 384) in order of frequency: rows of int8, and a scale for each."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    # an axis has no sign of its own: its largest entry is made positive
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(DIMENSIONS)])
    share = 1.0 / (np.arange(len(vectors)) + 2.0)
    share /= share.sum()
    rows = centred @ axes * (SMOOTHING / (SMOOTHING + share))[:, None]
    scales = np.abs(rows).max(axis=1) / 127.0
    return np.round(rows / scales[:, None]).astype(np.int8), scales.astype(np.float16)


def item_vectors(weights: Weights, ids: list[int]) -> FloatArray:
    """The model's vectors, (n, 384), of vocabulary items, each as a sentence of its own."""
    parts = []
    for start in range(0, len(ids), BATCH):
        chosen = np.array([[CLS, k, SEP] for k in ids[start : start + BATCH]])
        parts.append(sentence_vectors(weights, chosen))
    return np.concatenate(parts)


def _linear(x: FloatArray, weights: Weights, name: str) -> FloatArray:
    # one product for all positions: one for each sentence is ten times slower
    flat = x.reshape(-1, x.shape[-1]) @ weights[f"{name}.weight"].T
    return flat.reshape(*x.shape[:-1], -1) + weights[f"{name}.bias"]


def _normed(x: FloatArray, weights: Weights, name: str) -> FloatArray:
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def build_table(arguments: list[str]) -> None:
    """Build the table of MODEL_FOLDER (model.safetensors, vocab.txt) and write it INTO a folder (default: here)."""
    if not 1 <= len(arguments) <= 2:
        sys.exit("usage: python -m leeboard.pipelines.measure.embed.build MODEL_FOLDER [INTO]")
    model = Path(arguments[0])
    try:
        weights, items = read_weights(model / "model.safetensors"), read_items(model / "vocab.txt")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    rows, scales = distil(item_vectors(weights, [k for _, k in items]))
    write_table(Path(arguments[1]) if arguments[1:] else FOLDER, [item for item, _ in items], rows, scales)


if __name__ == "__main__":
    build_table(sys.argv[1:])
