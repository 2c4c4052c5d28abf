"""docs/NOTIFY.md says what is so."""

import re
from pathlib import Path
from typing import get_args

from leeboard.pipelines.config import load
from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics
from leeboard.pipelines.notify.settings import secrets_of
from leeboard.pipelines.notify.sinks import SinkSettings
from prometheus_client import generate_latest

from .sinks import ROUTING_KEY, SIGNING_KEY

DOCS = Path(__file__).parents[3] / "docs" / "NOTIFY.md"


def fenced(language: str) -> str:
    """The one block in that language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(block)


def test_the_example_is_a_configuration_with_every_sink_and_its_secrets_come_from_where_it_says(tmp_path: Path) -> None:
    secret = tmp_path / "ticket"
    secret.write_text(SIGNING_KEY)
    path = tmp_path / "leeboard.toml"
    path.write_text(fenced("toml").replace("/run/secrets/ticket", str(secret)))
    values = {"ONCALL__ROUTING_KEY": ROUTING_KEY, "CHAT__WEBHOOK_URL": "https://hooks.slack.example/x"}
    named = {f"LEEBOARD__NOTIFY__SINKS__{name}": value for name, value in values.items()}
    assert all(f"`{variable}`" in DOCS.read_text(encoding="utf-8") for variable in named)
    notify = load(path, named).notify
    assert {type(sink) for sink in notify.sinks.values()} == {*get_args(SinkSettings)}
    assert {route.sink for route in notify.routes} == {*notify.sinks}
    assert secrets_of(notify.sinks) == {
        "oncall": ROUTING_KEY,
        "chat": "https://hooks.slack.example/x",
        "alertmanager": "",
        "ticket": SIGNING_KEY,
    }


def test_every_metric_is_explained_and_every_explained_metric_exists() -> None:
    told = set(re.findall(r"`(leeboard_notify_\w+)", DOCS.read_text(encoding="utf-8")))
    exported = re.findall(r"^# TYPE (\S+) ", generate_latest(NotifyMetrics(["x"]).registry).decode(), re.MULTILINE)
    assert {name for name in exported if not name.endswith("_created")} == told
