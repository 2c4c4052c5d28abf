"""The tag of this machine's arithmetic: where it is equal, a replay gives the same bytes."""

import platform

import numba
import numpy as np


def numerics_tag() -> str:
    """Architecture, libc, numba and numpy versions."""
    libc = "-".join(part for part in platform.libc_ver() if part) or platform.system().lower()
    return f"{platform.machine()} {libc} numba-{numba.__version__} numpy-{np.__version__}"
