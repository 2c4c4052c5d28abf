"""`leeboard replay`: a backtest over past calls."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click
from leeboard.pipelines.cli.common import (
    EXIT_FINDING,
    EXIT_NOT_MEASURED,
    config_option,
    console,
    errors,
    escape_text,
    fail,
    json_option,
    print_json,
    read_config,
    write_file,
)
from leeboard.pipelines.cli.reading import records_of, say_unmeasured
from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay, ReplayedIncident, ReplayResult, with_controls
from leeboard.pipelines.wording import scope_path, visible_text, when
from leeboard.schemas import (
    PRIVILEGED,
    Accept,
    Confirm,
    Deploy,
    ModelCall,
    Mute,
    Observation,
    Reject,
    Score,
    encode,
)
from rich.padding import Padding

ControlRecord: TypeAlias = Score | Deploy | Accept | Confirm | Mute
Observer: TypeAlias = Callable[[list[Observation]], None]
#: lines of a printed table
MAX_LINES = 40


@click.command("replay")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--from-topic", is_flag=True, help="Read the topic of measured calls (kafka.topics.calls), not files.")
@click.option("--since", metavar="WHERE", help="With --from-topic: a time, 7d, an offset, or PARTITION:OFFSET,...")
@click.option("--until", metavar="WHERE", help="The same for the end.")
@config_option
@click.option("--controls", type=click.Path(path_type=Path), help="Control records (deploy/1, accept/1 ...), by time.")
@click.option("--alerts", type=click.Path(path_type=Path), help="Write the alerts, one JSON object a line.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page.")
@json_option
def replay_command(
    files: tuple[str, ...],
    from_topic: bool,
    since: str | None,
    until: str | None,
    config_path: Path | None,
    controls: Path | None,
    alerts: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run the engine over past calls: JSONL, gzipped or not (- is standard input), or the topic of measured calls.

    Prints the incidents, which of them would have paged, the budget, and the smallest shift each signal can show.
    Exit code 1: there were incidents; 3: no call could be read.
    """
    config = read_config(config_path)
    recorder = None
    if report is not None:
        # what draws is loaded for those who want a page
        from leeboard.pipelines.report import Recorder, write_report

        recorder = Recorder()
    observer = recorder.observe if recorder is not None else None
    if from_topic:
        if files or controls is not None:
            fail("--from-topic takes no files: calls and controls are in the topic")
        result = replay_calls_topic(config, since, until, observer)
    elif not files:
        fail("name files, - for standard input, or --from-topic")
    elif since is not None or until is not None:
        fail("--since and --until belong to --from-topic")
    else:
        result = replay_files(config, files, controls, observer)
    if alerts is not None:
        write_file(alerts, b"".join(encode(alert) + b"\n" for alert in result.alerts))
    if report is not None and recorder is not None:
        write_file(report, write_report(result, recorder, config).encode())
    if as_json:
        print_json(to_json(result))
    else:
        show_result(result, report)
    if result.calls == 0:
        fail("no call could be read" + refusal_counts(result), EXIT_NOT_MEASURED)
    sys.exit(EXIT_FINDING if result.alerts else 0)


def replay_files(
    config: Config, files: tuple[str, ...], controls: Path | None, observer: Observer | None
) -> ReplayResult:
    """Replay files with a progress bar."""
    said = read_controls(controls) if controls is not None else []
    runner = Replay(config, observer=observer)
    with records_of(files, "replay") as records:
        runner.feed(with_controls(records, said))
    return runner.finish()


def replay_calls_topic(config: Config, since: str | None, until: str | None, observer: Observer | None) -> ReplayResult:
    """Replay a topic with a progress bar."""
    from .from_topic import replay_topic

    runner = Replay(config, observer=observer)
    replay_topic(runner, config.kafka, since, until)
    return runner.finish()


def read_controls(path: Path) -> list[ControlRecord]:
    """Control records of a file that a person names; ends where a line is none."""
    found: list[ControlRecord] = []
    with records_of([str(path)], "controls", allow_controls=True) as records:
        for record in records:
            if isinstance(record, Reject):
                fail(f"{record.position}: {record.reason}: {record.detail}")
            if isinstance(record, ModelCall):
                fail(f"{path}: holds a model call; controls are {', '.join(c.__name__ for c in (*PRIVILEGED, Score))}")
            found.append(record)
    return found


