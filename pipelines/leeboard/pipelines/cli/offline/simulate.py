"""`leeboard simulate`: traffic with known causes."""

import sys
from pathlib import Path

import click
import msgspec
from leeboard.pipelines.cli.common import fail, write_file
from leeboard.pipelines.simulate import CAUSES, MAX_DAYS, default_scenario, simulate, truth
from leeboard.schemas import encode

#: calls written at once
BLOCK = 2000


@click.command("simulate")
@click.option("--days", type=click.FloatRange(0.01, MAX_DAYS), default=7.0, show_default=True, help="Simulated time.")
@click.option("--calls-a-day", type=click.IntRange(10, 10_000_000), default=20_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--cause", "causes", multiple=True, metavar="NAME", help=f"One of: {', '.join(CAUSES)}. Repeat; or: none."
)
@click.option("--no-text", is_flag=True, help="Leave input and output texts out.")
@click.option("--truth", "truth_path", type=click.Path(path_type=Path), help="Write what really happened (JSON).")
def simulate_command(
    days: float, calls_a_day: int, seed: int, causes: tuple[str, ...], no_text: bool, truth_path: Path | None
) -> None:
    """Write calls of eight applications as JSONL: daily cycle, slow variation, and injected causes.

    They go to standard output; the same options give the same bytes.
    """
    chosen: tuple[str, ...] | None = () if causes == ("none",) else causes or None
    unknown = [name for name in chosen or () if name not in CAUSES]
    if unknown:
        fail(f"--cause {unknown[0]}: there is none of that name; known: {', '.join(CAUSES)}")
    scenario = default_scenario(seed, days, calls_a_day, causes=chosen, text=not no_text)
    if truth_path is not None:
        write_file(truth_path, msgspec.json.format(msgspec.json.encode(truth(scenario)), indent=2) + b"\n")
    lines: list[bytes] = []
    try:
        for call in simulate(scenario):
            lines.append(encode(call))
            if len(lines) == BLOCK:
                sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
                lines = []
        sys.stdout.buffer.write(b"".join(line + b"\n" for line in lines))
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has had enough: `leeboard simulate | head`
        sys.stderr.close()
