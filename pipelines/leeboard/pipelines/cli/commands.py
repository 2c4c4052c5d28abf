"""The commands by name; what a command needs is loaded when it is called."""

from importlib import import_module
from typing import Any, NamedTuple

import click


class LateCommand(NamedTuple):
    """Where a command is, and the first line of its help."""

    module: str
    function: str
    help: str


COMMANDS = {
    "alerts": LateCommand("people.alerts", "alerts", "Alerts of the fleet."),
    "check-config": LateCommand(
        "config",
        "check_config",
        "Validate a configuration and print it resolved, without secrets: file, environment and defaults together.",
    ),
    "compare": LateCommand(
        "offline.compare",
        "compare_command",
        "Compare the calls of two files (versions, prompts, models): effect, interval and verdict of each signal.",
    ),
    "demo": LateCommand(
        "offline.demo",
        "demo",
        "Ten simulated days of eight applications in one process: what was injected, what was found, and a report.",
    ),
    "dlq": LateCommand("kafka.dlq", "dlq", "List dead letters, or send their records again."),
    "lag": LateCommand("kafka.lag", "lag", "Records that each stage has still to take, and how many processes it has."),
    "notify": LateCommand(
        "people.notify",
        "notify",
        "Feed pagers and chats from the topics `pages` and `alerts`, until SIGTERM or Ctrl-C.",
    ),
    "produce": LateCommand(
        "kafka.produce",
        "produce",
        "Send calls to the first raw topic: JSONL, gzipped or not; - is standard input.",
    ),
    "replay": LateCommand(
        "offline.replay",
        "replay_command",
        "Run the engine over past calls: JSONL, gzipped or not (- is standard input), or the topic of measured calls.",
    ),
    "simulate": LateCommand(
        "offline.simulate",
        "simulate_command",
        "Write calls of eight applications as JSONL: daily cycle, slow variation, and injected causes.",
    ),
    "state": LateCommand("kafka.state", "state", "List the state of the scopes, or drop it."),
    "topics": LateCommand("kafka.topics", "topics", "Create and check the topics."),
    "worker": LateCommand(
        "kafka.worker",
        "worker",
        "Run stages on Kafka: normalise, watch, gate. Start more workers to scale; SIGTERM stops one cleanly.",
    ),
}


class LateGroup(click.Group):
    """A group whose commands are loaded when they are called; its help is written from COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command by its name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f".{entry.module}", __package__), entry.function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command named; an embedder that is not to be had ends it with what is missing."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from leeboard.pipelines.measure.settings import EmbedderError

            if not isinstance(error, EmbedderError):
                raise
            from .common import fail

            fail(str(error))


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="leeboard", prog_name="leeboard")
def cli() -> None:
    """Streaming drift detection for AI model calls.

    Exit codes: 0 fine, 1 finding (incidents, regression), 2 usage or configuration, 3 could not measure.
    """
