"""What an operator sees: counters with units, and three addresses on a port."""

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

from leeboard.pipelines.notify.sinks import Outcome
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .dispatcher import Dispatcher

PREFIX = "leeboard_notify"
#: an attempt: a good answer takes .1 to .5 s, the time-out is 10 s
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


class NotifyMetrics:
    """Numbers about deliveries. Labels are names of sinks and results; never anything from a record."""

    def __init__(self, sinks: Iterable[str]) -> None:
        self.registry = registry = CollectorRegistry()
        self._deliveries = Counter(
            f"{PREFIX}_deliveries_total", "Attempts by result", ["sink", "result"], registry=registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_delivery_seconds",
            "Length of an attempt",
            ["sink"],
            registry=registry,
            buckets=BUCKETS_S,
        )
        self._depth = Gauge(f"{PREFIX}_queue_depth", "Messages that wait at a sink", ["sink"], registry=registry)
        self._oldest = Gauge(
            f"{PREFIX}_oldest_undelivered_seconds",
            "Age of the oldest message that waits",
            ["sink"],
            registry=registry,
        )
        self.dead_letters = Counter(
            f"{PREFIX}_dead_letters_total", "Dead letters written", ["reason"], registry=registry
        )
        self.stalled = Gauge(f"{PREFIX}_stalled", "1 while no summaries arrive", registry=registry)
        self.unreachable = Gauge(f"{PREFIX}_unreachable", "1 while no broker answers", registry=registry)
        for name in sinks:
            for result in ("delivered", "retry", "dropped"):
                self._deliveries.labels(name, result)
            self._seconds.labels(name)

    def attempted(self, sink: str, outcome: Outcome, seconds: float) -> None:
        """See `worker.AttemptObserver`."""
        self._deliveries.labels(sink, outcome.result).inc()
        self._seconds.labels(sink).observe(seconds)

    def follow(self, dispatcher: Dispatcher, sinks: Iterable[str]) -> None:
        """Read depth and age from the queues whenever somebody asks."""
        for name in sinks:
            self._depth.labels(name).set_function(partial(_depth, dispatcher, name))
            self._oldest.labels(name).set_function(partial(_age_s, dispatcher, name))


def _depth(dispatcher: Dispatcher, name: str) -> float:
    return float(dispatcher.depth(name))


def _age_s(dispatcher: Dispatcher, name: str) -> float:
    due_s = dispatcher.oldest_s(name)
    return 0.0 if due_s is None else max(time.time() - due_s, 0.0)


#: None: well; otherwise why not
Probe: TypeAlias = Callable[[], str | None]


class StatusServer:
    """`/metrics`, `/livez` (200 while the process works) and `/readyz` (200 while it has work and a broker)."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, live: Probe, ready: Probe) -> None:
        """Raises OSError where the port cannot be had."""
        checks = {"/livez": live, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path in checks:
                    wrong = checks[path]()
                    self._answer(200 if wrong is None else 503, "text/plain", f"{wrong or 'ok'}\n".encode())
                else:
                    self._answer(404, "text/plain", b"/metrics /livez /readyz\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the base class's)
                """Nothing: probes come every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
