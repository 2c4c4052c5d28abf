"""nab and tcpd: operational series with labelled anomalies and change points; values, not calls."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from .folder import document, root, rows
from .stream import Split, Values, Window

#: rows after a labelled window in which an alarm still belongs to it
NAB_LATE = 12
#: name -> change points with the last row that counts, split of the prototype
TCPD: dict[str, tuple[tuple[Window, ...], Split]] = {
    "quality_control_1": ((Window("146", 146, 400),), "dev"),
    "quality_control_3": ((Window("179", 179, 400),), "test"),
    "quality_control_5": ((), "test"),
}
#: number of series
SERIES = 31
_DAY_S = 86_400


def series() -> dict[str, Values]:
    """All series by the names of the prototype: `nab.*` alternate between dev and test in order of their paths."""
    return dict([*_nab(), *_tcpd()])


def _nab() -> Iterator[tuple[str, Values]]:
    labelled = document("nab/windows.json")
    for number, path in enumerate(sorted((root() / "nab").glob("*/*.csv.gz"))):
        key = f"{path.parent.name}/{path.name.removesuffix('.gz')}"
        table = rows(f"nab/{key}.gz")
        stamps = [row["timestamp"] for row in table]
        changes = [
            Window(first[:10], bisect_left(stamps, first[:19]), bisect_left(stamps, last[:19]) + NAB_LATE)
            for first, last in labelled[key]
        ]
        yield (
            f"nab.{path.name.removesuffix('.csv.gz')}",
            Values(
                values=np.array([float(row["value"]) for row in table]),
                split="test" if number % 2 else "dev",
                changes=tuple(changes),
                # the way back after an anomaly is its aftermath, as long as the window itself
                grey=tuple(Window("aftermath", last, 2 * last - first) for _, first, last in changes),
                days=None if "exchange" in key else np.array([_seconds(stamp) for stamp in stamps]) / _DAY_S,
            ),
        )


def _tcpd() -> Iterator[tuple[str, Values]]:
    for name, (changes, split) in TCPD.items():
        raw = document(f"tcpd/{name}.json.gz")["series"][0]["raw"]
        values = np.array([value for value in raw if value is not None], float)
        yield f"tc.{name}", Values(values=values, split=split, changes=changes)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()
