"""A light start: commands load when they are called, and what emits or pages loads nothing numeric."""

import inspect
import json
import subprocess
import sys
from importlib import import_module

import click
import pytest
from leeboard.pipelines.cli import commands

HEAVY = {"numpy", "numba", "scipy", "faust", "torch"}
#: imports modules, or runs a command line; prints packages that were loaded, CPU seconds and MB at most
PROBE = """
import importlib, json, os, resource, sys
what = sys.argv[1:]
if what[0] == "leeboard":
    from leeboard.pipelines.cli import main
    sys.argv, output = what, os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, ended.code
    sys.stdout.flush()
    os.dup2(output, 1)
else:
    for name in what:
        importlib.import_module(name)
used = resource.getrusage(resource.RUSAGE_SELF)
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([packages, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
#: what `leeboard notify` runs, with every sink made
NOTIFY = """
from leeboard.pipelines.config import load
from leeboard.pipelines.notify.sinks import make_sink
import leeboard.pipelines.cli.people.notify, base64, json, sys
kinds = '{a={type="pagerduty"},b={type="slack"},c={type="webhook",url="https://x.example"},d={type="alertmanager",url="http://x:9093"}}'
secrets = {"a": "a" * 32, "b": "https://hooks.example/x", "c": base64.b64encode(bytes(32)).decode(), "d": ""}
for name, settings in load(None, {"LEEBOARD__NOTIFY__SINKS": kinds}).notify.sinks.items():
    make_sink(settings, secrets[name])
packages = sorted({name.partition(".")[0] for name in sys.modules})
# not ru_maxrss: until the new program begins, that is the memory of the process that started it
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([packages, 0.0, peak_kb / 1024]))
"""
#: tries: the machine may be busy with something else. CPU time is measured, not the clock, but cores that are shared
#: make it longer as well: a figure counts as missed at twice its value
TRIES, NOISE = 5, 2.0


def probe(*arguments: str, code: str = PROBE) -> tuple[set[str], float, float]:
    """Packages, CPU seconds, MB."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    packages, cpu_s, memory_mb = json.loads(done.stdout)
    return set(packages), cpu_s, memory_mb


@pytest.mark.parametrize(
    "arguments",
    [
        ("leeboard.schemas",),
        ("leeboard.pipelines.producer",),
        ("leeboard.pipelines.signals", "leeboard.pipelines.wording", "leeboard.pipelines.config"),
        ("leeboard", "--help"),
        ("leeboard", "--version"),
        ("leeboard", "check-config"),
        *(("leeboard", name, "--help") for name in ("alerts", "dlq", "lag", "notify", "produce", "state", "topics")),
    ],
    ids=" ".join,
)
def test_it_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    packages, _, _ = probe(*arguments)
    assert {"leeboard"} <= packages
    assert not packages & HEAVY


def test_the_probe_sees_what_is_loaded() -> None:
    packages, cpu_s, memory_mb = probe("numpy", "leeboard.schemas")
    assert packages & HEAVY == {"numpy"}
    assert cpu_s > 0.01
    assert memory_mb > 5


def test_notify_with_every_sink_is_small_and_loads_nothing_heavy() -> None:
    packages, _, memory_mb = probe(code=NOTIFY)
    print(f"notify: {memory_mb:.0f} MB")
    assert {"pagerduty", "slack_sdk", "kafka", "prometheus_client"} <= packages
    assert not packages & HEAVY
    assert memory_mb < 80


@pytest.mark.parametrize(("arguments", "most_s"), [(("leeboard", "--help"), 0.3), (("leeboard", "lag", "--help"), 1.0)])
def test_it_starts_quickly(arguments: tuple[str, ...], most_s: float) -> None:
    fastest = float("inf")
    for _ in range(TRIES):
        fastest = min(fastest, probe(*arguments)[1])
        if fastest < most_s:
            break
    print(f"{' '.join(arguments)}: {fastest:.2f} s of CPU")
    assert fastest < NOISE * most_s


def test_the_table_of_commands_is_true() -> None:
    for name, entry in commands.COMMANDS.items():
        command = getattr(import_module(f"leeboard.pipelines.cli.{entry.module}"), entry.function)
        assert isinstance(command, click.Command)
        assert command.name == name
        assert command.callback is not None
        assert inspect.getdoc(command.callback) is not None
        assert str(inspect.getdoc(command.callback)).splitlines()[0] == entry.help, name


def test_help_lists_every_command_with_its_help() -> None:
    text = commands.cli.get_help(click.Context(commands.cli, info_name="leeboard", terminal_width=200))
    for name, entry in commands.COMMANDS.items():
        assert f"  {name} " in text
        assert entry.help in " ".join(text.split())
