"""Rights that belong to no topic: to the consumer group of a stage, and to the transactional ids of its partitions."""

from typing import Any

from kafka.errors import (
    GroupAuthorizationFailedError,
    RetriableError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
)
from leeboard.pipelines.kafka.settings import KafkaSettings, Stage

from .topics import missing_rights

#: stages that write in transactions
TRANSACTIONAL: tuple[Stage, ...] = ("watch", "gate")


def group_problem(admin: Any, settings: KafkaSettings, stage: Stage) -> str | None:
    """What this login lacks to be a member of the stage's group; None where nothing is known to be wrong."""
    group = settings.group(stage)
    problem = missing_rights(f"group {group}", ["READ"], settings)
    try:
        operations = admin.describe_groups([group])[group]["authorized_operations"]
    except GroupAuthorizationFailedError:
        return problem
    except RetriableError:  # a cluster without any group yet
        return None
    return problem if operations is not None and "READ" not in operations else None


def transactions_problem(admin: Any, settings: KafkaSettings, stage: Stage) -> str | None:
    """What this login lacks to write for a partition; None where nothing is known to be wrong.

    Only looks: to begin to write would fence the owner. That DESCRIBE is there and WRITE is not shows later.
    """
    if stage not in TRANSACTIONAL:
        return None
    try:
        admin.describe_transactions([settings.transactional_id(stage, 0)])
    except TransactionalIdAuthorizationFailedError:
        return transactional_rights(settings, stage)
    except (TransactionalIdNotFoundError, RetriableError):  # nobody has written yet
        return None
    return None


def transactional_rights(settings: KafkaSettings, stage: Stage) -> str:
    """What to grant for writing in transactions."""
    ids = f"transactional ids that begin with {settings.transactional_id(stage, 0).removesuffix('0')}"
    return missing_rights(ids, ["WRITE", "DESCRIBE"], settings)
