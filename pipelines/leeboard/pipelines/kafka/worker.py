"""One stage in one process: Faust app, part, timer, health and metrics, from start to exit."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, NoReturn

import faust
from faust.types import TP
from kafka import KafkaAdminClient
from leeboard.pipelines.runtime.exits import CRASH_EXIT, STUCK_EXIT, USAGE_EXIT, leave
from leeboard.pipelines.runtime.health import STUCK_S, Health, PortTaken
from leeboard.pipelines.runtime.metrics import Meters
from prometheus_client import CollectorRegistry, ProcessCollector

from ..config import Config
from .clients import python_client
from .group import FaustCluster, make_app
from .operate.acl import control_acl_problem
from .operate.rights import group_problem, transactions_problem
from .operate.topics import describe, problems
from .progress import Progress
from .settings import Stage
from .stage_topics import rights_of, topics_of
from .stages import Part, make_part
from .transport import BatchApp

log = logging.getLogger(__name__)

#: how often a worker looks what is due
TICK_S = 0.2
#: how often gauges are renewed
NOTE_S = 5.0
#: a timer that is so late tells of a blocked loop
STALL_S = 0.1
#: environment variable in which a parent of several stages tells them its process id
PARENT = "LEEBOARD_PARENT_PID"


class Refusal(Exception):
    """A worker that must not start; every line says what to do."""


def source_topic_ids(config: Config, stage: Stage) -> dict[str, str]:
    """Ids of the topics that a stage consumes, when all is as it must be. Raises Refusal, kafka.errors.KafkaError."""
    kafka = config.kafka
    admin = KafkaAdminClient(**python_client(kafka))
    try:
        found = problems(admin, kafka, rights_of(stage, kafka.topics))
        elsewhere = (group_problem(admin, kafka, stage), transactions_problem(admin, kafka, stage))
        found += [problem for problem in elsewhere if problem is not None]
        if stage == "normalise" and not found:
            acl = control_acl_problem(admin, kafka)
            found += [acl] if acl is not None else []
        if found:
            raise Refusal("\n".join(found))
        return {name: topic.id for name, topic in describe(admin, topics_of(stage, kafka.topics)).items()}
    finally:
        admin.close()


class Worker:
    """A stage that runs until it is told to stop."""

    def __init__(self, config: Config, stage: Stage, topic_ids: dict[str, str], warm_from_ms: int | None) -> None:
        kafka, topics = config.kafka, config.kafka.topics
        self._config = config
        self._stage: Stage = stage
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, and when the process started
        self.meters = Meters(stage, topics, registry)
        self.meters.info.labels(stage, version("leeboard")).set(1)
        self.app: BatchApp = make_app(kafka, stage, topics_of(stage, topics))
        own = {"normalise": topics.calls, "watch": topics.calls, "gate": topics.alerts}[stage]
        state = {"normalise": "", "watch": topics.state, "gate": topics.gate_state}[stage]
        cluster = FaustCluster(self.app, kafka, stage, own, state, warm_from_ms)
        self.part: Part
        self.part, self.app.sinks = make_part(stage, config, cluster, self.meters, topic_ids)
        self._assigned = False
        self._progress = Progress(lambda: self.app.consumer, self.app.idle.seconds)
        self.health = Health(self.meters.registry, self._why_not_ready)
        self._connect()

    def run(self) -> NoReturn:
        """Until SIGTERM or SIGINT (exit 0), or a reason to start again (see `exits`)."""
        worker = faust.Worker(self.app, quiet=True, override_logging=False, redirect_stdouts=False, loglevel="INFO")
        worker.spinner = None
        worker.execute_from_commandline()

    def _connect(self) -> None:
        """Hang the part into the life of the app."""
        app: Any = self.app  # mode's types of signal handlers fit no function
        app.before_start = self._before_start

        @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
        async def assigned(_: Any, tps: Iterable[TP], **__: Any) -> None:
            self.meters.rebalances.inc()
            mine = sorted(tps)
            listed = ", ".join(f"{tp.topic}/{tp.partition}" for tp in mine) or "nothing"
            log.info("generation %d of the group: %s", self.app.consumer_generation_id, listed)
            await self.part.assigned(mine)
            self._progress.assigned(mine)
            self._assigned = bool(mine)

        @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
        async def revoked(_: Any, __: Iterable[TP], **___: Any) -> None:
            log.info("the group forms anew")
            await self.part.revoked()

        @app.on_before_shutdown.connect  # type: ignore[untyped-decorator]
        async def ending(_: Any, **__: Any) -> None:
            await self.part.stop()
            await self.health.stop()

        app.task(self._timer)

    async def _before_start(self) -> None:
        """All that takes long happens before the group is joined."""
        kafka = self._config.kafka
        if kafka.http_port:
            try:
                await self.health.start(kafka.http_host, kafka.http_port)
            except PortTaken as error:
                log.critical("%s: set kafka.http_port (LEEBOARD__KAFKA__HTTP_PORT), 0 for none", error)
                sys.exit(USAGE_EXIT)
        await self.part.start()
        self.health.alive()
        threading.Thread(target=self._watch_over, name="watchdog", daemon=True).start()

    def _watch_over(self) -> None:
        """End a process that has stopped without ending: a crash inside Faust, a stop that does not come to an end.

        A stage that a parent started stops with its parent, however that ended.
        """
        parent = int(os.environ.get(PARENT, "0"))
        while self.health.age_s < STUCK_S:
            time.sleep(1.0)
            if parent and os.getppid() != parent:
                log.warning("the parent is gone")
                parent = 0
                os.kill(os.getpid(), signal.SIGTERM)
        leave(CRASH_EXIT, f"nothing has happened for {STUCK_S:g} s")

    async def _timer(self) -> None:
        try:
            await self._tick()
        except Exception:
            log.exception("the timer")
            leave(CRASH_EXIT, "an exception that nobody expected")

    async def _tick(self) -> None:
        last, noted = time.monotonic(), 0.0
        checking: asyncio.Task[TP | None] | None = None
        while not self.app.should_stop:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - last - TICK_S > STALL_S:
                self.meters.stall_seconds.observe(now - last - TICK_S)
            self.health.alive()
            await self.part.tick()
            if checking is None or checking.done():
                if checking is not None and (tp := checking.result()) is not None:
                    leave(STUCK_EXIT, f"{tp.topic}/{tp.partition} is behind, and the consumer gives nothing")
                checking = asyncio.create_task(self._progress.stuck())
            if now - noted >= NOTE_S:
                noted = now
                self.part.note()
            last = time.monotonic()

    def _why_not_ready(self) -> str | None:
        if self.app.rebalancing:
            return "the group is forming"
        if not self._assigned:
            return "no partition is assigned"
        return None
