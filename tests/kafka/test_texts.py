"""Texts in the Kafka runtime: nothing of them gets out, and an embedder that fails or stalls costs vectors alone."""

import json
import struct
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from leeboard.schemas import FLAGS, NUMBERS, ModelCall, Observation, decode_observation, encode

from tests.pipelines.text.marked import ANSWERED, ASKED, SECRETS, SYSTEM, secrets_in, strings_in
from tests.pipelines.watch.streams import Traffic

from .broker import Broker, free_ports
from .fleet import Fleet

PLAYED = Path(__file__).parent / "played"
CALLS = 400
#: what `strings_in` may find in a measured call beside names of fields: what the call says of itself, and languages
SAID = {"observation/1", "none", "en", "shop", "answer", "static", "st"}


@pytest.fixture
def new_fleet(kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fleet]]:
    """A fleet with an embedder; `sentence_transformers` is a played one."""
    monkeypatch.setenv("PYTHONPATH", str(PLAYED))
    made: list[Fleet] = []

    def new(name: str, model: str | None, **embedder: Any) -> Fleet:
        [port] = free_ports(1)
        fleet = Fleet.create(kafka, tmp_path, name, http_port=port)
        if model is not None:
            settings = {"backend": "sentence-transformers", "model": model, **embedder}
            lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
            with fleet.config_path.open("a") as file:
                file.write("\n".join(["[embedder]", *lines]) + "\n")
        made.append(fleet)
        return fleet

    yield new
    for fleet in made:
        fleet.kill()


@contextmanager
def metrics_of(fleet: Fleet) -> Iterator[dict[str, float]]:
    """What *normalise* counts, renewed every five seconds."""
    found: dict[str, float] = {}
    url = f"http://127.0.0.1:{fleet.config.kafka.http_port}/metrics"
    with urllib.request.urlopen(url, timeout=2) as reply:
        for line in reply.read().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
    yield found


def observations(fleet: Fleet) -> list[Observation]:
    return [decode_observation(record.value) for record in fleet.read(fleet.config.kafka.topics.calls)]


