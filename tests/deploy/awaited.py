"""What deploy already uses and other parts are still bringing; each goes from here when it arrives (a test insists)."""

from importlib.util import find_spec

import click
from longshore.pipelines.cli.commands import cli

#: command -> why
COMMANDS = {
    "notify": "feeds the pagers; is being written",
    "produce": "sends files to Kafka; is being written",
}
#: metric -> its labels; those of notify
METRICS = {
    "longshore_notify_deliveries_total": {"sink", "result"},
    "longshore_notify_queue_depth": {"sink"},
    "longshore_notify_oldest_undelivered_seconds": {"sink"},
    "longshore_notify_stalled": set[str](),
    "longshore_notify_unreachable": set[str](),
    "longshore_notify_dead_letters_total": {"reason"},
    "longshore_notify_delivery_seconds_bucket": {"sink", "le"},
}
#: first part of configuration keys -> why
SECTIONS = {"notify": "the section [notify]; is being written"}
NOTIFY_METRICS = "longshore.pipelines.notify.metrics"


def has_command(name: str) -> bool:
    """Is the command there?"""
    return cli.get_command(click.Context(cli), name) is not None


def has_notify() -> bool:
    """Are notify and its metrics there?"""
    try:
        return find_spec(NOTIFY_METRICS) is not None
    except ModuleNotFoundError:
        return False
