"""The producer without a broker: what `call` and `observe` note, and that an application never notices them."""

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
import time
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leeboard.pipelines.producer import Call, KafkaSettings, Producer, SecuritySettings, Stats
from leeboard.schemas import ModelCall
from leeboard.schemas.wire import MAX_RECORD_BYTES

NOWHERE = KafkaSettings(bootstrap_servers=["127.0.0.1:9"])


def a_call(**fields: Any) -> ModelCall:
    return ModelCall(**{"id": "c-1", "time": 1_767_571_200_000, "app": "support", **fields})


@pytest.fixture
def taken() -> list[ModelCall]:
    return []


@pytest.fixture
def producer(taken: list[ModelCall]) -> Iterator[Producer]:
    """A producer that gives its calls to `taken`."""
    with Producer(sink=taken.append) as made:
        yield made


@pytest.fixture
def far() -> Iterator[Producer]:
    """A producer whose broker is away."""
    made = Producer(NOWHERE, most_calls=100)
    yield made
    made.close(0)


def settled(producer: Producer, done: Callable[[Stats], bool]) -> Stats:
    deadline = time.monotonic() + 10
    while not done(producer.stats()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return producer.stats()


@pytest.mark.parametrize(("module", "clients"), [("producer", {"kafka"}), ("kafka.settings", set())])
def test_importing_it_loads_nothing_heavy(module: str, clients: set[str]) -> None:
    code = f"import sys, leeboard.pipelines.{module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"leeboard", "msgspec"} <= loaded
    assert loaded & {"kafka", "aiokafka", "faust"} == clients
    assert not loaded & {"numpy", "scipy", "numba", "torch", "click", "rich", "aiohttp", "prometheus_client"}


def test_a_block_gives_a_call_with_its_times(producer: Producer, taken: list[ModelCall]) -> None:
    before = time.time_ns() // 1_000_000
    with producer.call(app="support", route="chat-answer", model_requested="gpt-4o") as call:
        time.sleep(0.02)
        call.first_token()
        time.sleep(0.02)
        call.first_token()
        call.output_tokens = 164
        call.labels = {"tier": "gold"}
    (found,) = taken
    assert (found.app, found.route, found.model_requested) == ("support", "chat-answer", "gpt-4o")
    assert (found.output_tokens, found.labels, found.error_type) == (164, {"tier": "gold"}, None)
    assert found.ttft_ms is not None
    assert found.latency_ms is not None
    assert 20 <= found.ttft_ms <= found.latency_ms - 20
    assert isinstance(found.time, int)
    assert before + 40 <= found.time <= time.time_ns() // 1_000_000
    assert len(found.id) == 32


def test_what_the_application_sets_itself_is_kept(producer: Producer, taken: list[ModelCall]) -> None:
    with producer.call(app="support", id="c-7") as call:
        call.latency_ms, call.ttft_ms, call.time, call.error_type = 12.5, 3.0, 1_767_571_200_000, "content_filter"
    assert taken == [a_call(id="c-7", latency_ms=12.5, ttft_ms=3.0, error_type="content_filter")]


def test_an_exception_names_the_error_and_goes_on_unchanged(producer: Producer, taken: list[ModelCall]) -> None:
    error = TimeoutError("slow")
    with pytest.raises(TimeoutError) as raised, producer.call(app="support"):
        raise error
    assert raised.value is error
    assert [call.error_type for call in taken] == ["TimeoutError"]
    assert taken[0].latency_ms is not None


def test_every_call_has_an_id_of_its_own(producer: Producer, taken: list[ModelCall]) -> None:
    for _ in range(100):
        with producer.call(app="support"):
            pass
    assert len({call.id for call in taken}) == 100


def test_a_call_has_the_fields_of_the_record() -> None:
    hints = {name: kind for name, kind in typing.get_type_hints(Call).items() if not name.startswith("_")}
    assert set(hints) == set(ModelCall.__struct_fields__)
    call = Producer(sink=print).call(app="support")
    for name in set(hints) - {"app"}:
        assert getattr(call, name) is None, "what is not set reads as None"
    with pytest.raises(AttributeError):
        _ = call.no_such_field  # type: ignore[attr-defined]


def test_a_wrong_name_is_left_out_and_said_once(
    producer: Producer, taken: list[ModelCall], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with producer.call(app="support", rout="chat") as call:
            call.outputtokens = 3  # type: ignore[attr-defined]
    assert [call.route for call in taken] == [None] * 3
    assert sorted(record.getMessage().split()[5] for record in caplog.records) == ["outputtokens;", "rout;"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing_field"),
        ({"app": "support", "input_tokens": "many"}, "wrong_type"),
        ({"app": "support", "input_tokens": -1}, "negative"),
        ({"app": 5}, "wrong_type"),
        ({"app": "support", "params": {"client": object()}}, "wrong_type"),
        ({"app": "support", "labels": {1: 2}}, "wrong_type"),
        ({"app": "support", "input_text": 5}, "wrong_type"),
        ({"app": "s" * 2000}, "key_too_long"),
        ({"app": "support", "input_text": "x" * MAX_RECORD_BYTES}, "too_large"),
    ],
)
def test_a_call_that_cannot_be_sent_is_counted_with_its_reason(
    producer: Producer, taken: list[ModelCall], fields: dict[str, Any], reason: str
) -> None:
    with producer.call(**fields):
        pass
    assert taken == []
    assert producer.stats() == Stats(1, {reason: 1}, 0, 0, 0, None)


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("hands off")


def test_emit_never_raises_whatever_it_is_given(far: Producer) -> None:
    things: list[Any] = [None, "call", b"", 3, {"app": "support"}, ModelCall, Hostile(), ValueError("no")]
    assert [far.emit(thing) for thing in things] == [False] * len(things)
    assert far.stats().dropped == {"not_a_call": len(things)}


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.builds(
                ModelCall,
                id=st.one_of(st.text(), st.integers()),  # type: ignore[arg-type]
                time=st.one_of(st.integers(), st.floats(), st.none()),  # type: ignore[arg-type]
                app=st.one_of(st.text(), st.binary(), st.none(), st.lists(st.text())),  # type: ignore[arg-type]
                params=st.dictionaries(st.text(), st.one_of(st.floats(), st.just(object()))),
                input_text=st.text(st.characters(), max_size=20),
            ),
        ),
        max_size=20,
    )
)
def test_every_call_is_kept_or_counted_with_its_reason(calls: list[Any]) -> None:
    with Producer(sink=lambda _: None) as producer:
        kept = [producer.emit(call) for call in calls]
        stats = producer.stats()
    assert stats.emitted == len(calls)
    assert stats.delivered == sum(kept)
    assert sum(stats.dropped.values()) == len(calls) - sum(kept)


