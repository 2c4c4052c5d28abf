"""From the command line to running stages: checks that name the remedy, logging, and a parent of several stages."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from kafka.errors import KafkaError
from leeboard.pipelines.runtime.exits import REASONS, USAGE_EXIT
from leeboard.pipelines.runtime.gc_tuning import collect_rarely
from leeboard.pipelines.runtime.warm import warm_kernels

from ..config import Config
from ..measure.settings import EmbedderError
from .clients import ClientError, explain
from .settings import Stage
from .worker import PARENT, Refusal, Worker, source_topic_ids

log = logging.getLogger(__name__)

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: the same line of a library is logged at most so often: without a broker aiokafka writes forty a second
REPEAT_S = 10.0
#: lines whose last time is remembered
MAX_LINES = 1000
#: a stage that ended is started again after so long, twice as long each time, until it has run for as long
BACKOFF_S = (1.0, 30.0)
#: a stage that was told to stop is given so long to write its state
STOP_S = 60.0


class NotAgain(logging.Filter):
    """Lets the same line through only every REPEAT_S."""

    def __init__(self) -> None:
        super().__init__()
        self._last_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`; what leeboard says itself is always let through."""
        if record.name.startswith("leeboard"):
            return True
        key, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._last_s.get(key, -REPEAT_S) < REPEAT_S:
            return False
        if len(self._last_s) >= MAX_LINES:
            self._last_s.clear()
        self._last_s[key] = now
        return True


def start_logging() -> None:
    """Log to standard error; libraries at WARNING, and no line of theirs again and again."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(NotAgain())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("leeboard").setLevel(logging.INFO)
    # noise of every rebalance, and of every attempt to reach a broker: what comes of it is said by us
    for name in ("aiokafka.consumer.group_coordinator", "kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_stage(config: Config, stage: Stage, warm_from_ms: int | None = None) -> NoReturn:
    """Run one stage in this process until it is told to stop. Raises Refusal where it must not start."""
    start_logging()
    try:
        topic_ids = source_topic_ids(config, stage)
        worker = Worker(config, stage, topic_ids, warm_from_ms)
    except (KafkaError, ClientError) as error:
        raise Refusal(explain(error, config.kafka)) from None
    except EmbedderError as error:
        raise Refusal(str(error)) from None
    log.info("stage %s of %s", stage, config.kafka.app_id)
    if stage == "watch":
        warm_kernels(config)
    collect_rarely()
    worker.run()


@dataclass(slots=True)
class Child:
    """A stage that runs in a process of its own."""

    stage: Stage
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    #: when it may be started again, and after how long the next time
    start_at_s: float = 0.0
    backoff_s: float = BACKOFF_S[0]
    #: it has run for a while: what it refuses now (a broker that does not answer) may pass
    has_run: bool = False


class Parent:
    """Runs several stages, each in a process, and starts again what ends."""

    def __init__(self, stages: Sequence[Stage], config_path: str | None, http_port: int, warm_from: str | None) -> None:
        self._children = [Child(stage) for stage in stages]
        self._config_path = config_path
        self._http_port = http_port
        self._warm_from = warm_from
        self._stopping = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit code: USAGE_EXIT where a stage refuses to start, else 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            for child in self._children:
                if self._tend(child) == USAGE_EXIT and not child.has_run:
                    self._end()
                    return USAGE_EXIT
            time.sleep(0.1)
        self._end()
        return 0

    def _tend(self, child: Child) -> int | None:
        """Start a stage that should run and does not; the exit code of one that has just ended."""
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at_s:
                self._start(child, now)
            return None
        code = child.process.poll()
        if code is None:
            return None
        child.process = None
        if now - child.started_s > BACKOFF_S[1]:
            child.has_run, child.backoff_s = True, BACKOFF_S[0]
        child.start_at_s = now + child.backoff_s
        log.warning("stage %s ended (%s); again in %.0f s", child.stage, REASONS.get(code, code), child.backoff_s)
        child.backoff_s = min(2.0 * child.backoff_s, BACKOFF_S[1])
        return code

    def _start(self, child: Child, now: float) -> None:
        place = self._children.index(child)
        port = self._http_port + place if self._http_port else 0
        command = [sys.executable, "-m", "leeboard.pipelines.cli", "worker", "--stages", child.stage]
        command += ["--config", self._config_path] if self._config_path is not None else []
        command += ["--warm-from", self._warm_from] if self._warm_from is not None else []
        environment = {**os.environ, "LEEBOARD__KAFKA__HTTP_PORT": str(port), PARENT: str(os.getpid())}
        child.process = subprocess.Popen(command, env=environment)  # noqa: S603
        child.started_s = now

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
