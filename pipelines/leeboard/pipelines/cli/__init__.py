"""The command `leeboard`. Importable with the base install: what is missing for a command is named."""

import sys

#: import name -> the extra that brings it
EXTRAS = {
    **dict.fromkeys(
        ("click", "rich", "numpy", "scipy", "numba", "river", "jinja2", "plotly", "genai_prices", "tomli_w"),
        "detectors",
    ),
    **dict.fromkeys(("prometheus_client", "pagerduty", "slack_sdk", "standardwebhooks"), "serve"),
    **dict.fromkeys(("faust", "aiokafka", "aiohttp"), "worker"),
}


def main() -> None:
    """Run the command line; exit codes: 0 fine, 1 finding, 2 usage or configuration, 3 could not measure."""
    try:
        from .commands import cli

        cli()
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(f"leeboard: this needs {error.name}: pip install 'leeboard[{extra}]'", file=sys.stderr)
        sys.exit(2)
