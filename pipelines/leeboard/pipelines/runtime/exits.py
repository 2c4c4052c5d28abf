"""Exit codes of a worker. All but USAGE mean "start me again": the stored markers say where to continue."""

import logging
import os
from typing import NoReturn

log = logging.getLogger(__name__)

#: configuration, rights, topics, or state that this configuration cannot read: a person has to act
USAGE_EXIT = 2
#: another process owns a partition that this one believed to own
FENCED_EXIT = 70
#: a transaction did not commit, or state could not be read
CHECKPOINT_EXIT = 71
#: the consumer does not seek to where records are missing
SEEK_EXIT = 72
#: the engine raised on several records in a row
ENGINE_EXIT = 73
#: measured calls could not be sent
SEND_EXIT = 74
#: an unexpected exception, or the worker did nothing for a minute
CRASH_EXIT = 75
#: the consumer delivers nothing although the log holds more
STUCK_EXIT = 76

EXIT_REASONS = {
    FENCED_EXIT: "fenced",
    CHECKPOINT_EXIT: "checkpoint",
    SEEK_EXIT: "seek",
    ENGINE_EXIT: "engine",
    SEND_EXIT: "send",
    CRASH_EXIT: "crash",
    STUCK_EXIT: "stuck",
}


def exit_process(code: int, why: str) -> NoReturn:
    """End the process at once; what it has not committed, the next one does again."""
    log.critical("exit %d: %s", code, why)
    logging.shutdown()
    os._exit(code)
