"""compose.yaml: a valid file, real commands and keys, ports on loopback only, time to write state."""

import json
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from kafka.admin import ConfigResource, ConfigResourceType
from leeboard.pipelines.config import load
from leeboard.pipelines.kafka.operate.topics import topic_plans
from leeboard.pipelines.kafka.worker.run import STAGE_STOP_S
from leeboard.pipelines.runtime.ownership import REVOKE_BUDGET_S, STOP_BUDGET_S

from .places import DEPLOY, yaml_of
from .roles import Secure

FILE = "compose/compose.yaml"
FOLDER = DEPLOY / "compose"
#: what Kafka's image makes of other names than settings
NOT_SETTINGS = {"CLUSTER_ID"}


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml_of(FILE)["services"]
    return found


def workers() -> dict[str, dict[str, Any]]:
    return {name: one for name, one in services().items() if "worker" in str(one.get("command")).split(",")[0]}


def schema() -> Any:
    """The schema of the compose specification, as check-jsonschema brings it."""
    where = distribution("check-jsonschema").locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json")
    return json.loads(Path(str(where)).read_text(encoding="utf-8"))


def test_the_file_is_what_the_specification_allows() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    assert [error.message for error in validator.iter_errors(yaml_of(FILE))] == []


def test_the_specification_refuses_what_it_should() -> None:
    wrong = yaml_of(FILE)
    wrong["services"]["kafka"]["port"] = []
    assert not jsonschema.Draft202012Validator(schema()).is_valid(wrong)


def test_nothing_is_published_beyond_loopback() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert not any(service.get("network_mode") or service.get("privileged") for service in services().values())


def test_every_stage_runs_and_watch_runs_twice() -> None:
    stages = {worker["command"][worker["command"].index("--stages") + 1] for worker in workers().values()}
    assert stages == {"normalise", "watch", "gate"}
    assert services()["watch"]["deploy"]["replicas"] == 2


def test_a_worker_has_time_to_stop_is_started_again_and_waits_for_its_topics() -> None:
    for worker in workers().values():
        assert int(worker["stop_grace_period"].rstrip("s")) >= max(STAGE_STOP_S, STOP_BUDGET_S + REVOKE_BUDGET_S)
        assert worker["restart"] == "unless-stopped"
        assert worker["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert services()["topics"]["depends_on"]["kafka"]["condition"] == "service_healthy"


def test_own_containers_have_no_privileges() -> None:
    own = [service for service in services().values() if service["image"].startswith("leeboard:")]
    assert len(own) == 6
    for service in own:
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_notify_rehearses_unless_it_is_told_otherwise() -> None:
    assert "${NOTIFY_ARGS---rehearse}" in services()["notify"]["command"]


def test_the_demo_waits_to_be_asked_for() -> None:
    assert services()["demo"]["profiles"] == ["demo"]
    assert [name for name, service in services().items() if "profiles" in service] == ["demo"]


def test_configuration_and_environment_are_real_and_fit_one_node() -> None:
    for service in services().values():
        if service["image"].startswith("leeboard:"):
            config = load(FOLDER / "leeboard.toml", service.get("environment", {}))
            assert config.kafka.replication_factor == 1
            assert config.kafka.bootstrap_servers == ["kafka:9092"]
    hosts = {load(FOLDER / "leeboard.toml", worker["environment"]).kafka.http_host for worker in workers().values()}
    assert hosts == {"0.0.0.0"}, "Prometheus asks from another container"


def test_prometheus_asks_the_services_at_the_port_of_their_configuration() -> None:
    [job] = yaml_of("compose/prometheus.yml")["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert set(found["names"]) == set(workers())
    assert found["port"] == load(FOLDER / "leeboard.toml", {}).kafka.http_port


def test_what_is_mounted_exists() -> None:
    compose = yaml_of(FILE)
    files = [file["file"] for file in compose["configs"].values()]
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                files.append(source)
            else:
                assert source in compose["volumes"]
    assert len(files) == 5
    assert all((FOLDER / file).exists() for file in files)


def test_the_brokers_settings_are_known_to_a_broker(secure: Secure) -> None:
    """An unknown one would only be a warning in its log."""
    wanted = {
        name.removeprefix("KAFKA_").lower().replace("_", ".")
        for name in services()["kafka"]["environment"]
        if name not in NOT_SETTINGS
    }
    with secure.broker.admin() as admin:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")], config_filter="all")
    [known] = found["broker"].values()
    assert wanted <= known.keys()


@pytest.mark.parametrize("setting", ["OFFSETS_TOPIC_REPLICATION_FACTOR", "TRANSACTION_STATE_LOG_REPLICATION_FACTOR"])
def test_one_node_holds_what_it_is_asked_to(setting: str) -> None:
    assert services()["kafka"]["environment"][f"KAFKA_{setting}"] == "1"
    assert topic_plans(load(FOLDER / "leeboard.toml", {}).kafka)
