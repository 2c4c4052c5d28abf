"""How the numeric kernels are compiled: scalar arithmetic in a fixed order, so that a replay gives the same bits."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numba.core.config
import numpy as np
import numpy.typing as npt

#: one row of an arena: a structured NumPy record (a view, writable in place)
Record: TypeAlias = Any
Arena: TypeAlias = npt.NDArray[np.void]
Floats: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Integers: TypeAlias = npt.NDArray[np.int64]
#: 64 bits for every signal (see `base.hash64`)
Salts: TypeAlias = npt.NDArray[np.uint64]
#: a 32-bit float, as references store values
Single: TypeAlias = np.float32

F = TypeVar("F", bound=Callable[..., Any])


#: the folder of all detectors
_DETECTORS = Path(__file__).parents[1]


@cache
def _sources(package: Path) -> str:
    """Hash of all sources that a kernel of `package` can depend on: those of the detectors and its own."""
    digest = hashlib.blake2b(numba.__version__.encode(), digest_size=8)
    for where in (_DETECTORS, package):
        for source in sorted(where.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _package_of(source: Path) -> Path:
    """The folder `leeboard/<part>` that a source belongs to; the source's own folder outside of these (tests)."""
    parts = [folder for folder in source.parents if folder.parent.parent.name == "leeboard"]
    return parts[0] if parts else source.parent


#: where compiled kernels are kept: the directory that NUMBA_CACHE_DIR names, else one of the user's
_CONFIG: Any = numba.core.config
CACHE = Path(_CONFIG.CACHE_DIR or Path.home() / ".cache" / "leeboard")


def kernel(function: F) -> F:
    """Compile `function` with Numba: no fastmath, no parallel loops, no BLAS, IEEE division; releases the GIL.

    With `NUMBA_DISABLE_JIT=1` the function runs as plain Python and must give the same numbers (a test checks this).
    32-bit fields are therefore converted with `np.float64(...)` before any arithmetic.
    """
    # Numba checks the file of a function only, not the functions it uses: each state of the sources has its own cache.
    _CONFIG.CACHE_DIR = str(CACHE / _sources(_package_of(Path(function.__code__.co_filename))))
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