def awaited(condition: Callable[[], bool], what: str, patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def odd_records() -> Iterator[bytes]:
    """Records with marked words that are refused, or that are taken with something wrong in them."""
    whole = json.loads(encode(ModelCall(id="odd", time=Traffic().time_ms, app="shop", route="answer")))
    whole |= {"input_text": ASKED, "output_text": ANSWERED}
    for fields in ({"latency_ms": ASKED}, {"scores": {ASKED: None}}, {"time": ASKED}, {"tools": ASKED}):
        yield json.dumps(whole | fields).encode()
    yield from (ASKED.encode(), json.dumps(whole)[:-9].encode(), json.dumps(whole).encode() + ASKED.encode())
    yield json.dumps(whole | {"id": "lone", "input_text": f"\ud800 {ASKED} \x00"}).encode()
    yield json.dumps(whole | {"id": "long", "output_text": ANSWERED * 9000}).encode()
    yield json.dumps(whole | {"id": "zero", "input_vector": [0.0]}).encode()


@pytest.mark.parametrize("model", [None, "telltale"])
def test_nothing_of_a_text_gets_out_of_normalise(new_fleet: Callable[..., Fleet], model: str | None) -> None:
    fleet = new_fleet(f"private-{model}", model)
    fleet.add("normalise,watch,gate")
    producer = fleet.producer(max_request_size=4 << 20)
    raw = fleet.config.kafka.topics.raw[0]
    traffic = Traffic(4, route="answer")
    texts = {"input_text": ASKED, "system_text": SYSTEM, "params": {"stop": [SECRETS[0]]}, "tools": [SECRETS[1]]}
    for k in range(CALLS):
        answer = ANSWERED if k > CALLS // 2 else f"It is {SECRETS[k % len(SECRETS)]}."
        slow = {"latency": 6.0} if k > CALLS // 2 else {}
        for call in traffic.calls(1, output_text=answer, **texts, **slow):
            fleet.emit(producer, call)
    for data in odd_records():
        producer.send(raw, data, b"odd")
    producer.flush()
    producer.close()
    fleet.settle(("normalise", "watch", "gate"))
    counted = "leeboard_texts_not_embedded_total" if model else "leeboard_texts_cut_total"
    stage = '{stage="normalise"}'
    seen: list[str] = []

    def is_counted() -> bool:
        with metrics_of(fleet) as found:
            seen.append(" ".join(found))
            return found[counted + stage] > 0

    awaited(is_counted, "the gauges of normalise")
    fleet.stop()
    topics = fleet.config.kafka.topics
    records = {topic: fleet.read(topic) for topic in msgspec.to_builtins(topics).values() if isinstance(topic, str)}
    assert len(records[topics.calls]) == CALLS + 3
    assert len(records[topics.dead_letters]) == 7
    assert records[topics.alerts] and records[topics.state] and records[topics.summaries]
    for topic, found in records.items():
        for record in found:
            parts = (record.key, record.value, repr(record.headers))
            assert [secrets_in(part) for part in parts if part] == [[]] * sum(map(bool, parts)), topic
    for worker in fleet.workers:
        assert secrets_in(worker.log.read_text()) == [] and not secrets_in(seen[-1])
    if model:
        assert "texts are not embedded: the model raised ValueError" in fleet.workers[0].log.read_text()


def test_a_measured_call_holds_no_word_of_its_texts(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("words", None)
    fleet.add("normalise")
    producer = fleet.producer()
    words = "Could anyone perhaps explain whether the harbour master will refuse another vessel because of storms?"
    for call in Traffic(5, route="answer").calls(5, input_text=words, output_text=f"**Sorry**, {words}"):
        fleet.emit(producer, call)
    producer.flush()
    producer.close()
    fleet.settle(("normalise",))
    records = fleet.read(fleet.config.kafka.topics.calls)
    assert len(records) == 5
    for record in records:
        strings = {string.lower() for string in strings_in(msgspec.msgpack.decode(record.value))}
        for word in words.rstrip("?").lower().split():
            assert word not in strings - SAID, strings


def test_a_stalling_embedder_costs_vectors_and_nothing_else(new_fleet: Callable[..., Fleet]) -> None:
    fleet = new_fleet("stalls", "sleeper", timeout_s=2.0)
    worker = fleet.add("normalise")
    producer = fleet.producer()
    calls = list(Traffic(6, route="answer").calls(200, input_text="Good morning.", output_text="Hello."))
    for call in calls[:100]:
        fleet.emit(producer, call)
    producer.flush()
    fleet.settle(("normalise",))
    stalled = msgspec.structs.replace(calls[100], input_text="Sing a lullaby.")
    started = time.monotonic()
    for call in (stalled, *(msgspec.structs.replace(call, output_text=f"{call.id}") for call in calls[101:])):
        fleet.emit(producer, call)
    producer.flush()
    producer.close()
    fleet.settle(("normalise",))
    assert time.monotonic() - started < 100.0, "one wait of 2 s, not one for each of 100 calls"
    found = observations(fleet)
    vectors = FLAGS.index("coverage.vectors")
    assert [call.id for call in found if call.flags >> 2 * vectors & 3 == 2] == [call.id for call in calls[:100]]
    assert [call.id for call in found] == [call.id for call in calls]
    for call in found:
        numbers = struct.unpack(f"<{len(NUMBERS)}f", call.numbers)
        assert numbers[NUMBERS.index("latency_ms")] > 0 or call.flags & 3 == 2
        assert call.input is not None and call.input.features is not None
    stage = '{stage="normalise"}'

    def is_counted() -> bool:
        with metrics_of(fleet) as metrics:
            assert metrics[f"leeboard_loop_stall_seconds_sum{stage}"] < 1.5, "the loop went on"
            return metrics[f"leeboard_texts_not_embedded_total{stage}"] >= 100

    awaited(is_counted, "the gauges of normalise")
    worker.ask_to_stop()
    assert worker.wait(30.0) == 0, "a thread that hangs does not hold the process"


def test_an_embedder_that_cannot_be_loaded_stops_the_start(
    new_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sentence_transformers.py").write_text("raise ImportError('no such library')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fleet = new_fleet("unloaded", "any")
    worker = fleet.add("normalise")
    assert worker.wait(60.0) == 2
    assert "pip install 'leeboard[embeddings]'" in worker.log.read_text().splitlines()[-1]
