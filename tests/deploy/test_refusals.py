"""What a worker says that must not start, as the process that an operator sees: exit code 2, and what to do."""

import re
import socket
import time
from typing import Any

import pytest
from kafka.admin import ACL, ACLFilter
from kafka.errors import InvalidReplicationFactorError, KafkaTimeoutError, TopicAlreadyExistsError
from leeboard.pipelines.config import load
from leeboard.pipelines.kafka.clients import ClientError, aiokafka_client, explain
from leeboard.pipelines.kafka.settings import KafkaSettings, SecuritySettings
from leeboard.pipelines.kafka.worker.process import Refusal, source_topic_ids

from tests.kafka.broker import free_ports, make_certificate

from .roles import Right, Secure, rights_in, user_of

#: a broker that has been told of an ACL goes by it a moment later
ACL_S = 10.0


def test_a_worker_that_must_not_start_ends_with_2_and_says_what_to_do(secure: Secure) -> None:
    """Five at once, since some wait ten seconds for a broker before they give up."""
    normalise = user_of("normalise")
    (secure.folder / "other").mkdir()
    make_certificate(secure.folder / "other")
    other_ca = str(secure.folder / "other" / "ca.pem")
    [port] = free_ports(1)
    cases = {
        "password": ({"password": "wrong"}, f"refuses the login of {normalise}.*password_file"),
        "authority": ({"security": {"ca_file": other_ca}}, "certificate does not pass.*set kafka.security.ca_file"),
        "address": ({"bootstrap_servers": [f"127.0.0.1:{port}"]}, "nobody listens there.*kafka.bootstrap_servers"),
        "file": ({"security": {"password_file": "/nowhere/password"}}, "kafka.security.password_file: .*No such file"),
    }
    started = []
    for name, (changes, wanted) in cases.items():
        started.append((secure.worker("normalise", secure.config_file(normalise, name=name, **changes)), wanted))
    user = "watch-who-lacks"
    secure.add_users([user])
    secure.allow([right.acl(user) for right in rights_in("watch") if right.resource != "group"])
    lacks = f"User:{user} lacks READ on group leeboard-watch: add an ACL .deploy/kafka/acls.md"
    started.append((secure.worker("watch", secure.config_file(user)), lacks))
    for worker, wanted in started:
        code = worker.wait()
        text = worker.log.read_text()
        assert (code, "Traceback" in text) == (2, False), text
        assert re.search(wanted, text), text


def problem_of_normalise(secure: Secure) -> str:
    try:
        source_topic_ids(secure.config(user_of("normalise")), "normalise")
    except Refusal as refused:
        return str(refused)
    return ""


def soon(secure: Secure, pattern: str) -> None:
    """Wait until *normalise* refuses to start with such words; an empty pattern: until it does not."""
    deadline = time.monotonic() + ACL_S
    while not re.fullmatch(pattern, said := problem_of_normalise(secure)):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def remove(secure: Secure, acl: ACL) -> None:
    """Take an ACL away."""
    with secure.broker.admin() as admin:
        admin.delete_acls([ACLFilter(acl.principal, "*", acl.operation, acl.permission_type, acl.resource_pattern)])


def test_a_control_topic_that_nobody_guards_is_refused_with_the_remedy(secure: Secure) -> None:
    soon(secure, "")
    control = KafkaSettings().topics.control
    [guard] = [right for right in rights_in("people") if right.operation == "WRITE"]
    acl = guard.acl(user_of("people"))
    remove(secure, acl)
    soon(secure, f"topic {control} has no ACL of its own: allow Write on it to those who may mute and accept, .*")
    secure.allow([acl])
    soon(secure, "")


def test_an_acl_that_lets_telemetry_into_the_control_topic_is_refused(secure: Secure) -> None:
    wide = Right("topic", "leeboard.", "prefixed", "WRITE").acl(user_of("telemetry"))
    secure.allow([wide])
    soon(secure, f"an ACL for many topics lets User:{user_of('telemetry')} write to leeboard.control: narrow it, .*")
    remove(secure, wide)
    soon(secure, "")


def test_the_operators_check_finds_nothing(secure: Secure) -> None:
    done = secure.leeboard("topics", "check", "--config", str(secure.config_file(user_of("operator"))))
    assert (done.returncode, done.stdout) == (0, "all topics are as they must be\n"), done.stderr


def explained(settings: KafkaSettings) -> str:
    """What is said when kafka-python has found no broker."""
    return explain(KafkaTimeoutError("unable to bootstrap"), settings)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"password": "wrong"}, "refuses the login of leeboard-watch: check kafka.security.username"),
        ({"security": {"mechanism": "PLAIN"}}, "does not know kafka.security.mechanism = PLAIN"),
        ({"security": {"protocol": "SASL_PLAINTEXT"}}, "kafka.security.protocol = SASL_PLAINTEXT may not be"),
        ({"security": {"ca_file": None}}, "does not pass with the authorities of the system"),
        ({"bootstrap_servers": ["no-such-host.invalid:9092"]}, "no such name: check kafka.bootstrap_servers"),
        ({"bootstrap_servers": ["broker"]}, "broker: give host:port"),
        ({}, "answers and then hangs up"),
    ],
    ids=["password", "mechanism", "no TLS", "system's authorities", "name", "no port", "nothing wrong"],
)
def test_an_unusable_broker_is_explained(secure: Secure, changes: dict[str, Any], wanted: str) -> None:
    security = {k: v for k, v in changes.get("security", {}).items() if v is not None}
    path = secure.config_file(user_of("watch"), **{**changes, "security": security})
    if changes.get("security") == {"ca_file": None}:
        path.write_text(re.sub(r"ca_file = .*\n", "", path.read_text()))
    assert wanted in explained(load(path, {}).kafka)


def test_a_listener_without_logins_is_told_from_one_without_tls(secure: Secure) -> None:
    settings = secure.config(user_of("watch"), bootstrap_servers=[secure.broker.bootstrap]).kafka
    assert "kafka.security.protocol = SASL_SSL may not be what its listener speaks" in explained(settings)


def test_a_server_that_says_nothing_is_told_from_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = explained(KafkaSettings(bootstrap_servers=[f"127.0.0.1:{silent.getsockname()[1]}"]))
    assert "no answer: is the broker up" in said


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ClientError("kafka.security: certificates cannot be read"), "^kafka.security: certificates cannot be read$"),
        (InvalidReplicationFactorError(), "too few brokers for kafka.replication_factor = 3"),
        (TopicAlreadyExistsError("leeboard.raw"), "answer: .*leeboard.raw"),
    ],
)
def test_an_answer_of_the_brokers_is_not_called_silence(error: Exception, wanted: str) -> None:
    said = explain(error, KafkaSettings())
    assert re.search(wanted, said)
    assert "no Kafka broker" not in said


def test_a_login_without_a_password_is_refused_before_anything_is_sent() -> None:
    security = SecuritySettings(protocol="SASL_SSL", username="watch")
    with pytest.raises(ClientError, match="LEEBOARD__KAFKA__SECURITY__PASSWORD or password_file"):
        aiokafka_client(KafkaSettings(security=security))
