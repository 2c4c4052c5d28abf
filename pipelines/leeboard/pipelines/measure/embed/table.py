"""The static table on disk: vocabulary items, a row of int8 and a scale for each."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

#: where the committed table is kept, in the checkout and in the wheel
FOLDER = Path(__file__).parent / "minilm"
VOCABULARY, ROWS, SCALES = "vocabulary.txt", "rows.npy", "scales.npy"


@dataclass(frozen=True, slots=True)
class Table:
    """n items and their rows."""

    #: items in order of frequency; those that continue a word begin with `##`
    items: tuple[str, ...]
    #: (n, d), columns in order of principal components
    rows: npt.NDArray[np.int8]
    #: (n,): row x scale is the item's vector
    scales: npt.NDArray[np.float32]
    #: 16 hex digits over the bytes of the three files
    fingerprint: str


def read_table(folder: Path = FOLDER) -> Table:
    """Read a table. Raises OSError or ValueError."""
    paths = [folder / name for name in (VOCABULARY, ROWS, SCALES)]
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        digest.update(path.read_bytes())
    items = tuple(paths[0].read_bytes().decode().removesuffix("\n").split("\n"))
    rows = np.load(paths[1], allow_pickle=False)
    scales = np.load(paths[2], allow_pickle=False).astype(np.float32)
    if rows.ndim != 2 or rows.dtype != np.int8 or scales.shape != rows.shape[:1] or len(items) != len(rows):
        raise ValueError(f"{folder}: {len(items)} items, rows of shape {rows.shape}, scales of shape {scales.shape}")
    return Table(items, rows, scales, digest.hexdigest())


def write_table(folder: Path, items: list[str], rows: npt.NDArray[np.int8], scales: npt.NDArray[np.float16]) -> None:
    """Write a table: items, rows (n, d) and scales (n,)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VOCABULARY).write_bytes("".join(f"{item}\n" for item in items).encode())
    np.save(folder / ROWS, np.ascontiguousarray(rows))
    np.save(folder / SCALES, scales)
