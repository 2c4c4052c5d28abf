"""One call to a model while it is made: timed, filled in, and emitted when it ends, however it ends."""

import inspect
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from leeboard.schemas import ModelCall

LOG = logging.getLogger("leeboard.producer")

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
#: gets the call and what the function returned; of a stream every item
Fill = Callable[["Call", Any], None]

_FIELDS = frozenset(ModelCall.__struct_fields__)
#: names that are no fields, said once each; they come from the application's code, of which there is a bounded amount
_odd_names: set[str] = set()


class Taker(Protocol):
    """What takes calls."""

    def emit(self, call: ModelCall) -> bool:
        """Take a call; False: it was dropped."""

    def refuse(self, reason: str) -> bool:
        """Count what did not become a call; False."""


class Call:
    """A call in the making: a context manager whose attributes are the fields of `ModelCall`.

    At the end of the block `id`, `time`, `latency_ms` (from the beginning of the block) and, after an exception,
    `error_type` are filled in where they were not set. The exception goes on unchanged. An attribute that is no field
    is left out, and said once in the log.
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

    def __init__(self, taker: Taker, fields: dict[str, Any]) -> None:
        self.__dict__.update(fields)
        self._taker = taker
        self._started = time.perf_counter()

    if not TYPE_CHECKING:  # would hide wrong names from type checkers

        def __getattr__(self, name: str) -> Any:
            """Give None for a field that is not set."""
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
            # a reader that has had enough of a stream closes it: no error of the call
            if kind is not None and not issubclass(kind, GeneratorExit):
                self.__dict__.setdefault("error_type", kind.__name__)
            self._emit()
        except Exception:  # no `app`, or whatever else the application did to the fields
            self._taker.refuse("missing_field")

    def _emit(self) -> None:
        self.__dict__.setdefault("latency_ms", self._elapsed_ms())
        self.__dict__.setdefault("time", time.time_ns() // 1_000_000)
        self.__dict__.setdefault("id", uuid.uuid4().hex)
        fields = {}
        for name, value in self.__dict__.items():
            if name in _FIELDS:
                fields[name] = value
            elif not name.startswith("_") and name not in _odd_names:
                _odd_names.add(name)
                LOG.warning("a call has no field %s; it was left out", name)
        self._taker.emit(ModelCall(**fields))

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    def _fill(self, fill: Fill | None, value: Any) -> None:
        """Let the application's function fill in fields; what it raises is said in the log."""
        if fill is not None:
            try:
                fill(self, value)
            except Exception:
                LOG.warning("the function `fill` failed on what %s returned", type(value).__name__, exc_info=True)


def observed(function: AnyFunction, start: Callable[[], Call], fill: Fill | None) -> AnyFunction:
    """The function, each of whose calls (of a generator: each run) is one `Call`; results and exceptions as they were.

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
    """A generator of the application, watched: everything goes through, items are seen."""

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
