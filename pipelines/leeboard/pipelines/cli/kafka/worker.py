"""`leeboard worker`: stages of the Kafka runtime."""

import sys
from pathlib import Path

import click
from leeboard.pipelines.cli.common import config_option, fail, read_config
from leeboard.pipelines.cli.times import parse_time
from leeboard.pipelines.kafka.worker.process import Refusal
from leeboard.pipelines.kafka.worker.run import StageSupervisor, run_stage, start_logging
from leeboard.pipelines.topics import STAGE_NAMES


@click.command()
@click.option(
    "--stages",
    default=",".join(STAGE_NAMES),
    show_default=True,
    help="One stage runs in this process; several each in a process of their own.",
)
@click.option(
    "--warm-from",
    metavar="TIME",
    help="Where there is no state: learn baselines from calls since then (RFC 3339, or 7d), without alerts.",
)
@config_option
def worker(stages: str, warm_from: str | None, config_path: Path | None) -> None:
    """Run stages on Kafka: normalise, watch, gate. Start more workers to scale; SIGTERM stops one cleanly.

    Exit codes: 0 stopped; 2 configuration, topics, rights or the broker's address; 70-76 "start me again" (fenced,
    checkpoint, seek, engine, send, crash, stuck): any supervisor will do, and nothing is lost meanwhile.
    """
    names = [name.strip() for name in stages.split(",") if name.strip()]
    unknown = [name for name in names if name not in STAGE_NAMES]
    if unknown or not names:
        fail(f"--stages: {', '.join(unknown) or 'none'}; known: {', '.join(STAGE_NAMES)}")
    chosen = [stage for stage in STAGE_NAMES if stage in names]
    warm_from_ms = None
    if warm_from is not None:
        try:
            warm_from_ms = parse_time(warm_from)
        except ValueError:
            fail(f"--warm-from: {warm_from!r} is neither a time (RFC 3339) nor a number of days such as 7d")
    config = read_config(config_path)
    if len(chosen) > 1:
        start_logging()
        path = str(config_path) if config_path is not None else None
        sys.exit(StageSupervisor(chosen, path, config.kafka.http_port, warm_from).run())
    try:
        run_stage(config, chosen[0], warm_from_ms)
    except Refusal as refusal:
        fail(str(refusal))
