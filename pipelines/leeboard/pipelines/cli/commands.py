"""The commands, gathered."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

import click
from leeboard.pipelines.measure import EmbedderError

from .common import fail
from .config import check_config
from .offline.compare import compare
from .offline.demo import demo
from .offline.replay import replay
from .offline.simulate import simulate

#: commands on Kafka, some of which need the extra `worker`: loaded when they are asked for
LATE = ("alerts", "dlq", "lag", "notify", "produce", "state", "topics", "worker")


class Commands(click.Group):
    """The command group; what runs on Kafka is loaded when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted([*super().list_commands(ctx), *LATE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name in LATE:
            command: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
            return command
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command named; an embedder that is not to be had ends it with what is missing."""
        try:
            return super().invoke(ctx)
        except EmbedderError as error:
            fail(str(error))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("leeboard"), prog_name="leeboard")
def cli() -> None:
    """Streaming drift detection for AI model calls.

    Exit codes: 0 fine, 1 finding (incidents, regression), 2 usage or configuration, 3 could not measure.
    """


for command in (replay, compare, simulate, demo, check_config):
    cli.add_command(command)
