"""Why no broker could be used: one connection to each, and the error that it ends with.

kafka-python retries for a while and then reports only that it did not succeed. aiokafka, which comes with every worker,
reports the reason of a single attempt.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from .settings import SecuritySettings

#: TCP, TLS and login at one broker: a second at worst, unless something drops packets
PROBE_MS = 5000
#: a socket closes in the next rounds of the loop; one that was never open never does
PROBE_CLOSE_S = 0.2
#: servers that are tried: the first ones show the mistake
MAX_PROBED_SERVERS = 3


def why_unreachable(servers: Sequence[str], security: SecuritySettings, login: Mapping[str, Any]) -> str | None:
    """What each server answers; None if aiokafka is not installed, so that this cannot be found out.

    `login`: `security` as arguments of aiokafka. Must not be called from a running event loop.
    """
    try:
        from aiokafka.conn import AIOKafkaConnection
    except ImportError:
        return None

    async def ask(server: str) -> str:
        host, _, port = server.rpartition(":")
        if not host or not port.isdecimal():
            return f"{server}: give host:port"
        connection = AIOKafkaConnection(host.strip("[]"), int(port), request_timeout_ms=PROBE_MS, **login)
        try:
            await connection.connect()
        except Exception as error:  # every error is an answer
            return f"{server}: {hint(error, security)}"
        finally:
            closed = connection.close()
            if closed is not None:
                await asyncio.wait({closed}, timeout=PROBE_CLOSE_S)
        return f"{server} answers and then hangs up: does its listener want a login? See kafka.security.protocol"

    async def ask_all() -> list[str]:
        return await asyncio.gather(*(ask(server) for server in servers[:MAX_PROBED_SERVERS]))

    return "; ".join(asyncio.run(ask_all()))


def hint(error: Exception, security: SecuritySettings) -> str:
    """What to set, by the error that one connection ended with."""
    name = type(error).__name__
    if "SaslAuthentication" in name:
        return (
            f"refuses the login of {security.username}: check kafka.security.username, and "
            "LEEBOARD__KAFKA__SECURITY__PASSWORD or the file that password_file names"
        )
    if "UnsupportedSaslMechanism" in name:
        return f"does not know kafka.security.mechanism = {security.mechanism}"
    if "IllegalSaslState" in name:
        return f"wants no login: kafka.security.protocol = {security.protocol} is not what its listener speaks"
    if isinstance(error, ssl.SSLCertVerificationError):
        authorities = security.ca_file or "the authorities of the system"
        return (
            f"its certificate does not pass with {authorities} ({error.verify_message}): set kafka.security.ca_file to "
            "the authority that signed it, and name the server as its certificate does"
        )
    if isinstance(error, socket.gaierror):
        return "no such name: check kafka.bootstrap_servers"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there: is the broker up, is kafka.bootstrap_servers right?"
    if isinstance(error, TimeoutError):
        return "no answer: is the broker up, does a firewall or network policy drop the packets?"
    return (
        f"hangs up ({str(error) or name}): kafka.security.protocol = {security.protocol} may not be what its listener "
        "speaks"
    )
