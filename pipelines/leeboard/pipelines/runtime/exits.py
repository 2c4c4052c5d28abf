"""Exit codes of a worker. All but USAGE mean "start me again": the durable markers say where to go on."""

import logging
import os
from typing import NoReturn

log = logging.getLogger(__name__)

#: configuration, rights, topics, or a state that this configuration cannot read: a person has to act
USAGE_EXIT = 2
#: another process owns a partition that this one believed to own
FENCED_EXIT = 70
#: a transaction did not commit, or state could not be read
CHECKPOINT_EXIT = 71
#: the consumer does not go where it is told to
SEEK_EXIT = 72
#: the engine raised on several records in a row
ENGINE_EXIT = 73
#: measured calls could not be sent
SEND_EXIT = 74
#: something was raised that nobody expected, or the worker did nothing for a minute
CRASH_EXIT = 75
#: the consumer does not give what the log holds
STUCK_EXIT = 76

REASONS = {
    FENCED_EXIT: "fenced",
    CHECKPOINT_EXIT: "checkpoint",
    SEEK_EXIT: "seek",
    ENGINE_EXIT: "engine",
    SEND_EXIT: "send",
    CRASH_EXIT: "crash",
    STUCK_EXIT: "stuck",
}


def leave(code: int, why: str) -> NoReturn:
    """End the process at once: whatever it has not committed, its successor does again."""
    log.critical("exit %d: %s", code, why)
    logging.shutdown()
    os._exit(code)
