"""The examples of README and docstring for applications, run as they stand against a broker."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import leeboard.pipelines.producer
import pytest
from leeboard.pipelines.producer import Producer
from leeboard.schemas import ModelCall, decode

from tests.architecture.test_readme import blocks

from .broker import Broker

ROOT = Path(__file__).parents[2]
RAW = "leeboard.raw"


def run(text: str, broker: Broker, **names: Any) -> dict[str, Any]:
    """Run an example with the broker's address in it; the names that it leaves."""
    adapted = re.sub(r"bootstrap_servers=\[[^]]*\]", f"bootstrap_servers=[{broker.bootstrap!r}]", text)
    exec(compile(adapted, "example", "exec"), names)
    return names


def arrived(broker: Broker, producer: Producer) -> list[ModelCall]:
    producer.close()
    return [call for call in (decode(r.value) for r in broker.records(RAW)) if isinstance(call, ModelCall)]


def test_the_examples_of_the_readme_run(
    new_broker: Callable[..., Broker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = new_broker()
    broker.create_topic(RAW, 1)
    to_kafka, to_file = [b.text for b in blocks((ROOT / "README.md").read_text()) if b.language == "python"]
    names = run(to_kafka, broker, ask=lambda text: SimpleNamespace(text=text.upper(), tokens=7))
    assert names["summarise"]("long") == "LONG"
    chat, summary = arrived(broker, names["producer"])
    assert (chat.route, chat.input_text, chat.output_tokens) == ("chat-answer", "How do I reset my password?", 7)
    assert (summary.route, summary.output_text) == ("summary", "LONG") and summary.latency_ms is not None
    run(to_file, broker)
    assert isinstance(decode((tmp_path / "calls.jsonl").read_bytes()), ModelCall)


def test_the_example_of_the_docstring_runs(new_broker: Callable[..., Broker]) -> None:
    broker = new_broker()
    broker.create_topic(RAW, 1)
    documented = leeboard.pipelines.producer.__doc__ or ""
    text = "\n".join(line[4:] for line in documented.splitlines() if line.startswith("    "))
    answer = SimpleNamespace(usage=SimpleNamespace(completion_tokens=12))
    names = run(text, broker, ask=lambda _: answer, question="?")
    [call] = arrived(broker, names["producer"])
    assert (call.app, call.model_requested, call.output_tokens) == ("support", "gpt-4o", 12)
