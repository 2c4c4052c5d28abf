"""`leeboard state`: what the state topic holds."""

from pathlib import Path
from typing import Literal

import click
from leeboard.pipelines.cli.common import config_option, console, fail, json_option, print_json, read_config
from leeboard.pipelines.kafka.operate.lag import stage_members
from leeboard.pipelines.kafka.operate.state_listing import drop_state, stored_state
from rich.table import Table

from .broker import administration, reading

KB = 1024


@click.group()
def state() -> None:
    """List the state of the scopes, or drop it."""


@state.command(name="ls")
@click.option("--scopes", is_flag=True, help="Every scope, largest first.")
@config_option
@json_option
def list_state(scopes: bool, config_path: Path | None, as_json: bool) -> None:
    """Positions, scopes and bytes of every partition, as a restore would find them."""
    settings = read_config(config_path).kafka
    with reading(settings) as consumer:
        found = stored_state(consumer, settings)
    if as_json:
        print_json(found)
        return
    if scopes:
        table = Table("scope", "partition", "KB", "parts", box=None)
        listed = [(scope, partition.partition) for partition in found for scope in partition.scopes.values()]
        for scope, number in sorted(listed, key=lambda item: -item[0].bytes):
            table.add_row(scope.scope, str(number), f"{scope.bytes / KB:.1f}", str(scope.parts))
    else:
        table = Table("partition", "done", "base", "scopes", "KB", box=None)
        for part in found:
            positions = ("-" if at is None else f"{at:,}" for at in (part.done, part.base))
            table.add_row(str(part.partition), *positions, f"{len(part.scopes):,}", f"{part.bytes / KB:,.0f}")
    console.print(table, markup=False)


@state.command("drop")
@click.option("--stage", type=click.Choice(["watch", "gate"]), default="watch", show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def state_drop(stage: Literal["watch", "gate"], yes: bool, config_path: Path | None) -> None:
    """Delete the state of a stage, of which no worker may run.

    The next worker begins at the start of its topic and publishes what it finds there, or learns without alerts with
    `worker --warm-from`.
    """
    settings = read_config(config_path).kafka
    topic = settings.topics.state if stage == "watch" else settings.topics.gate_state
    with administration(settings) as admin:
        running = stage_members(admin, settings)[stage]
        if running:
            fail(f"{running} processes of stage {stage} are running: stop them first")
        if not yes:
            click.confirm(f"Delete everything in {topic}?", abort=True)
        with reading(settings) as consumer:
            count = drop_state(consumer, settings, topic)
        admin.delete_groups([settings.group(stage)])
    console.print(f"{count:,} keys of {topic} deleted, and the positions of {settings.group(stage)}", markup=False)
