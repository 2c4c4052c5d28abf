"""`leeboard lag`: how far the stages are behind."""

from pathlib import Path

import click
from leeboard.pipelines.cli.common import config_option, console, json_option, print_json, read_config
from leeboard.pipelines.kafka.operate.lag import partition_lags, stage_members
from rich.table import Table

from .broker import administration


@click.command()
@click.option("--partitions", is_flag=True, help="Every partition, not only topics.")
@config_option
@json_option
def lag(partitions: bool, config_path: Path | None, as_json: bool) -> None:
    """Records that each stage has still to take, and how many processes it has.

    The gate's lag on the topic of alerts is 1 when it has taken everything: the marker of the last transaction.
    """
    settings = read_config(config_path).kafka
    with administration(settings) as admin:
        found, running = partition_lags(admin, settings), stage_members(admin, settings)
    if as_json:
        print_json({"members": running, "partitions": found})
        return
    table = Table("stage", "processes", "topic", "lag", box=None)
    rows: dict[tuple[str, str], int] = {}
    for one in found:
        name = f"{one.topic}/{one.partition}" if partitions else one.topic
        rows[one.stage, name] = rows.get((one.stage, name), 0) + one.lag
    for (stage, name), behind in rows.items():
        table.add_row(stage, str(running[stage]), name, f"{behind:,}")  # type: ignore[index]
    console.print(table)
