"""`leeboard demo`: simulated applications, causes injected on the way, and what was found."""

from pathlib import Path

import click
from leeboard.pipelines.cli.common import console, escape_text, fail, write_file
from leeboard.pipelines.config import Config
from leeboard.pipelines.evaluate import FoundCause, find
from leeboard.pipelines.replay import Replay, ReplayedIncident
from leeboard.pipelines.report import Recorder, write_report
from leeboard.pipelines.simulate import demo_scenario, simulate, truth
from leeboard.pipelines.units import DAY_MS, MINUTE_MS
from leeboard.pipelines.wording import scope_path, when
from rich.padding import Padding
from rich.table import Table

from .replay import show_incidents


@click.command()
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("leeboard-demo.html"),
    show_default=True,
    help="Where the HTML page goes.",
)
def demo(seed: int, report: Path) -> None:
    """Ten simulated days of eight applications in one process: what was injected, what was found, and a report.

    Exit code 1: a cause was missed.
    """
    scenario = demo_scenario(seed)
    config = Config()
    recorder = Recorder()
    runner = Replay(config, observer=recorder.observe)
    console.print(f"Simulating {len(scenario.apps)} applications over {scenario.duration_ms / DAY_MS:.0f} days ...")
    printed = 0
    calls = list(simulate(scenario))
    for at in range(0, len(calls), 1000):
        runner.feed(calls[at : at + 1000])
        for alert in runner.result.alerts[printed:]:
            if alert.status == "trigger":
                console.print(f"[bold]{when(alert.time)}  {escape_text(scope_path(alert.scope))}[/]")
                console.print(Padding(escape_text(alert.verdict.sentence), (0, 0, 0, 2)))
        printed = len(runner.result.alerts)
    result = runner.finish()
    incidents = result.incidents()
    found, rest = find(truth(scenario), incidents)
    console.print()
    console.print(found_table(found))
    others(rest)
    write_file(report, write_report(result, recorder, config).encode())
    console.print(f"\n{result.calls:,} calls, {len(incidents)} incidents. Open the report in a browser: {report}")
    if any(item.incident is None for item in found if item.cause.answers):
        fail("a cause was missed", 1)


def found_table(found: list[FoundCause]) -> Table:
    """Injected causes against what was found."""
    table = Table(box=None, pad_edge=False, header_style="bold", title="Injected, and found", title_justify="left")
    for column in ("injected", "where", "when", "result"):
        table.add_column(column, no_wrap=column != "result")
    for item in found:
        cause = item.cause
        if cause.answers:
            result = "[bold red]MISSED[/]"
            if item.delay_ms is not None:
                paged = ", paged" if item.paged else ""
                result = f"found after {item.calls:,} calls ({item.delay_ms / MINUTE_MS:,.0f} min){paged}"
        else:
            result = "rightly silent" if item.incident is None else "[bold red]FALSE[/]"
        table.add_row(cause.cause, scope_path(cause.scope).rpartition("/")[2], when(cause.start_ms), result)
    return table


def others(rest: list[ReplayedIncident]) -> None:
    """Incidents that belong to no cause."""
    if rest:
        console.print("\nWithout an injected cause:")
        show_incidents(rest)
    else:
        console.print("\nNo incident without an injected cause.")
