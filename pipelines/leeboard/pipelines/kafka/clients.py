"""Settings as the arguments of the three Kafka clients: kafka-python, aiokafka, Faust."""

import ssl
from typing import Any

from .diagnose import why_unreachable
from .settings import KafkaSettings, SecuritySettings

#: largest request: a slice of state (4 MB) goes in several; our topics take records of 1 MB
MAX_REQUEST_BYTES = 1 << 20
#: a client that does not close is abandoned after so long
CLIENT_CLOSE_S = 5.0
#: how long a single record may take to be acknowledged when an operator sends it
OPERATOR_SEND_S = 30.0


class ClientError(Exception):
    """A client that cannot be made from its settings; the message says what to set."""


def tls_context(security: SecuritySettings) -> ssl.SSLContext | None:
    """The TLS context, or None without TLS. Raises ClientError."""
    if not security.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ClientError(f"kafka.security: certificates cannot be read: {error}") from None
    return context


def password(security: SecuritySettings) -> str:
    """The password of the login. Raises ClientError if there is none."""
    try:
        secret = security.secret()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"kafka.security.password_file: {error}") from None
    if not secret or not security.username:
        raise ClientError(
            f"kafka.security: {security.protocol} needs username, and "
            "LEEBOARD__KAFKA__SECURITY__PASSWORD or password_file"
        )
    return secret


def python_client(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments for the clients of kafka-python. Raises ClientError."""
    return {**_common(settings), "bootstrap_timeout_ms": 10_000, "reconnect_backoff_max_ms": 1000}


def aiokafka_client(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments for the clients of aiokafka. Raises ClientError."""
    return {**_common(settings), "metadata_max_age_ms": 5000}


def _common(settings: KafkaSettings) -> dict[str, Any]:
    security = settings.security
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": security.protocol,
    }
    context = tls_context(security)
    if context is not None:
        arguments["ssl_context"] = context
    if security.sasl:
        arguments["sasl_mechanism"] = security.mechanism
        arguments["sasl_plain_username"] = security.username
        arguments["sasl_plain_password"] = password(security)
    return arguments


def faust_credentials(settings: KafkaSettings) -> Any:
    """What Faust takes as `broker_credentials`: None, a TLS context, or a login. Raises ClientError."""
    from faust import SASLCredentials, SSLCredentials

    security = settings.security
    context = tls_context(security)
    if security.sasl:
        return SASLCredentials(
            username=security.username,
            password=password(security),
            mechanism=security.mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None


def explain(error: Exception, settings: KafkaSettings) -> str:
    """What to do about an error of a client that could not start. Must not be called from a running event loop."""
    from kafka.errors import (
        AuthorizationError,
        BrokerResponseError,
        InvalidReplicationFactorError,
        KafkaConnectionError,
        KafkaTimeoutError,
        UnsupportedCodecError,
    )

    servers = ", ".join(settings.bootstrap_servers)
    text = str(error) or type(error).__name__
    if isinstance(error, ClientError):
        return text
    if isinstance(error, UnsupportedCodecError):
        return f"{text}: pip install 'leeboard[worker]'"
    if isinstance(error, AuthorizationError):
        return f"User:{settings.security.username or 'ANONYMOUS'} lacks rights ({text}): see deploy/kafka/acls.md"
    if isinstance(error, InvalidReplicationFactorError):
        return f"the cluster has too few brokers for kafka.replication_factor = {settings.replication_factor}: set it"
    if isinstance(error, BrokerResponseError):
        return f"the brokers at {servers} answer: {text}"
    if not isinstance(error, KafkaTimeoutError | KafkaConnectionError):
        return f"kafka: {text}"
    login = _common(settings)
    why = why_unreachable(login.pop("bootstrap_servers"), settings.security, login)
    if why is not None:
        return f"no Kafka broker to work with: {why}"
    return (
        f"no Kafka broker answers at {servers} ({text}): check kafka.bootstrap_servers, the network, and whether "
        f"kafka.security.protocol = {settings.security.protocol} is what its listener speaks"
    )
