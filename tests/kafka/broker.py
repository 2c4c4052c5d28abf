"""A real Kafka broker for tests: one node (KRaft), loopback only, no Docker.

    with Broker() as broker:
        use(broker.bootstrap)
        broker.kill()    # as a power cut would
        broker.start()   # the same ports, the same data

`python -m tests.kafka.broker` (`make kafka`) starts one on 127.0.0.1:9092 and shows what it says until Ctrl-C.
"""

import argparse
import base64
import ctypes
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.settings import KafkaSettings, SecuritySettings

from .install import Kafka, Unavailable, install, locked

HOST = "127.0.0.1"
#: quick to start rather than quick in the long run; a test's broker lives for a minute
JVM = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
#: below the ports that Linux gives to outgoing connections (32768 to 60999): a client that keeps knocking at a broker
#: that is down would else, one day, be given that very port, and the broker could not come back
PORTS = range(20_000, 32_000)
#: a start takes 1 to 2 s; after a kill 3 to 5 s, since the dead broker's registration has to time out
START_S = 90.0
STOP_S = 30.0
#: one poll of a reader: a partition whose last transaction has ended costs one poll without records
POLL_MS = 100
#: users of a secure broker, with their passwords; `admin` may do everything, the others what they are allowed
USERS = {"admin": "admin-secret", "ana": "ana-secret", "ben": "ben-secret"}

SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "auto.create.topics.enable": "false",
    # tests wait for members to be missed, for compaction, for a broker that comes back
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
    "log.initial.task.delay.ms": "1000",
    "controlled.shutdown.enable": "false",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "200",
    "broker.registration.timeout.ms": "20000",
    # one small node
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "log.cleaner.dedupe.buffer.size": "4194304",
}

LOGGING = """<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p %c{1} %m%n"/></Console></Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <!-- warns at every first start that the log is empty -->
    <Logger name="org.apache.kafka.controller.QuorumController" level="ERROR"/>
  </Loggers>
</Configuration>
"""

