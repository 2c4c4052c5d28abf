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
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.clients import ClientError, explain
from leeboard.pipelines.measure.settings import EmbedderError
from leeboard.pipelines.runtime.exits import EXIT_REASONS, USAGE_EXIT
from leeboard.pipelines.runtime.gc_tuning import collect_rarely
from leeboard.pipelines.runtime.warm import warm_kernels
from leeboard.pipelines.topics import StageName

from .process import PARENT_PID_VARIABLE, Refusal, StageWorker, source_topic_ids

log = logging.getLogger(__name__)

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: the same line of a library is logged at most so often: without a broker aiokafka writes forty a second
LOG_REPEAT_S = 10.0
#: lines whose last time is remembered
MAX_REMEMBERED_LINES = 1000
#: a stage that ended is started again after the first time, doubled up to the last; reset when it has run for the last
RESTART_BACKOFF_S = (1.0, 30.0)
#: a stage that is asked to stop has so long to write its state
STAGE_STOP_S = 60.0


class RepeatFilter(logging.Filter):
    """Passes the same line of a library only every LOG_REPEAT_S."""

    def __init__(self) -> None:
        super().__init__()
        self._last_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`. Lines of leeboard itself always pass."""
        if record.name.startswith("leeboard"):
            return True
        key, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._last_s.get(key, -LOG_REPEAT_S) < LOG_REPEAT_S:
            return False
        if len(self._last_s) >= MAX_REMEMBERED_LINES:
            self._last_s.clear()
        self._last_s[key] = now
        return True


def start_logging() -> None:
    """Log to standard error; libraries at WARNING, without repeating their lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("leeboard").setLevel(logging.INFO)
    # noise of every rebalance and of every attempt to reach a broker; leeboard logs the outcome itself
    for name in ("aiokafka.consumer.group_coordinator", "kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def run_stage(config: Config, stage: StageName, warm_from_ms: int | None = None) -> NoReturn:
    """Run one stage in this process until it is stopped. Raises Refusal if it must not start."""
    start_logging()
    try:
        topic_ids = source_topic_ids(config, stage)
        worker = StageWorker(config, stage, topic_ids, warm_from_ms)
    except (KafkaError, ClientError) as error:
        raise Refusal(explain(error, config.kafka)) from None
    except EmbedderError as error:
        raise Refusal(str(error)) from None
    log.info("stage %s of %s", stage, config.kafka.app_id)
    if stage == "watch":
        warm_kernels(config.engine())
    collect_rarely()
    worker.run()


@dataclass(slots=True)
class StageProcess:
    """A stage that runs in a process of its own."""

    stage: StageName
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    #: when it may be started again, and the pause before the start after that
    start_at_s: float = 0.0
    backoff_s: float = RESTART_BACKOFF_S[0]
    #: it has run for a while, so its refusal to start (a broker that does not answer) may be temporary
    has_run: bool = False


class StageSupervisor:
    """Runs several stages, each in a process of its own, and restarts those that end."""

    def __init__(
        self, stages: Sequence[StageName], config_path: str | None, http_port: int, warm_from: str | None
    ) -> None:
        self._children = [StageProcess(stage) for stage in stages]
        self._config_path = config_path
        self._http_port = http_port
        self._warm_from = warm_from
        self._stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT. The exit code: USAGE_EXIT if a stage refuses to start, else 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            for child in self._children:
                if self._check(child) == USAGE_EXIT and not child.has_run:
                    self._end()
                    return USAGE_EXIT
            time.sleep(0.1)
        self._end()
        return 0

    def _check(self, child: StageProcess) -> int | None:
        """Start a stage that does not run; the exit code of one that has just ended."""
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at_s:
                self._start(child, now)
            return None
        code = child.process.poll()
        if code is None:
            return None
        child.process = None
        if now - child.started_s > RESTART_BACKOFF_S[1]:
            child.has_run, child.backoff_s = True, RESTART_BACKOFF_S[0]
        child.start_at_s = now + child.backoff_s
        log.warning("stage %s ended (%s); again in %.0f s", child.stage, EXIT_REASONS.get(code, code), child.backoff_s)
        child.backoff_s = min(2.0 * child.backoff_s, RESTART_BACKOFF_S[1])
        return code

    def _start(self, child: StageProcess, now: float) -> None:
        index = self._children.index(child)
        port = self._http_port + index if self._http_port else 0
        command = [sys.executable, "-m", "leeboard.pipelines.cli", "worker", "--stages", child.stage]
        command += ["--config", self._config_path] if self._config_path is not None else []
        command += ["--warm-from", self._warm_from] if self._warm_from is not None else []
        environment = {**os.environ, "LEEBOARD__KAFKA__HTTP_PORT": str(port), PARENT_PID_VARIABLE: str(os.getpid())}
        child.process = subprocess.Popen(command, env=environment)  # noqa: S603
        child.started_s = now

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STAGE_STOP_S
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
