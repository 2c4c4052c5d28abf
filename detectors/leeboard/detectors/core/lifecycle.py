"""What the detectors of numbers and of shares have in common: codes, constants and the way a change is accepted."""

from .jit import Arena, Row, kernel

#: nothing happened
QUIET = 0
#: the notice level is reached: open a change
FIRED = 1
#: the stream is back where it was before the open change
RETURNED = 2
#: the watcher of an open change found the next one
NEXT = 4
#: the evidence of an open change passed a milestone of its owner
LEVEL = 8

#: recent values kept: from them a watcher learns the events since the change
RECENT_VALUES = 128
#: an excursion shorter than this many events is a point outlier, not a change
SHORTEST_RUN = 3
#: events that the reference must hold from before the change
BASELINE_NEEDED = 30
#: while a change is open, the process and the watcher for the next change have half of the budget each: log 2
WATCHER_NATS = 0.6931471805599453
#: surcharge, in nats, for every recent firing of the stream
SURCHARGE = 1.0
#: a next change that leaves less than this part of an effect leads back
BACK = 0.5
#: shortest and longest block of the return test, in events
RETURN_BLOCK = (32, 512)


@kernel
def report(row: Row, code: int) -> int:
    """Note what the newest value led to, and whether the evidence of an open change passed its milestone."""
    if code == QUIET and row["frozen"] >= 0 and row["peak_page"] >= row["milestone"]:
        code = LEVEL
    row["code"] = code
    return code


@kernel
def accept(rows: Arena, i: int) -> None:
    """The new level of row i is normal: its watcher takes over, the frozen reference is forgotten."""
    rows[i] = rows[rows[i]["watcher"]]
    rows[i]["watcher"] = -1
    rows[i]["frozen"] = -1
    rows[i]["retained"] = -1


@kernel
def close_immaterial(rows: Arena, i: int) -> None:
    """The change of row i is too small to matter: its watcher takes over, the frozen reference stays.

    The next change is measured by it, so that drift in small steps cannot hide.
    """
    retained = rows[i]["frozen"]
    accept(rows, i)
    rows[i]["retained"] = retained


@kernel
def return_block(events: int, since: int) -> int:
    """Length of the blocks of the return test: as many events as the change took to be seen, within bounds."""
    return min(RETURN_BLOCK[1], max(RETURN_BLOCK[0], events - since))