def refusal_counts(result: ReplayResult) -> str:
    """Why records were refused, in words."""
    if not result.refused:
        return ""
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(result.refused.items()))
    first = f" (first: {result.rejects[0].position}: {result.rejects[0].detail})" if result.rejects else ""
    return f"; refused: {listed}{first}"


def show_result(result: ReplayResult, report: Path | None) -> None:
    """Print a result for a person."""
    incidents = result.incidents()
    paged = sum(incident.paged_at is not None for incident in incidents)
    if result.first_time is not None and result.last_time is not None:
        console.print(
            f"[bold]{result.calls:,} calls[/] of {result.scopes:,} scopes, {when(result.first_time)} to "
            f"{when(result.last_time)}: [bold]{len(incidents)} incidents[/], {paged} would have paged."
        )
    if incidents:
        show_incidents(incidents)
    visible_table(result)
    ledger = result.ledger
    if ledger is not None and result.calls:
        console.print(
            f"Budget: {ledger.pages_per_week:g} false pages a week; allowed so far {ledger.allowance:.2f}, "
            f"counted {ledger.counted}, confirmed {ledger.confirmed}, waiting {ledger.waiting}, h {ledger.h:.2f}."
        )
    warn_left_out(result)
    if report is not None:
        console.print(f"Report: {report}")


def show_incidents(incidents: list[ReplayedIncident]) -> None:
    """The incidents, each a line of facts and its sentence."""
    for incident in incidents[:MAX_LINES]:
        first, last, peak = incident.alerts[0], incident.last, incident.peak
        state, colour = ("notice", "dim")
        if incident.paged_at is not None or incident.joined:
            state, colour = ("PAGE", "bold red") if incident.paged_at is not None else ("joined", "red")
        ended = f"{last.resolution} {when(last.resolved_at)}" if last.resolved_at is not None else "still open"
        facts = f"{when(first.opened_at)}  {escape_text(scope_path(first.scope))}  1 in {peak.level:.1e} calls, {ended}"
        console.print(f"[{colour}]{state:6}[/] {facts}", soft_wrap=True)
        console.print(Padding(escape_text(peak.verdict.sentence), (0, 0, 0, 7)))
    if len(incidents) > MAX_LINES:
        console.print(f"... and {len(incidents) - MAX_LINES} more")


def visible_table(result: ReplayResult) -> None:
    """The smallest lasting shift that each signal can show, over the scopes: median and worst."""
    shifts: dict[tuple[str, str], list[float]] = {}
    for summary in result.summaries.values():
        for signal in summary.signals:
            if signal.visible is not None and signal.channel not in ("identity", "coverage"):
                shifts.setdefault((signal.name, signal.unit), []).append(signal.visible)
    if not shifts:
        return
    parts = []
    for (name, unit), values in sorted(shifts.items()):
        values.sort()
        parts.append(f"{name} {visible_text(values[len(values) // 2], unit)}")
    console.print("Smallest lasting shift that can be seen (median scope): " + ", ".join(parts) + ".")


def warn_left_out(result: ReplayResult) -> None:
    """Say what was left out, and why."""
    if result.refused:
        errors.print(f"refused {sum(result.refused.values()):,} records{refusal_counts(result)[1:]}", markup=False)
    late = result.left_out.get("late", 0)
    if late:
        errors.print(
            f"{late:,} calls were more than 7 days older than a call before them and were left out; is the file sorted?"
        )
    repeated = result.left_out.get("duplicate_id", 0)
    if repeated:
        errors.print(f"{repeated:,} calls repeat the id of a recent call of their scope and were left out")
    if result.dropped_scopes:
        errors.print(
            f"{result.dropped_scopes:,} scopes were dropped from memory (watch.max_scopes); their baselines are lost"
        )
    say_unmeasured(result.unmeasured)


def to_json(result: ReplayResult) -> dict[str, Any]:
    """The result as `--json` prints it."""
    return {
        "calls": result.calls,
        "scopes": result.scopes,
        "first_time": result.first_time,
        "last_time": result.last_time,
        "incidents": [
            {
                "dedup_key": incident.last.dedup_key,
                "paged_at": incident.paged_at,
                "joined": incident.joined,
                "peak": incident.peak,
                "last": incident.last,
            }
            for incident in result.incidents()
        ],
        "ledger": result.ledger,
        "summaries": list(result.summaries.values()),
        "refused": dict(sorted(result.refused.items())),
        "rejects": result.rejects[:100],
        "left_out": dict(sorted(result.left_out.items())),
        "dropped_scopes": result.dropped_scopes,
        "unmeasured": result.unmeasured,
    }
