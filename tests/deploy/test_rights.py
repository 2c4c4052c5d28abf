"""The roles of deploy/kafka/acls.json on a real broker: enough for the work, and every right is needed."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from kafka import KafkaProducer
from kafka.errors import TopicAuthorizationFailedError
from leeboard.pipelines.cli.commands import cli
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.kafka.stage_topics import rights_of
from leeboard.pipelines.kafka.worker.process import Refusal, source_topic_ids
from leeboard.pipelines.runtime.warm import warm_kernels
from leeboard.pipelines.topics import StageName
from leeboard.schemas import Deploy, encode

from tests.kafka.fleet import Fleet, WorkerProcess
from tests.pipelines.watch.streams import Traffic

from .roles import STAGES, Right, Secure, needed_in, rights_in, roles, user_of

PATIENCE_S = 60.0


@pytest.mark.parametrize("stage", STAGES)
def test_a_role_has_what_the_code_asks_for_and_no_more(stage: StageName) -> None:
    settings = KafkaSettings()
    wanted = {
        Right("topic", topic, "literal", operation)
        for topic, operations in rights_of(stage, settings.topics).items()
        for operation in (*operations, "DESCRIBE_CONFIGS")
    }
    wanted.add(Right("group", settings.group(stage), "literal", "READ"))
    if stage == "normalise":  # which looks at the guard of the control topic
        wanted.add(Right("cluster", "kafka-cluster", "literal", "DESCRIBE"))
    else:
        ids = settings.transactional_id(stage, 0).removesuffix("0")
        wanted |= {Right("transactional_id", ids, "prefixed", operation) for operation in ("WRITE", "DESCRIBE")}
    assert set(rights_in(stage)) == wanted
    assert len(rights_in(stage)) == len(wanted), "a right is listed twice"


def test_only_people_may_write_to_the_control_topic() -> None:
    control = KafkaSettings().topics.control
    writers = {
        role
        for role in roles()
        for right in rights_in(role)
        if right.resource == "topic" and right.operation in ("WRITE", "ALL") and control.startswith(right.name)
    }
    assert writers == {"people"}


def send(settings: KafkaSettings, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(**python_client(settings))
    try:
        for sent in [producer.send(topic, value=value) for value in values]:
            sent.get(15)
    finally:
        producer.close()


def wait_for(found: Callable[[], bool], workers: list[WorkerProcess]) -> None:
    """Wait until something is there, as long as all workers run."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        ended = any(worker.process is None or worker.process.poll() is not None for worker in workers)
        assert not ended, "\n".join(worker.log.read_text() for worker in workers)
        assert time.monotonic() < deadline, "\n".join(worker.log.read_text() for worker in workers)
        time.sleep(0.3)


def test_every_stage_does_its_work_as_its_role_over_tls(secure: Secure) -> None:
    """Calls in as telemetry, a deployment as people, pages out: nothing else than the rights of acls.json."""
    warm_kernels(Config().engine())  # in the cache that the workers share
    workers = [secure.worker(stage, secure.config_file(user_of(stage))) for stage in STAGES]
    traffic = Traffic(1)
    calls = [*traffic.calls(400), *traffic.calls(200, latency=3.0)]
    topics = KafkaSettings().topics
    send(secure.config(user_of("telemetry")).kafka, topics.raw[0], *map(encode, calls), b"not a call")
    deploy = Deploy(time=calls[-1].time, app=calls[0].app, route="*", what="release", by="ana")
    send(secure.config(user_of("people")).kafka, topics.control, encode(deploy))
    reader = Fleet(secure.broker, secure.folder, "admin", secure.folder, secure.config("admin"))
    wait_for(lambda: bool(reader.read(topics.pages)), workers)
    for worker in workers:
        worker.ask_to_stop()
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    assert len(reader.read(topics.calls)) == len(calls) + 2, "a deployment for every route goes to both partitions"
    assert len(reader.read(topics.dead_letters)) == 1
    assert reader.read(topics.state)
    assert reader.read(topics.gate_state)


def test_telemetry_can_write_calls_and_nothing_else(secure: Secure) -> None:
    settings = secure.config(user_of("telemetry")).kafka
    for topic in (settings.topics.control, settings.topics.calls):
        with pytest.raises(TopicAuthorizationFailedError):
            send(settings, topic, b"{}")


def without(stage: str, number: int) -> str:
    return f"{stage}-without-{number}"


@pytest.fixture(scope="module")
def lacking(secure: Secure) -> Secure:
    """A login for every right of a stage, which has all the stage's rights but that."""
    cases = [(stage, number) for stage in STAGES for number in range(len(needed_in(stage)))]
    secure.add_users([without(stage, number) for stage, number in cases])
    secure.allow(
        [
            right.acl(without(stage, number))
            for stage, number in cases
            for right in rights_in(stage)
            if right != needed_in(stage)[number]
            and (right.resource, right.operation) != ("transactional_id", "DESCRIBE")
        ]
    )
    return secure


def refusal(config: Config, stage: StageName) -> str:
    try:
        source_topic_ids(config, stage)
    except Refusal as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("stage", "number"), [(stage, number) for stage in STAGES for number in range(len(needed_in(stage)))]
)
def test_a_stage_that_lacks_a_right_refuses_to_start_and_names_it(
    lacking: Secure, stage: StageName, number: int
) -> None:
    right, user = needed_in(stage)[number], without(stage, number)
    said = refusal(lacking.config(user), stage)
    assert f"User:{user}" in said
    assert right.said in said
    assert right.operation.lower() in said.lower()


def test_a_worker_that_may_look_at_transactions_and_not_write_them_ends_with_2(secure: Secure) -> None:
    """It is found out at the first record: to try earlier would fence the owner."""
    user = "watch-who-looks"
    secure.add_users([user])
    secure.allow(
        [r.acl(user) for r in rights_in("watch") if (r.resource, r.operation) != ("transactional_id", "WRITE")]
    )
    send(secure.config("admin").kafka, KafkaSettings().topics.calls, b"something to take")
    worker = secure.worker("watch", secure.config_file(user))
    code = worker.wait()
    assert code == 2, worker.log.read_text()
    assert f"User:{user} lacks WRITE, DESCRIBE on transactional ids that begin with" in worker.log.read_text()


@pytest.mark.parametrize(
    "command",
    ["topics check", "lag", "dlq ls", "state ls", "replay --from-topic --since 7d"],
)
def test_the_operators_role_is_enough_for_looking(secure: Secure, command: str) -> None:
    config = secure.config_file(user_of("operator"))
    done = CliRunner().invoke(cli, [*command.split(), "--json", "--config", str(config)])
    assert done.exit_code in (0, 1), done.output
    assert done.exit_code == 0 or command.startswith("replay"), done.output


def test_a_member_that_left_for_good_can_be_removed_by_the_operator(secure: Secure) -> None:
    """The command of docs/OPERATIONS.md; that nobody has the name is the group's answer, not a missing right."""
    security = secure.config(user_of("operator")).kafka.security
    login = ["-S", security.protocol, "-M", security.mechanism, "-U", str(security.username), "-P", security.secret()]
    command = [
        sys.executable,
        "-c",
        "from kafka.cli import run_cli; run_cli()",
        "admin",
        "-b",
        secure.broker.tls_bootstrap,
    ]
    command += [*login, "-C", f"ssl_cafile={secure.broker.ca_file}", "groups", "remove-members"]
    command += ["--group-id", "leeboard-watch", "--group-instance-id", "watch-leeboard-watch-9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "AuthorizationFailed" not in done.stdout + done.stderr
    assert "UnknownMemberId" in done.stdout + done.stderr