def test_a_function_gives_a_call_each_time(producer: Producer, taken: list[ModelCall]) -> None:
    def fill(call: Call, answer: str) -> None:
        call.output_tokens = len(answer.split())

    @producer.observe(app="support", route="chat", fill=fill)
    def ask(question: str, *, loud: bool = False) -> str:
        """Ask the model."""
        if question == "":
            raise ValueError("nothing asked")
        return "yes it is" if not loud else "YES"

    assert (ask("is it?"), ask("is it?", loud=True)) == ("yes it is", "YES")
    with pytest.raises(ValueError, match="nothing asked"):
        ask("")
    assert [(call.route, call.output_tokens, call.error_type) for call in taken] == [
        ("chat", 3, None),
        ("chat", 1, None),
        ("chat", None, "ValueError"),
    ]
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask the model.")


def test_methods_are_observed_too(producer: Producer, taken: list[ModelCall]) -> None:
    class Bot:
        name = "bob"

        @producer.observe(app="support")
        def ask(self, question: str) -> str:
            return self.name + question

    assert Bot().ask("?") == "bob?"
    assert len(taken) == 1


def test_what_fill_raises_stays_in_the_log(
    producer: Producer, taken: list[ModelCall], caplog: pytest.LogCaptureFixture
) -> None:
    @producer.observe(app="support", fill=lambda call, answer: answer["usage"])
    def ask() -> dict[str, int]:
        return {}

    assert ask() == {}
    assert len(taken) == 1
    assert "KeyError" in caplog.text


