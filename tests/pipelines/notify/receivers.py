"""Real HTTP servers on loopback in the place of PagerDuty, Slack, Alertmanager and webhooks."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What goes back. `status` 0: the connection is cut without an answer."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0


Answering = Callable[[Request], Answer]
ACCEPTED = Answer(202, b'{"status": "success", "message": "Event processed", "dedup_key": "k"}')


def always(answer: Answer) -> Answering:
    return lambda _: answer


def in_turn(*answers: Answer) -> Answering:
    """One after the other; the last for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


class Receiver:
    """Keeps every request, in the order in which they came."""

    def __init__(self, answering: Answering) -> None:
        self.requests: list[Request] = []
        self.answering = answering
        self.closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # an answer in one piece: two would wait for each other's acknowledgement

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                if len(body) < length:  # the sender has died
                    self.close_connection = True
                    return
                request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                receiver.requests.append(request)
                answer = receiver.answering(request)
                receiver.closing.wait(answer.after_s)
                if answer.status == 0:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """The client has hung up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def bodies(self) -> list[Any]:
        return [request.json for request in self.requests]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiver(answering: Answering | None = None) -> Iterator[Receiver]:
    made = Receiver(answering or always(Answer()))
    try:
        yield made
    finally:
        made.close()


def eventually(check: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait until it holds."""
    until = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.01)