#: None where the system is not Linux
_prctl = getattr(ctypes.CDLL(None), "prctl", None)
PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In a child before exec: the kernel kills it when the thread that started it ends, however that ends (Linux)."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, all different."""
    found: list[int] = []
    for port in random.sample(PORTS, 1000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Unavailable(f"no free port between {PORTS.start} and {PORTS.stop}")


def answers(port: int) -> bool:
    """Does a broker answer the protocol (not only listen)? One ApiVersions request by hand."""
    request = struct.pack(">hhih", 18, 0, 7, 1) + b"t"
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.recv(10)
    except OSError:
        return False
    return len(head) == 10 and struct.unpack(">iih", head)[2] == 0


def make_certificate(folder: Path) -> None:
    """ca.pem, of an authority of our own, and broker.pem: key and certificate of 127.0.0.1. Raises Unavailable."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Unavailable("no `openssl` in PATH, which makes the certificates; apt-get install openssl")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    authority = ["-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=tests", "-addext", "keyUsage=keyCertSign"]
    own = ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=broker", "-CA", "ca.pem", "-CAkey", "ca-key.pem"]
    names = ["-addext", f"subjectAltName=IP:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE"]
    for arguments in ([*new, *authority], [*new, *own, *names]):
        done = subprocess.run([openssl, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"openssl {' '.join(arguments)}: {done.stderr[-1000:]}")
    (folder / "broker.pem").write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())


class Broker:
    """One broker: its ports and its folder stay the same over stop, kill and start.

    `secure`: clients log in (SCRAM-SHA-512), at `tls_bootstrap` over TLS, and may do what an ACL allows.
    `settings` are the broker's own, over SETTINGS; `kafka`: what to run, otherwise `prepare` finds it.
    """

    def __init__(
        self,
        *,
        secure: bool = False,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        kafka: Kafka | None = None,
    ) -> None:
        self.secure = secure
        self.folder = Path(tempfile.mkdtemp(prefix="leeboard-kafka-"))
        client, self._tls_port, self._internal_port, self._controller_port = free_ports(4)
        self._port = client if port is None else port
        self.bootstrap = f"{HOST}:{self._port}"
        self.tls_bootstrap = f"{HOST}:{self._tls_port}"
        self.ca_file = self.folder / "ca.pem"
        self.log_path = self.folder / "broker.log"
        self._settings = dict(settings or {})
        self._kafka = kafka
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *jvm: str) -> "Broker":
        """Start, and wait until it answers; `jvm`: further flags. Raises Unavailable."""
        assert self.pid is None, "it runs"
        if answers(self._port):
            raise Unavailable(f"another broker answers at {self.bootstrap}")
        if self._kafka is None:
            self._kafka = prepare()
        if not (self.folder / "data").exists():
            self._format(self._kafka)
        command = _java(self._kafka, self.folder, *jvm)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "kafka.Kafka", str(self.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it in order
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + START_S
        while not answers(self._port):
            if self._process.poll() is not None:
                raise Unavailable(f"the broker ended with code {self._process.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise Unavailable(f"the broker did not answer within {START_S:g} s:\n{self.log_tail()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Let it end in order (SIGTERM)."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._ended()

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._ended()

    def remove(self) -> None:
        """Kill it and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """The process, None when it is down."""
        return None if self._process is None else self._process.pid

    def log_tail(self) -> str:
        """The last of what the broker said."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-40:])

    def settings(self, user: str = "admin", *, tls: bool = False, **others: Any) -> KafkaSettings:
        """`[kafka]` for a client; `user` and `tls` matter where the broker is secure; `others`: further keys."""
        security = SecuritySettings()
        if self.secure:
            security = SecuritySettings(
                protocol="SASL_SSL" if tls else "SASL_PLAINTEXT",
                ca_file=str(self.ca_file) if tls else None,
                username=user,
                password=USERS[user],
            )
        servers = [self.tls_bootstrap if tls else self.bootstrap]
        return KafkaSettings(bootstrap_servers=servers, security=security, replication_factor=1, **others)

    @contextmanager
    def admin(self) -> Iterator[Any]:
        """kafka-python's admin client."""
        from kafka import KafkaAdminClient

        client = KafkaAdminClient(**python_client(self.settings()))
        try:
            yield client
        finally:
            client.close()

    def allow(self, user: str, topic: str, *operations: str) -> None:
        """Let a user do something to a topic: "read", "write", "describe" ..."""
        from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

        pattern = ResourcePattern(ResourceType.TOPIC, topic)
        wanted = [ACLOperation[operation.upper()] for operation in operations]
        with self.admin() as admin:
            admin.create_acls([ACL(f"User:{user}", "*", each, ACLPermissionType.ALLOW, pattern) for each in wanted])

    def create_topic(self, name: str, partitions: int = 1, **configs: str) -> str:
        """Make a topic and wait for its leaders; dots in the names of `configs` are written as underscores."""
        wanted = {key.replace("_", "."): value for key, value in configs.items()}
        topic = {"num_partitions": partitions, "replication_factor": 1, "configs": wanted}
        with self.admin() as admin:
            admin.create_topics({name: topic})
            admin.wait_for_topics([name])
        return name

    def records(self, topic: str) -> list[Any]:
        """Everything that is committed in a topic now, partition by partition, as kafka-python gives it."""
        from kafka import KafkaConsumer, TopicPartition

        settings = {"isolation_level": "read_committed", "enable_auto_commit": False}
        consumer = KafkaConsumer(**python_client(self.settings()), **settings)
        try:
            partitions = [
                TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Any] = []
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                for records in consumer.poll(POLL_MS).values():
                    found += records
        finally:
            consumer.close()
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def __enter__(self) -> "Broker":
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.remove()

    def _ended(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _format(self, kafka: Kafka) -> None:
        """Write the settings and an empty log."""
        (self.folder / "log4j2.xml").write_text(LOGGING)
        if self.secure:
            make_certificate(self.folder)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties().items()))
        # url-safe, and the letter keeps an id from looking like an option
        cluster = "k" + base64.urlsafe_b64encode(random.randbytes(16)).decode()[1:22]
        arguments = ["format", "--standalone", "--cluster-id", cluster, "--config", str(properties)]
        if self.secure:
            for user, password in USERS.items():
                arguments += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        command = [*_java(kafka, self.folder), "kafka.tools.StorageTool", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_S)
        if done.returncode != 0:
            raise Unavailable(f"the broker's log could not be made:\n{(done.stdout + done.stderr)[-2000:]}")

    def _properties(self) -> dict[str, str]:
        listeners = {"CLIENTS": self._port, "INTERNAL": self._internal_port, "CONTROLLER": self._controller_port}
        protocols = dict.fromkeys(listeners, "PLAINTEXT")
        found = dict(SETTINGS)
        if self.secure:
            listeners["TLS"] = self._tls_port
            protocols |= {"CLIENTS": "SASL_PLAINTEXT", "TLS": "SASL_SSL"}
            login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            found |= {
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.clients.scram-sha-512.sasl.jaas.config": login,
                "listener.name.tls.scram-sha-512.sasl.jaas.config": login,
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(self.folder / "broker.pem"),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "false",
                # the broker itself, which talks to itself on INTERNAL and CONTROLLER, is anonymous
                "super.users": "User:admin;User:ANONYMOUS",
            }
        where = ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
        return {
            **found,
            "listeners": where,
            "advertised.listeners": where,
            "listener.security.protocol.map": ",".join(f"{name}:{protocols[name]}" for name in listeners),
            "controller.quorum.bootstrap.servers": f"{HOST}:{self._controller_port}",
            "log.dirs": str(self.folder / "data"),
            **self._settings,
        }


