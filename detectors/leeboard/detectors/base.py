"""The contract of a detector: one value and its uniforms in, evidence or nothing out; snapshot and restore."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .core.evidence import Evidence
from .core.special import uniform

#: what a detector eats: a number, a category, or the numbers of a vector, whichever it is for
Value = float | str | Sequence[float] | npt.NDArray[Any]
#: three independent numbers, uniform on (0, 1)
Uniforms = tuple[float, float, float]


@runtime_checkable
class Detector(Protocol):
    """One stream's detector. Bounded state; the same values and uniforms always give the same evidence."""

    #: values refused because they were not finite
    refused: int

    @property
    def log_level(self) -> float:
        """Natural log of the level now, in events of the stream; -inf while there is no evidence."""

    @property
    def open(self) -> bool:
        """A change was found and has neither returned nor been accepted."""

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,
        clock: int | None = None,
        covariates: tuple[float, ...] | None = None,
    ) -> Evidence | None:
        """Take in one value; evidence at the event at which a change is opened, else None.

        `clock` is epoch milliseconds; `covariates` are natural logs of 1 + what is known of the event, for vectors the
        numbers that they are given. A value that is not finite, or has a number that is not, changes nothing and is
        counted in `refused`.
        """

    def accept(self) -> None:
        """The level since the open change is normal from now on."""

    def snapshot(self) -> bytes:
        """The whole state: plain arrays with a version."""

    def restore(self, state: bytes) -> None:
        """Take over a state written by `snapshot`. Raises ValueError where it is not one."""


def hash64(name: str) -> int:
    """64 bits of a cryptographic hash (blake2b) of an event's id or of a signal's name."""
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace")).digest()[:8], "big")


def event_uniforms(event_id: str, name: str) -> Uniforms:
    """The uniforms of one event for the signal `name`, from the event's id."""
    event, salt = np.array([hash64(event_id), hash64(name)], np.uint64)
    with np.errstate(over="ignore"):  # integers wrap around, also where the kernel runs as plain Python
        return float(uniform(event, salt, 0)), float(uniform(event, salt, 1)), float(uniform(event, salt, 2))


def level_nats(level: float, page_level: float | None) -> tuple[float, float]:
    """Natural logs of both levels; the page level is `level` where it is not given. Raises ValueError for no level."""
    levels = {"level": level, "page_level": level if page_level is None else page_level}
    for name, events in levels.items():
        if not 1.0 < events < math.inf:
            raise ValueError(f"{name} must be above 1 event, and finite: {events}")
    return math.log(levels["level"]), math.log(levels["page_level"])


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()


#: the newest snapshot version; a snapshot names its kind, version and the hash of its arrays in a first line
SNAPSHOT_VERSION = 1


def pack(kind: str, *arrays: npt.NDArray[Any]) -> bytes:
    """Bytes of a snapshot: a line that names kind, version and hash, then the arrays as they lie in memory."""
    body = b"".join(array.tobytes() for array in arrays)
    return f"leeboard {kind} {SNAPSHOT_VERSION} {_digest(body)}\n".encode() + body


def unpack(kind: str, state: bytes, *dtypes: tuple[np.dtype[Any], int]) -> list[npt.NDArray[Any]]:
    """Arrays of a snapshot, for (dtype, length) pairs. Raises ValueError where `state` is not such a snapshot.

    The hash is compared because the arrays hold row numbers, which the kernels follow without looking.
    """
    head, _, body = state.partition(b"\n")
    if not head.startswith(f"leeboard {kind} {SNAPSHOT_VERSION} ".encode()):
        raise ValueError(f"not a snapshot of {kind}, version {SNAPSHOT_VERSION}: {head[:40]!r}")
    if len(body) != sum(dtype.itemsize * length for dtype, length in dtypes):
        raise ValueError(f"a snapshot of {kind} of the wrong length: {len(body)} bytes")
    if not head.endswith(f" {_digest(body)}".encode()):
        raise ValueError(f"a damaged snapshot of {kind}")
    arrays, at = [], 0
    for dtype, length in dtypes:
        array = np.zeros(length, dtype)
        # byte by byte: a copy by fields leaves the padding to chance, and the same state must have the same bytes
        array.view(np.uint8)[:] = np.frombuffer(body, np.uint8, array.nbytes, at)
        arrays.append(array)
        at += dtype.itemsize * length
    return arrays
