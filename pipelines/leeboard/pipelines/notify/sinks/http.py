"""One HTTP request of the sinks that have no client library of their own."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from .base import Outcome, no_answer, outcome_of_status

#: bytes of an answer that are read before the connection is closed
MAX_ANSWER_BYTES = 1 << 16


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET, and lead to somebody else: it is an answer like another."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never."""
        return


_opener = urllib.request.build_opener(_Stay)


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Outcome:
    """One POST of JSON; proxies and certificate authorities are those of the environment."""
    every = {"Content-Type": "application/json", "User-Agent": "leeboard", **headers}
    request = urllib.request.Request(url, data=body, headers=every, method="POST")  # noqa: S310 (settings allow http(s))
    try:
        with _opener.open(request, timeout=timeout_s) as answer:
            answer.read(MAX_ANSWER_BYTES)
            return outcome_of_status(answer.status, None)
    except urllib.error.HTTPError as error:
        with error:
            return outcome_of_status(error.code, error.headers.get("Retry-After"))
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last one: a host that is no host name
        return no_answer(error)
