"""Real call streams with documented changes, as `ModelCall`s: for tests and benchmarks, never copied into the project.

    from tests.realdata import available, load, needs_data, names, values

works in every test under pytest (its import mode finds `tests` by its place), and with `python -m` from the project's
root. Where the data lie: the environment variable LEEBOARD_DATA, else `../shared/data` beside the project.
"""

from .catalog import load, names
from .folder import available, needs_data, root
from .series import SERIES, series
from .stream import Stream, Values, Window, values

__all__ = [
    "SERIES",
    "Stream",
    "Values",
    "Window",
    "available",
    "load",
    "names",
    "needs_data",
    "root",
    "series",
    "values",
]
