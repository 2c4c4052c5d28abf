"""The sample for the Collector: whole, acknowledged, redacted, and honest about what leeboard reads today."""

from leeboard.pipelines.topics import TopicSettings

from .places import text_of, yaml_of
from .roles import user_of

FILE = "collector/collector.yaml"


def test_pipelines_use_what_is_defined_and_nothing_is_left_over() -> None:
    config = yaml_of(FILE)
    [traces] = config["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert sorted(traces[kind]) == sorted(config[kind])


def test_calls_are_chosen_and_redacted_before_they_are_batched() -> None:
    [traces] = yaml_of(FILE)["service"]["pipelines"].values()
    kinds = [name.partition("/")[0] for name in traces["processors"]]
    assert kinds == ["memory_limiter", "filter", "transform", "batch"]


def test_spans_go_to_the_raw_topic_as_telemetry_acknowledged_by_all() -> None:
    kafka = yaml_of(FILE)["exporters"]["kafka"]
    assert kafka["traces"] == {"topic": TopicSettings().raw[0], "encoding": "otlp_proto"}
    producer = kafka["producer"]
    assert (producer["compression"], producer["required_acks"]) == ("zstd", -1)
    assert producer["allow_auto_topic_creation"] is False
    assert kafka["auth"]["sasl"]["username"] == user_of("telemetry")
    assert kafka["auth"]["sasl"]["password"] == "${env:KAFKA_PASSWORD}"


def test_the_sample_says_that_this_version_does_not_read_it() -> None:
    assert "THIS ONE DOES NOT READ OTLP" in text_of(FILE).splitlines()[0]
