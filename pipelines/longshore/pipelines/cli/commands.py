"""The commands, gathered."""

from importlib.metadata import version

import click

from .compare import compare
from .config import check_config
from .demo import demo
from .replay import replay
from .simulate import simulate


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("longshore"), prog_name="longshore")
def cli() -> None:
    """Streaming drift detection for AI model calls.

    Exit codes: 0 fine, 1 finding (incidents, regression), 2 usage or configuration, 3 could not measure.
    """


for command in (replay, compare, simulate, demo, check_config):
    cli.add_command(command)
