"""Checks rights on the consumer group of a stage, and on the transactional ids of its partitions."""

from typing import Any

from kafka.errors import (
    GroupAuthorizationFailedError,
    RetriableError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
)
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.topics import StageName

from .topics import missing_rights

#: stages that write in transactions
TRANSACTIONAL_STAGES: tuple[StageName, ...] = ("watch", "gate")


def group_problem(admin: Any, settings: KafkaSettings, stage: StageName) -> str | None:
    """The rights that this login lacks to join the stage's group; None if none is known to be missing."""
    group = settings.group(stage)
    problem = missing_rights(f"group {group}", ["READ"], settings)
    try:
        operations = admin.describe_groups([group])[group]["authorized_operations"]
    except GroupAuthorizationFailedError:
        return problem
    except RetriableError:  # a cluster without any group yet
        return None
    return problem if operations is not None and "READ" not in operations else None


def transactions_problem(admin: Any, settings: KafkaSettings, stage: StageName) -> str | None:
    """The rights that this login lacks to write for a partition; None if none is known to be missing.

    It only describes: opening a transaction would fence the owner. A login with DESCRIBE but without WRITE fails later.
    """
    if stage not in TRANSACTIONAL_STAGES:
        return None
    try:
        admin.describe_transactions([settings.transactional_id(stage, 0)])
    except TransactionalIdAuthorizationFailedError:
        return transactional_rights(settings, stage)
    except (TransactionalIdNotFoundError, RetriableError):  # nobody has written yet
        return None
    return None


def transactional_rights(settings: KafkaSettings, stage: StageName) -> str:
    """The rights to grant for writing in transactions."""
    ids = f"transactional ids that begin with {settings.transactional_id(stage, 0).removesuffix('0')}"
    return missing_rights(ids, ["WRITE", "DESCRIBE"], settings)
