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


@pytest.fixture(scope="module")
def raw(kafka: Broker) -> str:
    """The topic that the examples send to: on the shared broker, made once."""
    return kafka.create_topic(RAW, 1)


@pytest.fixture
def arrived(kafka: Broker, raw: str) -> Callable[[Producer], list[ModelCall]]:
    """Close a producer; the calls that came since the test began."""
    before = len(kafka.records(raw))

    def close(producer: Producer) -> list[ModelCall]:
        producer.close()
        return [call for call in (decode(r.value) for r in kafka.records(raw)[before:]) if isinstance(call, ModelCall)]

    return close


def test_the_examples_of_the_readme_run(
    kafka: Broker, arrived: Callable[[Producer], list[ModelCall]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    to_kafka, to_file = [b.text for b in blocks((ROOT / "README.md").read_text()) if b.language == "python"]
    names = run(to_kafka, kafka, ask=lambda text: SimpleNamespace(text=text.upper(), tokens=7))
    assert names["summarise"]("long") == "LONG"
    chat, summary = arrived(names["producer"])
    assert (chat.route, chat.input_text, chat.output_tokens) == ("chat-answer", "How do I reset my password?", 7)
    assert (summary.route, summary.output_text) == ("summary", "LONG") and summary.latency_ms is not None
    run(to_file, kafka)
    assert isinstance(decode((tmp_path / "calls.jsonl").read_bytes()), ModelCall)


def test_the_example_of_the_docstring_runs(kafka: Broker, arrived: Callable[[Producer], list[ModelCall]]) -> None:
    documented = leeboard.pipelines.producer.__doc__ or ""
    text = "\n".join(line[4:] for line in documented.splitlines() if line.startswith("    "))
    answer = SimpleNamespace(usage=SimpleNamespace(completion_tokens=12))
    names = run(text, kafka, ask=lambda _: answer, question="?")
    [call] = arrived(names["producer"])
    assert (call.app, call.model_requested, call.output_tokens) == ("support", "gpt-4o", 12)
