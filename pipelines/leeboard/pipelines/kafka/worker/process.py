"""One stage in one process: Faust app, runner, timer, health and metrics, from start to exit."""

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
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.operate.acl import control_acl_problem
from leeboard.pipelines.kafka.operate.rights import group_problem, transactions_problem
from leeboard.pipelines.kafka.operate.topics import describe_topics, problems
from leeboard.pipelines.kafka.stage_topics import rights_of, topics_of
from leeboard.pipelines.runtime.exits import CRASH_EXIT, STUCK_EXIT, USAGE_EXIT, exit_process
from leeboard.pipelines.runtime.health import TIMER_STUCK_S, HealthServer, PortTaken
from leeboard.pipelines.runtime.metrics import StageMetrics
from leeboard.pipelines.topics import StageName
from prometheus_client import CollectorRegistry, ProcessCollector

from .group import FaustBackend, make_app
from .runners import StageRunner, make_runner
from .stall_check import StallCheck
from .transport import BatchApp

log = logging.getLogger(__name__)

#: how often a worker checks what is due
TICK_S = 0.2
#: how often gauges are refreshed
GAUGES_S = 5.0
#: a timer that is so late was blocked by the event loop
LOOP_STALL_S = 0.1
#: environment variable with the process id of the parent of several stages
PARENT_PID_VARIABLE = "LEEBOARD_PARENT_PID"


class Refusal(Exception):
    """A worker that must not start; every line says what to do."""


def source_topic_ids(config: Config, stage: StageName) -> dict[str, str]:
    """Ids of the topics that a stage consumes, after a check of topics and rights. Raises Refusal, KafkaError."""
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
        return {name: topic.id for name, topic in describe_topics(admin, topics_of(stage, kafka.topics)).items()}
    finally:
        admin.close()


class StageWorker:
    """A stage that runs until it is stopped."""

    def __init__(self, config: Config, stage: StageName, topic_ids: dict[str, str], warm_from_ms: int | None) -> None:
        kafka, topics = config.kafka, config.kafka.topics
        self._config = config
        self._stage: StageName = stage
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, and when the process started
        self.metrics = StageMetrics(stage, topics, registry)
        self.metrics.info.labels(stage, version("leeboard")).set(1)
        self.app: BatchApp = make_app(kafka, stage, topics_of(stage, topics))
        own = {"normalise": topics.calls, "watch": topics.calls, "gate": topics.alerts}[stage]
        state = {"normalise": "", "watch": topics.state, "gate": topics.gate_state}[stage]
        backend = FaustBackend(self.app, kafka, stage, own, state, warm_from_ms)
        self.runner: StageRunner
        self.runner, self.app.sinks = make_runner(stage, config, backend, self.metrics, topic_ids)
        self._assigned = False
        self._stall_check = StallCheck(lambda: self.app.consumer, self.app.idle.seconds)
        self.health = HealthServer(self.metrics.registry, self._why_not_ready)
        self._connect()

    def run(self) -> NoReturn:
        """Until SIGTERM or SIGINT (exit 0), or a reason to start again (see `exits`)."""
        worker = faust.Worker(self.app, quiet=True, override_logging=False, redirect_stdouts=False, loglevel="INFO")
        worker.spinner = None
        worker.execute_from_commandline()

    def _connect(self) -> None:
        """Call the runner at the events of the app."""
        app: Any = self.app  # mode's types of signal handlers fit no function
        app.before_start = self._before_start

        @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
        async def assigned(_: Any, tps: Iterable[TP], **__: Any) -> None:
            self.metrics.rebalances.inc()
            mine = sorted(tps)
            listed = ", ".join(f"{tp.topic}/{tp.partition}" for tp in mine) or "nothing"
            log.info("generation %d of the group: %s", self.app.consumer_generation_id, listed)
            await self.runner.assigned(mine)
            self._stall_check.assigned(mine)
            self._assigned = bool(mine)

        @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
        async def revoked(_: Any, __: Iterable[TP], **___: Any) -> None:
            log.info("the group rebalances")
            await self.runner.revoked()

        @app.on_before_shutdown.connect  # type: ignore[untyped-decorator]
        async def ending(_: Any, **__: Any) -> None:
            await self.runner.stop()
            await self.health.stop()

        app.task(self._timer)

    async def _before_start(self) -> None:
        """Do everything that takes long before the group is joined."""
        kafka = self._config.kafka
        if kafka.http_port:
            try:
                await self.health.start(kafka.http_host, kafka.http_port)
            except PortTaken as error:
                log.critical("%s: set kafka.http_port (LEEBOARD__KAFKA__HTTP_PORT), 0 for none", error)
                sys.exit(USAGE_EXIT)
        await self.runner.start()
        self.health.note_timer()
        threading.Thread(target=self._watchdog, name="watchdog", daemon=True).start()

    def _watchdog(self) -> None:
        """End a process that does nothing any more: after a crash inside Faust, or in a stop that does not finish.

        A stage that a parent started stops when its parent has ended.
        """
        parent = int(os.environ.get(PARENT_PID_VARIABLE, "0"))
        while self.health.age_s < TIMER_STUCK_S:
            time.sleep(1.0)
            if parent and os.getppid() != parent:
                log.warning("the parent is gone")
                parent = 0
                os.kill(os.getpid(), signal.SIGTERM)
        exit_process(CRASH_EXIT, f"nothing has happened for {TIMER_STUCK_S:g} s")

    async def _timer(self) -> None:
        try:
            await self._tick()
        except Exception:
            log.exception("the timer")
            exit_process(CRASH_EXIT, "an unexpected exception")

    async def _tick(self) -> None:
        last, refreshed = time.monotonic(), 0.0
        checking: asyncio.Task[TP | None] | None = None
        while not self.app.should_stop:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - last - TICK_S > LOOP_STALL_S:
                self.metrics.stall_seconds.observe(now - last - TICK_S)
            self.health.note_timer()
            await self.runner.tick()
            if checking is None or checking.done():
                if checking is not None and (tp := checking.result()) is not None:
                    exit_process(STUCK_EXIT, f"{tp.topic}/{tp.partition} is behind, and the consumer delivers nothing")
                checking = asyncio.create_task(self._stall_check.stalled())
            if now - refreshed >= GAUGES_S:
                refreshed = now
                self.runner.refresh_gauges()
            last = time.monotonic()

    def _why_not_ready(self) -> str | None:
        if self.app.rebalancing:
            return "the group is rebalancing"
        if not self._assigned:
            return "no partition is assigned"
        return None
