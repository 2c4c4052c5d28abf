"""The default embedder: the mean of table rows, one for each WordPiece item of a text."""

from functools import cache

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Floats32, kernel

from ..text.characters import Characters, characters
from ..text.reader import code_points
from ..vectors import normalise
from .base import Embeddings
from .table import Table, read_table
from .wordpiece import Ids, Vocabulary, folded, pieces, vocabulary_of

TableRows = npt.NDArray[np.int8]


class StaticEmbedder:
    """Embeds each text by itself, in a fixed order of additions: the same bits whatever texts come with it.

    `table`: None for the one that comes with leeboard. Not for two threads at once.
    """

    def __init__(self, table: Table | None = None) -> None:
        self._table, self._vocabulary = _own() if table is None else (table, vocabulary_of(table.items))
        table = self._table
        self._chars = characters()
        self._word = np.zeros(0, np.uint32)
        self._ids = np.zeros(0, np.int32)
        self.fingerprint = f"static-{table.fingerprint}"

    def encode(self, texts: list[str]) -> Embeddings:
        """Vectors of unit length, (n, d); 0 for a text without any item."""
        vectors = np.zeros((len(texts), self._table.rows.shape[1]), np.float32)
        for text, vector in zip(texts, vectors, strict=True):
            codes = code_points(folded(text))
            if len(codes) > len(self._word):
                self._word, self._ids = np.zeros(len(codes), np.uint32), np.zeros(len(codes), np.int32)
            embed(
                codes,
                self._chars,
                self._vocabulary,
                self._table.rows,
                self._table.scales,
                self._word,
                self._ids,
                vector,
            )
        return vectors

    def items(self, text: str) -> list[str]:
        """The WordPiece items of a text."""
        codes = code_points(folded(text))
        ids = np.zeros(len(codes), np.int32)
        count = pieces(codes, self._chars, self._vocabulary, np.zeros(len(codes), np.uint32), ids)
        return [self._table.items[k] for k in ids[:count]]


@cache
def _own() -> tuple[Table, Vocabulary]:
    """The table that comes with leeboard, read once (some 150 ms)."""
    table = read_table()
    return table, vocabulary_of(table.items)


@kernel
def embed(
    codes: npt.NDArray[np.uint32],
    chars: Characters,
    vocabulary: Vocabulary,
    rows: TableRows,
    scales: Floats32,
    word: npt.NDArray[np.uint32],
    ids: Ids,
    vector: Floats32,
) -> None:
    """Write the vector (d,) of a folded text; `word` and `ids`: space for as many items as it has characters."""
    for k in range(pieces(codes, chars, vocabulary, word, ids)):
        row, scale = rows[ids[k]], scales[ids[k]]
        for column in range(len(vector)):
            vector[column] += np.float32(row[column]) * scale
    normalise(vector)
