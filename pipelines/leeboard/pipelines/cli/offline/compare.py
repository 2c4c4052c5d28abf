"""`leeboard compare`: two sets of calls, one verdict a signal."""

import sys
from collections import Counter
from pathlib import Path

import click
from leeboard.pipelines.cli.common import (
    EXIT_NOT_MEASURED,
    config_option,
    console,
    errors,
    fail,
    json_option,
    print_json,
    read_config,
)
from leeboard.pipelines.cli.reading import records_of, say_unmeasured
from leeboard.pipelines.compare import CompareSettings, Comparison, SignalComparison, compare
from leeboard.pipelines.config import Config
from leeboard.pipelines.measure.measurer import Measurer
from leeboard.schemas import Observation, Reject
from rich.table import Table

COLOURS = {"worse": "red", "better": "green", "changed": "yellow", "no_difference_shown": "", "too_few_calls": "dim"}


@click.command("compare")
@click.argument("base")
@click.argument("candidate")
@config_option
@click.option("--lower-is-better", multiple=True, metavar="SCORE", help="A score of which less is better. Repeat.")
@json_option
def compare_command(
    base: str, candidate: str, config_path: Path | None, lower_is_better: tuple[str, ...], as_json: bool
) -> None:
    """Compare the calls of two files (versions, prompts, models): effect, interval and verdict of each signal.

    Calls with equal inputs are compared in pairs. Exit code 0: nothing is worse; 1: something is; 3: too few calls.
    """
    config = read_config(config_path)
    settings = CompareSettings()
    if lower_is_better:
        settings = CompareSettings(lower_is_better=(*settings.lower_is_better, *lower_is_better))
    if base == candidate == "-":
        fail("standard input (-) can be read only once")
    result = compare(observations(config, base), observations(config, candidate), settings)
    if as_json:
        print_json(result)
    else:
        show_comparison(result)
    sys.exit(result.exit_code)


def observations(config: Config, path: str) -> list[Observation]:
    """The measured calls of a file; refused lines are counted on standard error."""
    measurer = Measurer(config.measure())
    refused: Counter[str] = Counter()
    found: list[Observation] = []
    with records_of([path], path) as records:
        for record in measurer.measure_all(records):
            if isinstance(record, Observation):
                found.append(record)
            elif isinstance(record, Reject):
                refused[record.reason] += 1
    if refused:
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
        errors.print(f"{path}: refused {listed}", markup=False)
    say_unmeasured(measurer.counts)
    if not found:
        fail(f"{path}: no call could be read", EXIT_NOT_MEASURED)
    return found


def show_comparison(result: Comparison) -> None:
    """Print a comparison for a person."""
    console.print(
        f"{result.n_base:,} calls against {result.n_candidate:,}: [bold]{result.verdict}[/]. {result.sentence}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("signal", "verdict", "before", "after", "effect", "interval", "calls"):
        table.add_column(column, justify="left" if column in ("signal", "verdict") else "right")
    for signal in result.signals:
        colour = COLOURS[signal.verdict]
        verdict = signal.verdict.replace("_", " ")
        table.add_row(
            signal.name,
            f"[{colour}]{verdict}[/]" if colour else verdict,
            number(signal.before),
            number(signal.after),
            effect(signal, signal.effect),
            f"{effect(signal, signal.low)} to {effect(signal, signal.high)}" if signal.low is not None else "",
            f"{signal.pairs:,} pairs" if signal.paired else f"{signal.n_base:,} / {signal.n_candidate:,}",
        )
    console.print(table)


def number(value: float | None) -> str:
    """Four digits."""
    return "" if value is None else f"{value:.4g}"


def effect(signal: SignalComparison, value: float | None) -> str:
    """A ratio as a percentage, anything else with four digits."""
    if value is None:
        return ""
    return f"{value:+.1%}" if signal.effect_kind == "ratio" else f"{value:+.4g}"