def test_asynchronous_functions_overlap(producer: Producer, taken: list[ModelCall]) -> None:
    @producer.observe(app="support", fill=lambda call, answer: setattr(call, "output_text", answer))
    async def ask(question: str, seconds: float) -> str:
        with producer.call(app="embedder", input_text=question):
            await asyncio.sleep(seconds)
        if question == "c":
            raise KeyError(question)
        return question.upper()

    async def all_at_once() -> list[Any]:
        tasks = [asyncio.create_task(ask(*arguments)) for arguments in (("a", 0.06), ("b", 0.02), ("c", 0.04))]
        stuck = asyncio.create_task(ask("d", 60))
        await asyncio.sleep(0.01)
        stuck.cancel()
        return await asyncio.gather(*tasks, stuck, return_exceptions=True)

    a, b, c, d = asyncio.run(all_at_once())
    assert (a, b, type(c), type(d)) == ("A", "B", KeyError, asyncio.CancelledError)
    outer = {(call.output_text, call.error_type): call for call in taken if call.app == "support"}
    assert set(outer) == {("A", None), ("B", None), (None, "KeyError"), (None, "CancelledError")}
    first, second = outer["A", None].latency_ms, outer["B", None].latency_ms
    assert first is not None
    assert second is not None
    assert (first >= 60, second >= 20, second < first + 60) == (True, True, True)
    assert sorted(str(call.input_text) for call in taken if call.app == "embedder") == ["a", "b", "c", "d"]
    assert inspect.iscoroutinefunction(ask)


def count(call: Call, token: str) -> None:
    call.output_tokens = (call.output_tokens or 0) + 1


def test_a_stream_has_its_first_token_at_the_first_item_and_its_end_at_the_end(
    producer: Producer, taken: list[ModelCall]
) -> None:
    @producer.observe(app="support", fill=count)
    def stream(words: str) -> Iterator[str]:
        time.sleep(0.02)
        for word in words.split():
            yield word
            time.sleep(0.01)

    assert list(stream("one two three")) == ["one", "two", "three"]
    assert inspect.isgeneratorfunction(stream)
    (call,) = taken
    assert call.output_tokens == 3
    assert call.ttft_ms is not None
    assert call.latency_ms is not None
    assert 20 <= call.ttft_ms <= call.latency_ms - 30


def talk(heard: list[Any]) -> Iterator[Any]:
    """A generator that shows everything that is done to it."""
    value: Any = 0
    while True:
        try:
            value = yield ("got", value)
        except LookupError as error:
            value = ("caught", str(error))
        except GeneratorExit:
            heard.append("closed")
            raise
        if value == "end":
            return "the result"


def test_a_generator_is_driven_through_the_observer_as_without_it(producer: Producer, taken: list[ModelCall]) -> None:
    def drive(function: Callable[..., Any]) -> list[Any]:
        heard: list[Any] = []
        first, second = function(heard), function(heard)
        heard += [next(first), first.send("a"), first.throw(KeyError("b")), next(first)]
        with pytest.raises(StopIteration) as stopped:
            first.send("end")
        heard += [stopped.value.value, next(second)]
        second.close()
        with pytest.raises(StopIteration):
            next(second)
        failing = function(heard)
        next(failing)
        with pytest.raises(OSError, match="gone"):
            failing.throw(OSError("gone"))
        return heard

    assert drive(producer.observe(app="support")(talk)) == drive(talk)
    assert [call.error_type for call in taken] == [None, None, "OSError"]


async def atalk(heard: list[Any]) -> AsyncIterator[Any]:
    value: Any = 0
    while True:
        try:
            await asyncio.sleep(0)
            value = yield ("got", value)
        except LookupError as error:
            value = ("caught", str(error))
        except GeneratorExit:
            heard.append("closed")
            raise
        if value == "end":
            return


def test_an_asynchronous_generator_is_driven_through_the_observer_as_without_it(
    producer: Producer, taken: list[ModelCall]
) -> None:
    async def drive(function: Callable[..., Any]) -> list[Any]:
        heard: list[Any] = []
        first, second = function(heard), function(heard)
        heard += [await anext(first), await first.asend("a"), await first.athrow(KeyError("b")), await anext(first)]
        with pytest.raises(StopAsyncIteration):
            await first.asend("end")
        heard.append(await anext(second))
        await second.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(second)
        failing = function(heard)
        await anext(failing)
        with pytest.raises(OSError, match="gone"):
            await failing.athrow(OSError("gone"))
        return heard

    observed = producer.observe(app="support", fill=count)(atalk)
    assert asyncio.run(drive(observed)) == asyncio.run(drive(atalk))
    assert [(call.error_type, call.output_tokens) for call in taken] == [(None, 4), (None, 1), ("OSError", 1)]
    assert all(call.ttft_ms is not None for call in taken)
    assert inspect.isasyncgenfunction(observed)


def test_a_sink_that_fails_is_not_the_applications_business() -> None:
    with Producer(sink=lambda call: 1 / 0) as producer:
        assert producer.emit(a_call())
        assert producer.stats().failed == 1


