"""What a raw record becomes: a measured call of its scope, a control where it may come from, or a dead letter."""

import gzip
import json
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from leeboard.pipelines.kafka.worker.sender import default_partition
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.pipelines.runtime.fold import SOURCE_HEADER, OutgoingRecord
from leeboard.pipelines.runtime.incoming import Watermarks, decode_measured
from leeboard.pipelines.runtime.normalise import Normaliser
from leeboard.pipelines.topics import TopicSettings
from leeboard.schemas import (
    Accept,
    Confirm,
    Deploy,
    ModelCall,
    Mute,
    Observation,
    Score,
    decode_observation,
    encode,
)

from tests.simulation.world import Record

RAW, CONTROL = "leeboard.raw", "leeboard.control"
PARTITIONS = 12
NOW_MS = 1_767_571_200_000
TOPIC_IDS = {RAW: "raw-id", CONTROL: "control-id"}
NORMALISER = Normaliser(MeasureSettings(), TopicSettings(), TOPIC_IDS, PARTITIONS, default_partition)
CALL = ModelCall(id="c-1", time=NOW_MS, app="shop", route="ask", input_text="my secret word", latency_ms=12.0)
PRIVILEGED = [
    Deploy(time=NOW_MS, app="shop", what="x"),
    Accept(time=NOW_MS, app="shop"),
    Confirm(time=NOW_MS, app="shop", dedup_key="k"),
    Mute(time=NOW_MS, app="shop", until=NOW_MS + 1),
]


def outputs(value: bytes | None, topic: str = RAW, offset: int = 7, timestamp: int = NOW_MS) -> list[OutgoingRecord]:
    [found] = NORMALISER.outputs(topic, 3, [Record(offset, None, value, (), timestamp)])
    return found


def dead_letter(value: bytes | None, topic: str = RAW) -> dict[str, Any]:
    [record] = outputs(value, topic)
    assert record.topic == "leeboard.dead-letters"
    rejected: dict[str, Any] = json.loads(record.value or b"")
    assert rejected["position"] == f"{topic}/3/7" and "payload" not in rejected
    return rejected


def test_a_call_is_measured_and_keyed_by_its_scope_without_its_text() -> None:
    [record] = outputs(encode(CALL))
    assert (record.topic, record.key) == ("leeboard.calls", b"/shop/default/ask")
    observation = decode_observation(record.value or b"")
    assert observation.received == NOW_MS and observation.source == ("raw-id", 3, 7, 0)
    assert b"secret" not in (record.value or b"")
    assert record.headers == ((SOURCE_HEADER, b"raw-id/3/7/0"),)


def test_the_partition_of_a_scope_is_what_every_kafka_client_would_choose() -> None:
    for k in range(200):
        [record] = outputs(encode(ModelCall(id="c", time=NOW_MS, app=f"app-{k}")))
        every = list(range(PARTITIONS))
        assert record.partition == DefaultPartitioner()(record.key, every, every)


@pytest.mark.parametrize("control", PRIVILEGED, ids=lambda control: type(control).__name__)
def test_who_may_only_send_telemetry_can_neither_mute_nor_accept(control: Any) -> None:
    assert dead_letter(encode(control))["reason"] == "not_allowed"
    [record] = outputs(encode(control), CONTROL)
    assert record.topic == "leeboard.calls" and record.key == b"/shop/default/default"


def test_a_model_call_is_not_taken_from_the_control_topic() -> None:
    assert dead_letter(encode(CALL), CONTROL)["reason"] == "not_allowed"


def test_a_score_may_come_from_anywhere_but_names_one_scope() -> None:
    score = Score(time=NOW_MS, app="shop", call_id="c-1", name="helpful", value=1.0, evaluator="judge")
    for topic in (RAW, CONTROL):
        [record] = outputs(encode(score), topic)
        assert record.topic == "leeboard.calls"
    everywhere = Score(time=NOW_MS, app="shop", route="*", call_id="c", name="n", value=1.0, evaluator="e")
    assert dead_letter(encode(everywhere))["reason"] == "no_scope"


