"""`leeboard topics`: the topics of the Kafka runtime."""

from pathlib import Path

import click
from leeboard.pipelines.cli.common import (
    EXIT_FINDING,
    config_option,
    console,
    json_option,
    print_json,
    read_config,
)
from leeboard.pipelines.kafka.operate.acl import control_acl_problem
from leeboard.pipelines.kafka.operate.topics import apply_topics, problems

from .broker import administration


@click.group()
def topics() -> None:
    """Create and check the topics."""


@topics.command("apply")
@config_option
@json_option
def topics_apply(config_path: Path | None, as_json: bool) -> None:
    """Create the topics that are missing, and set what is configured otherwise.

    Never touches data or partitions.
    """
    settings = read_config(config_path).kafka
    with administration(settings) as admin:
        done = apply_topics(admin, settings)
    if as_json:
        print_json([{"topic": item.name, "done": item.done} for item in done])
        return
    for item in done:
        console.print(f"{item.name}: {item.done}", markup=False)


@topics.command("check")
@config_option
@json_option
def topics_check(config_path: Path | None, as_json: bool) -> None:
    """Check that topics and the guard of the control topic are as they must be. Exit code 1: something is not."""
    settings = read_config(config_path).kafka
    with administration(settings) as admin:
        found = problems(admin, settings)
        acl = control_acl_problem(admin, settings)
    found += [acl] if acl is not None else []
    if as_json:
        print_json(found)
    for line in () if as_json else found or ["all topics are as they must be"]:
        console.print(line, markup=False, soft_wrap=True)
    if found:
        raise SystemExit(EXIT_FINDING)
