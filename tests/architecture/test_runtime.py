"""The stages need no broker: nothing in `runtime` imports a Kafka client, Faust, or the room that does."""

import subprocess
import sys

import pytest

from tests.architecture.rooms import modules
from tests.architecture.test_architecture import imported, package_of, parsed

ROOM = "leeboard.pipelines.runtime"
#: what only a runtime with brokers needs; `config` knows all of it
FORBIDDEN = ("kafka", "aiokafka", "faust", "leeboard.pipelines.kafka", "leeboard.pipelines.config")
#: imports modules while those that are forbidden cannot be imported
WITHOUT = """
import importlib, sys
forbidden = sys.argv[1].split(",")
sys.modules.update(dict.fromkeys(forbidden))
for module in sys.argv[2:]:
    importlib.import_module(module)
print(*sorted(name for name in sys.modules if name.startswith(tuple(f"{one}." for one in forbidden))))
"""


def room() -> list[str]:
    return [name for name in modules() if name == ROOM or name.startswith(f"{ROOM}.")]


def test_no_module_of_it_imports_a_client_of_brokers() -> None:
    known = modules()
    found = {name: imported(parsed(known[name]), package_of(known[name])) for name in room()}
    assert len(found) > 10
    wrong = {
        f"{module} imports {name}"
        for module, names in found.items()
        for name in names
        if any(name == one or name.startswith(f"{one}.") for one in FORBIDDEN)
    }
    assert not wrong


def test_every_module_of_it_can_be_imported_without_them() -> None:
    command = [sys.executable, "-c", WITHOUT, ",".join(FORBIDDEN), *room()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("above", ["worker", "operate"])
def test_settings_and_clients_of_kafka_stand_below_workers_and_operators(above: str) -> None:
    known = modules()
    below = [name for name in known if name.rpartition(".")[0] == "leeboard.pipelines.kafka"]
    assert "leeboard.pipelines.kafka.clients" in below
    below.remove(f"leeboard.pipelines.kafka.{above}")
    for name in below:
        if known[name].name != "__init__.py":
            names = imported(parsed(known[name]), package_of(known[name]))
            assert not {one for one in names if one.startswith(f"leeboard.pipelines.kafka.{above}")}, name
