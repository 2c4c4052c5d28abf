"""One call to a model while it is made: timed, filled in, and emitted at its end, also after an exception."""

import inspect
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from leeboard.schemas import ModelCall

log = logging.getLogger("leeboard.producer")

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
#: gets the call and what the function returned; for a stream every item
Fill = Callable[["Call", Any], None]

_FIELDS = frozenset(ModelCall.__struct_fields__)
#: names that are no fields, logged once each; they stand in the application's code, so their number is bounded
_unknown_names: set[str] = set()


class CallReceiver(Protocol):
    """What a finished call is emitted to."""

    def emit(self, call: ModelCall) -> bool:
        """Queue a call. False: it was dropped."""

    def refuse(self, reason: str) -> bool:
        """Count what did not become a call. Returns False."""


class Call:
    """A call while it is made: a context manager whose attributes are the fields of `ModelCall`.

    The end of the block sets `id`, `time`, `latency_ms` (from the beginning of the block) and, after an exception,
    `error_type`, unless they were set before. The exception goes on unchanged. An attribute that is no field is left
    out, and logged once.
    """

    id: str
    time: int
    app: str
    env: str
    route: str | None
    tenant: str | None
    provider: str | None
    model_requested: str | None
    model_served: str | None
    system_fingerprint: str | None
    prompt_name: str | None
    prompt_version: str | None
    system_text: str | None
    input_text: str | None
    output_text: str | None
    tools: list[str] | None
    tool_calls: list[str] | None
    params: dict[str, Any] | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    latency_ms: float | None
    ttft_ms: float | None
    finish_reason: str | None
    error_type: str | None
    cached: bool | None
    app_version: str | None
    session: str | None
    user: str | None
    trace_id: str | None
    span_id: str | None
    labels: dict[str, str] | None
    scores: dict[str, float | str] | None
    sample_rate: float | None
    input_vector: list[float] | None
    output_vector: list[float] | None

    def __init__(self, receiver: CallReceiver, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        self._receiver = receiver
        self._started = time.perf_counter()

    if not TYPE_CHECKING:  # would hide wrong names from type checkers

        def __getattr__(self, name: str) -> Any:
            """Return None for a field that is not set."""
            if name in _FIELDS:
                return None
            raise AttributeError(name)

    def first_token(self) -> None:
        """Note the time to the first token; only the first time counts."""
        if "ttft_ms" not in self.__dict__:
            self.ttft_ms = self._elapsed_ms()

    def __enter__(self) -> "Call":
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # a reader that needs no more of a stream closes it: not an error of the call
            if kind is not None and not issubclass(kind, GeneratorExit):
                self.__dict__.setdefault("error_type", kind.__name__)
            self._emit()
        except Exception:  # no `app`, or fields that cannot be a call
            self._receiver.refuse("missing_field")

    def _emit(self) -> None:
        self.__dict__.setdefault("latency_ms", self._elapsed_ms())
        self.__dict__.setdefault("time", time.time_ns() // 1_000_000)
        self.__dict__.setdefault("id", uuid.uuid4().hex)
        fields = {}
        for name, value in self.__dict__.items():
            if name in _FIELDS:
                fields[name] = value
            elif not name.startswith("_") and name not in _unknown_names:
                _unknown_names.add(name)
                log.warning("a call has no field %s; it was left out", name)
        self._receiver.emit(ModelCall(**fields))

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    def _fill(self, fill: Fill | None, value: Any) -> None:
        """Let the application's function fill in fields; what it raises is logged."""
        if fill is not None:
            try:
                fill(self, value)
            except Exception:
                log.warning("the function `fill` failed on what %s returned", type(value).__name__, exc_info=True)


def observed(function: AnyFunction, start: Callable[[], Call], fill: Fill | None) -> AnyFunction:
    """Wrap a function so that each run is one `Call`; results and exceptions stay as they are.

    `start` makes the call.
    """
    if inspect.isasyncgenfunction(function):
        wrapper = _async_stream(function, start, fill)
    elif inspect.isgeneratorfunction(function):
        wrapper = _stream(function, start, fill)
    elif inspect.iscoroutinefunction(function):

        @wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with start() as call:
                result = await function(*args, **kwargs)
                call._fill(fill, result)
                return result
    else:

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with start() as call:
                result = function(*args, **kwargs)
                call._fill(fill, result)
                return result

    return cast("AnyFunction", wrapper)


class _Items(Generator[Any, Any, Any]):
    """A generator of the application: everything passes through, and `saw` gets every item."""

    def __init__(self, inner: Generator[Any, Any, Any], saw: Callable[[Any], None]) -> None:
        self._inner = inner
        self._saw = saw

    def send(self, value: Any) -> Any:
        item = self._inner.send(value)
        self._saw(item)
        return item

    def throw(self, *error: Any) -> Any:
        item = self._inner.throw(*error)
        self._saw(item)
        return item

    def close(self) -> None:
        self._inner.close()


def _stream(function: Callable[..., Any], start: Callable[[], Call], fill: Fill | None) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with start() as call:

            def saw(item: Any) -> None:
                call.first_token()
                call._fill(fill, item)

            return (yield from _Items(function(*args, **kwargs), saw))

    return wrapper


def _async_stream(function: Callable[..., Any], start: Callable[[], Call], fill: Fill | None) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with start() as call:
            inner = function(*args, **kwargs)
            step = inner.__anext__()
            while True:
                # what `yield from` does for generators
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                call.first_token()
                call._fill(fill, item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:
                    step = inner.athrow(error)
                else:
                    step = inner.asend(sent)

    return wrapper
