"""`leeboard replay --from-topic`: the measured calls of a topic instead of files."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from leeboard.pipelines.cli.common import errors, fail
from leeboard.pipelines.cli.kafka.broker import reading
from leeboard.pipelines.cli.times import parse_time
from leeboard.pipelines.kafka.operate.backtest import Bound, CallsReader
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.replay import Replay
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: topics with fewer records need no progress bar
LONG_RECORDS = 20_000


def replay_topic(runner: Replay, settings: KafkaSettings, since: str | None, until: str | None) -> None:
    """Feed a backtest from the topic `calls`; ends with what to do where it cannot be read."""
    begin, end = bound("--since", since), bound("--until", until)
    with reading(settings) as consumer:
        reader = CallsReader(settings, consumer, begin, end)
        with _bar(reader.total) as progress:
            for span in reader.spans:
                runner.feed(reader.read(span, progress), span.partition)


def bound(option: str, text: str | None) -> Bound | None:
    """What `--since` and `--until` take: an offset, `partition:offset,...`, or a time."""
    if text is None:
        return None
    if re.fullmatch(r"\d+", text):
        return Bound(offset=int(text))
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        return Bound(offsets={int(p): int(o) for p, o in (part.split(":") for part in text.split(","))})
    try:
        return Bound(time_ms=parse_time(text))
    except ValueError:
        fail(f"{option}: {text!r} is no offset, no list PARTITION:OFFSET,... and no time (RFC 3339, or 7d)")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    if total < LONG_RECORDS or not errors.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("replay", total=total)
        yield lambda read: progress.update(task, advance=read)