def test_a_control_for_every_route_goes_to_every_partition() -> None:
    found = outputs(encode(Deploy(time=NOW_MS, app="shop", route="*", what="release")), CONTROL)
    assert [record.partition for record in found] == list(range(PARTITIONS))
    assert len({record.headers for record in found}) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not_json"),
        (b"", "not_json"),
        (b"\x00\x00\x00\x00\x07" + b"avro", "not_json"),
        (bytes(range(256)), "not_json"),
        (gzip.compress(encode(CALL)), "not_utf8"),
        (b'{"schema":"model_call/1","id":"x","time":1,"app":"a"', "not_json"),
        (b'{"schema":"model_call/9","id":"x","time":1,"app":"a"}', "unknown_schema"),
        (b'{"schema":"model_call/1","id":"x","time":1}', "missing_field"),
        (b'{"schema":"model_call/1","id":"x","time":1,"app":"a","latency_ms":"fast"}', "wrong_type"),
        (b'{"schema":"model_call/1","id":"x","time":1,"app":"a","latency_ms":-1}', "negative"),
        (b"[" * 100_000, "too_deep"),
        (b'{"schema":"model_call/1","id":"' + b"x" * (9 << 20) + b'"}', "too_large"),
        (encode(ModelCall(id="c", time=NOW_MS + 3 * 86_400_000, app="a")), "time_ahead"),
        (encode(ModelCall(id="c", time=NOW_MS, app="a" * 2000)), "key_too_long"),
    ],
)
def test_poison_becomes_a_dead_letter_with_its_reason_and_without_its_bytes(value: bytes | None, reason: str) -> None:
    found = dead_letter(value)
    assert found["reason"] == reason
    assert found["size"] == len(value or b"") and len(found["sha256"]) == 64


def test_each_line_of_a_record_is_a_call_with_its_index_in_the_position() -> None:
    lines = [encode(ModelCall(id=f"c-{k}", time=NOW_MS, app=f"shop-{k}")) for k in range(3)]
    lines.insert(2, encode(PRIVILEGED[0]))
    records = outputs(b"\n".join(lines))
    assert [dict(record.headers).get(SOURCE_HEADER) for record in records] == [
        b"raw-id/3/7/0",
        b"raw-id/3/7/1",
        None,
        b"raw-id/3/7/3",
    ]
    assert [record.key for record in records if record.headers] == [b"/shop-%d/default/default" % k for k in range(3)]
    rejected = json.loads(records[2].value or b"")
    assert (rejected["position"], rejected["reason"]) == (f"{RAW}/3/7/2", "not_allowed")
    watermarks = Watermarks()
    sent = [Record(0, record.key, record.value, record.headers) for record in records if record.headers]
    assert [watermarks.repeats(record) for record in [*sent, *sent]] == [False] * 3 + [True] * 3


def test_what_confluents_serializers_write_is_named_as_such() -> None:
    assert "Confluent" in dead_letter(b"\x00\x00\x00\x00\x07avro")["detail"]


def test_the_bytes_are_kept_only_where_that_is_configured() -> None:
    keeping = Normaliser(MeasureSettings(), TopicSettings(), TOPIC_IDS, 3, default_partition, keep_payload=True)
    [[record]] = keeping.outputs(RAW, 0, [Record(0, None, b"no JSON")])
    assert json.loads(record.value or b"")["payload"]


def test_records_of_a_batch_become_what_each_becomes_alone_in_their_order() -> None:
    texts = ("Where is my parcel?", "", None, "**Sorry**, no.")
    records = [encode(ModelCall(id=f"c-{k}", time=NOW_MS, app="a", input_text=text)) for k, text in enumerate(texts)]
    values = [*records[:2], b"no JSON", encode(PRIVILEGED[0]), *records[2:]]
    batch = [Record(7 + k, None, value, (), NOW_MS) for k, value in enumerate(values)]
    assert NORMALISER.outputs(RAW, 3, batch) == [outputs(value, offset=7 + k) for k, value in enumerate(values)]


def test_watch_takes_what_normalise_sends_and_each_source_record_once() -> None:
    watermarks = Watermarks()
    records = []
    for k, offset in enumerate((5, 6, 7, 6, 7, 8)):  # normalise began again at 6
        [record] = outputs(encode(ModelCall(id=f"c-{offset}", time=NOW_MS, app="shop")), offset=offset)
        records.append(Record(k, record.key, record.value, record.headers))
    new = [record for record in records if not watermarks.repeats(record)]
    found = [decode_measured(record) for record in new]
    assert [call.id for call in found if isinstance(call, Observation)] == ["c-5", "c-6", "c-7", "c-8"]