def test_a_closed_producer_takes_no_more(far: Producer, producer: Producer) -> None:
    for made in (far, producer):
        made.close(0)
        assert made.emit(a_call()) is False
        assert made.stats().dropped == {"closed": 1}


def test_the_queue_is_bounded_in_calls_and_in_bytes() -> None:
    few = Producer(NOWHERE, most_calls=10)
    small = Producer(NOWHERE, most_bytes=10_000)
    assert [few.emit(a_call()) for _ in range(15)] == [True] * 10 + [False] * 5
    assert [small.emit(a_call(input_text="x" * 4000)) for _ in range(4)] == [True, True, False, False]
    assert (few.stats().queued, few.stats().dropped) == (10, {"queue_full": 5})
    assert (small.stats().queued, small.stats().dropped) == (2, {"queue_full": 2})
    for producer in (few, small):
        started = time.monotonic()
        assert producer.close(0.2) is False
        stats = settled(producer, lambda stats: stats.queued == 0)
        assert time.monotonic() - started < 5
        assert stats.failed + sum(stats.dropped.values()) == stats.emitted


def test_a_flush_without_a_broker_ends_in_time(far: Producer) -> None:
    assert far.flush(0.0), "nothing was emitted"
    far.emit(a_call())
    started = time.monotonic()
    assert far.flush(0.2) is False
    assert time.monotonic() - started < 2


def test_a_broker_that_is_away_is_said_once(far: Producer, caplog: pytest.LogCaptureFixture) -> None:
    far.emit(a_call())
    assert settled(far, lambda stats: stats.trouble is not None).trouble == "OSError: 127.0.0.1:9: Connection refused"
    time.sleep(1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "calls do not reach Kafka at present: OSError: 127.0.0.1:9: Connection refused"
    ]


def test_settings_that_cannot_work_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    security = SecuritySettings(protocol="SASL_SSL", ca_file=str(tmp_path / "no-ca.pem"), username="ana", password="x")
    producer = Producer(KafkaSettings(security=security))
    assert producer.emit(a_call())
    stats = settled(producer, lambda stats: stats.trouble is not None)
    time.sleep(0.6)
    producer.close(0)
    assert stats.trouble is not None
    assert "certificates cannot be read" in stats.trouble
    assert len(caplog.records) == 1


def test_calls_dropped_for_a_reason_are_logged_once(far: Producer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(300):
        far.emit(a_call())
        far.emit(None)  # type: ignore[arg-type]
    time.sleep(0.2)
    said = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert sorted(said) == [
        "calls are dropped: not_a_call (logged once; `stats` counts them)",
        "calls are dropped: queue_full (logged once; `stats` counts them)",
    ]


def test_threads_lose_no_count(far: Producer) -> None:
    def emit() -> None:
        for _ in range(1000):
            far.emit(a_call())
            far.emit(None)  # type: ignore[arg-type]

    threads = [threading.Thread(target=emit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = far.stats()
    assert (stats.emitted, stats.queued) == (16_000, 100)
    assert stats.dropped == {"not_a_call": 8000, "queue_full": 7900}


def test_a_signal_that_emits_while_the_application_emits_locks_nothing(far: Producer) -> None:
    rung = []

    def ring(*_: object) -> None:
        rung.append(far.emit(a_call()))

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            far.emit(a_call())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(rung) > 50


def test_an_emission_costs_microseconds_without_a_broker(far: Producer) -> None:
    """A coarse bound, so that something that blocks shows; the figures are in docs/BENCHMARKS.md."""
    calls = [a_call(input_text="How do I reset it? " * 20) for _ in range(50)]
    best = float("inf")
    for _ in range(100):
        started = time.thread_time()
        for call in calls:
            far.emit(call)
        best = min(best, (time.thread_time() - started) / len(calls))
    assert best < 20e-6


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"app": 5}, "wrong_type"),
        ({"params": {"client": object()}}, "wrong_type"),
        ({"app": "s" * 2000}, "key_too_long"),
        ({"input_text": "x" * MAX_RECORD_BYTES}, "too_large"),
    ],
)
def test_what_cannot_be_encoded_is_dropped_and_counted_later(
    far: Producer, fields: dict[str, Any], reason: str
) -> None:
    assert far.emit(a_call(**fields))
    assert settled(far, lambda stats: stats.queued == 0) == Stats(1, {reason: 1}, 0, 0, 0, None)