def _java(kafka: Kafka, folder: Path, *jvm: str) -> list[str]:
    """The command up to the main class; Java itself reads `libs/*`."""
    archive = [f"-XX:SharedArchiveFile={kafka.archive}"] if kafka.archive.exists() and not jvm else []
    logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}"
    return [kafka.java, *JVM, *archive, *jvm, logging, "-cp", f"{kafka.libs}/*"]


def prepare() -> Kafka:
    """Kafka, installed, with its archive of classes: a start takes 1 s instead of 2. Raises Unavailable."""
    kafka = install()
    with locked(kafka.libs.parent):
        if not kafka.archive.exists():
            new = kafka.archive.with_suffix(".new")
            broker = Broker(kafka=kafka)
            try:
                broker.start(f"-XX:ArchiveClassesAtExit={new}")
                broker.stop()
            finally:
                broker.remove()
            # a machine too busy to write it within STOP_S goes without
            if new.exists():
                new.rename(kafka.archive)
    return kafka


def main() -> None:
    """Prepare only, or run a broker in the foreground."""
    parser = argparse.ArgumentParser(description="A Kafka broker on 127.0.0.1 for tests and first steps.")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--prepare", action="store_true", help="only fetch it")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started this in the background
    try:
        if arguments.prepare:
            prepare()
            return
        with Broker(port=arguments.port) as broker:
            print(f"Kafka at {broker.bootstrap}, one node (replication_factor = 1), data in {broker.folder}")
            print("Ctrl-C stops it and deletes the data.", flush=True)
            wait(broker)
    except Unavailable as error:
        sys.exit(f"leeboard: {error}")
    except KeyboardInterrupt:
        print()


def wait(broker: Broker) -> None:
    """Show the broker's log until it ends. Raises Unavailable."""
    pid = broker.pid
    assert pid is not None
    with broker.log_path.open("rb") as log:
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            sys.stderr.write(log.read().decode(errors="replace"))
            time.sleep(0.2)
        sys.stderr.write(log.read().decode(errors="replace"))
    raise Unavailable("the broker ended by itself")


if __name__ == "__main__":
    main()
