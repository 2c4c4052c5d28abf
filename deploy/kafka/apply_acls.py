"""Create the ACLs of acls.json: `python deploy/kafka/apply_acls.py --config admin.toml`.

The login of `--config` (and of LEEBOARD__KAFKA__SECURITY__PASSWORD) must be allowed to alter the cluster. ACLs that
are there already stay; none is ever removed. Other names of topics, another `kafka.app_id`, other principals: change
a copy of the file and name it with `--acls`.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType
from leeboard.pipelines.config import load
from leeboard.pipelines.kafka.clients import python_client

ACLS = Path(__file__).with_name("acls.json")


def acls_of(role: dict[str, Any]) -> Iterator[ACL]:
    """The ACLs of one role, one an operation."""
    for right in role["allow"]:
        pattern = ResourcePattern(
            ResourceType[right["resource"].upper()], right["name"], ACLResourcePatternType[right["pattern"].upper()]
        )
        for operation in right["operations"]:
            yield ACL(role["principal"], "*", ACLOperation[operation], ACLPermissionType.ALLOW, pattern)


def main() -> None:
    """Create them and say so. An error of Kafka ends it."""
    parser = argparse.ArgumentParser(description="Create the ACLs of leeboard's roles.")
    parser.add_argument("--config", type=Path, help="brokers and login of an administrator (TOML)")
    parser.add_argument("--acls", type=Path, default=ACLS, help="default: acls.json beside this file")
    arguments = parser.parse_args()
    roles = json.loads(arguments.acls.read_text(encoding="utf-8"))["roles"]
    admin = KafkaAdminClient(**python_client(load(arguments.config, os.environ).kafka))
    try:
        for name, role in roles.items():
            wanted = list(acls_of(role))
            failed = admin.create_acls(wanted)["failed"]
            if failed:
                raise SystemExit(f"{name}: {failed}")
            print(f"{name}: {len(wanted)} ACLs for {role['principal']}")
    finally:
        admin.close()


if __name__ == "__main__":
    main()
