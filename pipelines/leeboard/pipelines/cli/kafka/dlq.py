"""`leeboard dlq`: dead letters."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click
from leeboard.pipelines.cli.common import (
    config_option,
    console,
    escape_text,
    fail,
    json_option,
    print_json,
    read_config,
)
from leeboard.pipelines.cli.times import parse_time
from leeboard.pipelines.kafka.operate.dead_letters import list_dead_letters, replay_dead_letters
from rich.table import Table

from .broker import reading

#: dead letters shown
MOST_SHOWN = 50

reason_option = click.option("--reason", "reasons", multiple=True, help="Only these reasons; may be repeated.")
since_option = click.option("--since", metavar="TIME", help="Only dead letters since then (RFC 3339, or 7d).")


def since_ms(text: str | None) -> int:
    """Epoch ms of `--since`; 0 where it is not given."""
    try:
        return parse_time(text) if text is not None else 0
    except ValueError:
        fail(f"--since: {text!r} is neither a time (RFC 3339) nor a number of days such as 7d")


@click.group()
def dlq() -> None:
    """List dead letters, or send their records again."""


@dlq.command(name="ls")
@reason_option
@since_option
@config_option
@json_option
def list_letters(reasons: tuple[str, ...], since: str | None, config_path: Path | None, as_json: bool) -> None:
    """Dead letters by reason, and the newest of them."""
    settings = read_config(config_path).kafka
    with reading(settings) as consumer:
        found = sorted(
            list_dead_letters(consumer, settings, reasons, since_ms(since)), key=lambda letter: letter.time_ms
        )
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("no dead letters")
        return
    counts = Counter(letter.reject.reason for letter in found)
    console.print(", ".join(f"{count:,} {reason}" for reason, count in counts.most_common()))
    table = Table("when", "position", "reason", "detail", box=None)
    for letter in found[-MOST_SHOWN:]:
        when = datetime.fromtimestamp(letter.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(when, letter.reject.position, letter.reject.reason, escape_text(letter.reject.detail))
    console.print(table)


@dlq.command("replay")
@reason_option
@since_option
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@config_option
@json_option
def dlq_replay(
    reasons: tuple[str, ...], since: str | None, dry_run: bool, config_path: Path | None, as_json: bool
) -> None:
    """Send the original records of dead letters again, as far as their topics still hold them.

    For records that a newer version reads. What is refused again becomes a new dead letter.
    """
    settings = read_config(config_path).kafka
    with reading(settings) as consumer:
        found = list(list_dead_letters(consumer, settings, reasons, since_ms(since)))
        done = replay_dead_letters(consumer, settings, found, dry_run=dry_run)
    if as_json:
        print_json({"sent": done.sent, "left": done.left})
        return
    console.print(f"{'would send' if dry_run else 'sent'} {len(done.sent):,} records again")
    for why, count in Counter(done.left.values()).items():
        console.print(f"left {count:,}: {why}", markup=False)
