"""The private names of Faust and aiokafka that the transport relies on, and how they behave."""

import inspect

import aiokafka
import faust
from aiokafka.consumer.fetcher import Fetcher
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from leeboard.pipelines.kafka.worker.transport import BatchApp, BatchConsumer, BatchTransport, CommittedThread


def test_the_version_of_faust_is_the_one_that_was_looked_at() -> None:
    assert faust.__version__ == "0.15.3"
    assert aiokafka.__version__.startswith("0.14.")


def test_the_drain_loop_is_a_coroutine_of_the_consumer_that_takes_its_fetcher() -> None:
    assert inspect.iscoroutinefunction(Consumer._drain_messages)
    assert list(inspect.signature(Consumer._drain_messages).parameters) == ["self", "fetcher"]
    assert BatchConsumer._drain_messages is not Consumer._drain_messages
    source = inspect.getsource(inspect.getmodule(Consumer).Fetcher)  # type: ignore[union-attr]
    assert "consumer._drain_messages(self)" in source


def test_records_come_as_lists_by_partition_with_the_partitions_that_are_active() -> None:
    assert inspect.iscoroutinefunction(Consumer._wait_next_records)
    assert list(inspect.signature(Consumer._wait_next_records).parameters) == ["self", "timeout"]
    assert "return records, active_partitions" in inspect.getsource(Consumer._wait_next_records)


def test_what_stops_and_pauses_the_flow_is_where_it_was() -> None:
    source = inspect.getsource(Consumer.__init__) + inspect.getsource(Consumer._reset_state)
    for name in ("flow_active", "can_resume_flow"):
        assert name in source
    for name in ("perform_seek", "stop_flow", "resume_flow", "_commit"):
        assert callable(getattr(Consumer, name))
    assert hasattr(driver.Consumer, "consumer_stopped_errors")


def test_the_transport_of_the_app_makes_our_consumer_and_our_thread() -> None:
    assert "self._new_transport()" in inspect.getsource(faust.App.transport.fget)  # type: ignore[attr-defined]
    assert BatchTransport.Consumer is BatchConsumer
    assert "self._new_consumer_thread()" in inspect.getsource(inspect.getmodule(Consumer))  # type: ignore[arg-type]
    assert issubclass(CommittedThread, driver.AIOKafkaConsumerThread)
    assert BatchApp._new_transport is not faust.App._new_transport


def test_the_fetch_thread_reads_committed_records_only_where_the_consumer_says_so_before_it_starts() -> None:
    assert "isolation_level=self._isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "isolation_level" in inspect.signature(Fetcher.__init__).parameters


def test_the_generation_is_set_before_partitions_are_given_out_and_signals_come_after() -> None:
    source = inspect.getsource(driver.ConsumerRebalanceListener.on_partitions_assigned)
    assert source.index("consumer_generation_id = generation") < source.index("_thread.on_partitions_assigned(")
    assert "on_before_shutdown.send()" in inspect.getsource(faust.App.on_stop)
