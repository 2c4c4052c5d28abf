"""Files of calls as records, with a progress bar on long work."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from leeboard.pipelines.ingest import STANDARD_INPUT, UnreadableFile, read_records, total_bytes
from leeboard.pipelines.measure.settings import COUNTED
from leeboard.schemas import Record, Reject
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .common import errors, fail

#: files smaller than this need no progress bar
LONG_BYTES = 4 << 20


@contextmanager
def progress_bar(paths: Sequence[str], what: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error over the bytes of some files, where there are many and a person watches."""
    total = total_bytes(paths)
    if (total is not None and total < LONG_BYTES) or not errors.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda read: progress.update(task, advance=read)


@contextmanager
def records_of(paths: Sequence[str], what: str, *, allow_controls: bool = False) -> Iterator[Iterator[Record | Reject]]:
    """The records of some files, with a progress bar; ends with a clear message where one cannot be read."""
    if list(paths).count(STANDARD_INPUT) > 1:
        fail("standard input (-) can be read only once")
    try:
        with progress_bar(paths, what) as progress:
            arrival_ms = time.time_ns() // 1_000_000
            yield read_records(paths, arrival_ms=arrival_ms, allow_controls=allow_controls, progress=progress)
    except UnreadableFile as error:
        fail(str(error))


def say_unmeasured(counts: dict[str, int]) -> None:
    """Say what of the texts could not be measured, and why."""
    for name, count in counts.items():
        if count:
            errors.print(f"{count:,} {COUNTED[name]}", markup=False)
