"""Checks the ACL of the control topic: whoever may write to it can mute, accept and confirm."""

from typing import Any

from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import ClusterAuthorizationFailedError, SecurityDisabledError
from leeboard.pipelines.kafka.settings import KafkaSettings

#: operations that allow to write
WRITE_OPERATIONS = (ACLOperation.WRITE, ACLOperation.ALL)
HOW_TO_SKIP = "or set kafka.security.control_acl = 'unchecked' if something else guards it"


def control_acl_problem(admin: Any, settings: KafkaSettings) -> str | None:
    """What is wrong with the ACL of the control topic, and its remedy; None if nothing is.

    Without TLS and SASL clients have no names, so there is nothing to check.
    """
    if settings.security.protocol == "PLAINTEXT" or settings.security.control_acl == "unchecked":
        return None
    topic = settings.topics.control
    pattern = ResourcePatternFilter(ResourceType.TOPIC, topic, ACLResourcePatternType.MATCH)
    every = ACLFilter(
        principal=None,
        host=None,
        operation=ACLOperation.ANY,
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=pattern,
    )
    try:
        acls, _ = admin.describe_acls(every)
    except SecurityDisabledError:
        return f"the brokers have no authorizer, so anybody may write to {topic}: configure one, {HOW_TO_SKIP}"
    except ClusterAuthorizationFailedError:
        who = f"User:{settings.security.username}"
        return f"{who} may not look at ACLs: grant it Describe on the cluster, {HOW_TO_SKIP}"
    writers = [acl for acl in acls if acl.operation in WRITE_OPERATIONS]
    named = {acl.principal for acl in writers if acl.resource_pattern.resource_name == topic}
    if not named:
        return f"topic {topic} has no ACL of its own: allow Write on it to those who may mute and accept, {HOW_TO_SKIP}"
    if "User:*" in named or any(acl.principal not in named for acl in writers):
        others = sorted({acl.principal for acl in writers} - (named - {"User:*"}))
        return f"an ACL for many topics lets {', '.join(others)} write to {topic}: narrow it, {HOW_TO_SKIP}"
    return None
