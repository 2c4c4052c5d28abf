"""The manifests: valid, hardened, with the names, ports, groups and keys that the code has."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from leeboard.pipelines.config import Config, load
from leeboard.pipelines.kafka.stage_topics import topics_of
from leeboard.pipelines.kafka.worker.run import STAGE_STOP_S
from leeboard.pipelines.runtime.health import TIMER_STUCK_S
from leeboard.pipelines.runtime.ownership import REVOKE_BUDGET_S, STOP_BUDGET_S
from leeboard.pipelines.topics import StageName

from .manifests import KUBERNETES, containers, environment, kustomization, pods, resources
from .roles import user_of

#: the oldest version that the cloud providers still run, and the newest with a schema
VERSIONS = ("1.31", "1.37")
CRDS = ("ScaledObject", "TriggerAuthentication", "ServiceMonitor")
FOLDERS = ("base", "monitoring", "autoscaling", "overlays/production")
TOMLS = {folder: KUBERNETES / folder / "leeboard.toml" for folder in ("base", "overlays/production")}
STAGES: dict[str, StageName] = {"leeboard-normalise": "normalise", "leeboard-watch": "watch", "leeboard-gate": "gate"}
MIB = 1 << 20


def named(kind: str, name: str, folder: str = "base") -> dict[str, Any]:
    [found] = [one for one in resources(folder) if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def all_of(kind: str, folder: str = "base") -> list[dict[str, Any]]:
    return [one for one in resources(folder) if one["kind"] == kind]


def main_container(name: str) -> dict[str, Any]:
    [found] = pods("base")[name]["spec"]["containers"]
    return dict(found)


def config_of(name: str, folder: str = "base") -> Config:
    return load(TOMLS[folder], environment(main_container(name)))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cluster_would_take_every_resource(version: str) -> None:
    own = [one for one in resources("overlays/production") if one["kind"] not in CRDS]
    assert len(own) == 12
    for one in own:
        kubernetes_validate.validate(one, version, strict=True)


def test_a_wrong_field_is_found() -> None:
    wrong = named("StatefulSet", "leeboard-watch")
    wrong["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_is_listed(folder: str) -> None:
    files = {path.name for path in (KUBERNETES / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert files == {name for name in kustomization(folder)["resources"] if name.endswith(".yaml")}


def test_names_are_unique() -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in resources("overlays/production")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_it(folder: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(KUBERNETES / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] != "ConfigMap"]
    assert len(built) == len(resources(folder))
    if folder == "overlays/production":
        assert {one["metadata"]["namespace"] for one in built} == {"leeboard"}
        scaled = [one for one in built if one["metadata"]["name"] in ("leeboard-watch", "leeboard-normalise")]
        assert not [one for one in scaled if one["kind"] in ("StatefulSet", "Deployment") and "replicas" in one["spec"]]
        assert done.stdout.count("image: ghcr.io/example/leeboard:0.1.0") == 10


def test_pods_and_containers_have_no_more_rights_than_they_need() -> None:
    assert len(pods("base")) == 5
    for name, pod in pods("base").items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert named("ServiceAccount", spec["serviceAccountName"])
    for name, container in containers("base"):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_what_has_to_be_writable_is() -> None:
    """Numba's cache, filled from the image, and the folder for temporary files."""
    for pod in pods("base").values():
        empty = {volume["name"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume}
        [first], [main] = pod["spec"]["initContainers"], pod["spec"]["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in main["volumeMounts"]}
        assert {mounts["/var/cache/leeboard"], mounts["/tmp"]} == empty
        assert first["command"] == ["cp", "-r", "/var/cache/leeboard/.", "/cache/"]
        assert first["volumeMounts"] == [{"name": mounts["/var/cache/leeboard"], "mountPath": "/cache"}]
        assert not any("persistentVolumeClaim" in volume for volume in pod["spec"]["volumes"])


def test_every_container_says_what_it_needs_and_may_use() -> None:
    for name, container in containers("base"):
        asked, allowed = container["resources"]["requests"], container["resources"]["limits"]
        assert set(asked) == set(allowed) == {"cpu", "memory"}, name
    for name in pods("base"):
        asked, allowed = (main_container(name)["resources"][kind]["memory"] for kind in ("requests", "limits"))
        assert asked == allowed, "memory that is promised to nobody is taken from somebody"


def test_the_memory_of_watch_holds_the_scopes_that_it_may_have() -> None:
    """340 MB after the start, 100 KB a busy scope, two fetches of 4 MB a partition."""
    config = config_of("leeboard-watch")
    limit = int(main_container("leeboard-watch")["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert 340 + config.watch.max_scopes * 100 / 1024 + 8 * config.kafka.partitions < limit


def test_watch_is_a_static_member_without_a_volume() -> None:
    watch = named("StatefulSet", "leeboard-watch")
    assert watch["spec"]["podManagementPolicy"] == "Parallel"
    assert "volumeClaimTemplates" not in watch["spec"]
    assert named("Service", watch["spec"]["serviceName"])["spec"]["clusterIP"] == "None"
    variables = {variable["name"]: variable for variable in main_container("leeboard-watch")["env"]}
    assert variables["POD_NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert variables["LEEBOARD__KAFKA__INSTANCE_ID"]["value"] == "watch-$(POD_NAME)"
    assert config_of("leeboard-watch").kafka.instance_id == "watch-10.0.0.7"


def test_pods_without_stable_names_are_no_static_members() -> None:
    """Their old names would keep partitions until the session ends."""
    assert config_of("leeboard-normalise").kafka.instance_id is None
    assert config_of("leeboard-gate").kafka.instance_id is None


def test_there_is_one_gate_and_never_two_at_a_time() -> None:
    gate = named("Deployment", "leeboard-gate")["spec"]
    assert (gate["replicas"], gate["strategy"]) == (1, {"type": "Recreate"})


@pytest.mark.parametrize("name", STAGES)
def test_a_worker_has_time_to_stop(name: str) -> None:
    grace = pods("base")[name]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= max(STAGE_STOP_S, STOP_BUDGET_S + REVOKE_BUDGET_S)


def test_probes_ask_where_the_configuration_serves() -> None:
    for name in [*STAGES, "leeboard-notify"]:
        container = main_container(name)
        [port] = container["ports"]
        section = "NOTIFY" if name == "leeboard-notify" else "KAFKA"
        variables = {variable["name"]: variable for variable in container["env"]}
        host = variables[f"LEEBOARD__{section}__HTTP_HOST"]
        assert host["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}, "loopback is not asked by probes"
        expected = config_of(name).kafka.http_port if name in STAGES else 9474
        assert (port["name"], port["containerPort"]) == ("metrics", expected)
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
        assert paths == {"startup": "/livez", "readiness": "/readyz", "liveness": "/livez"}
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 300, "kernels may have to be compiled"
        assert container["livenessProbe"]["periodSeconds"] <= TIMER_STUCK_S


def test_secrets_come_as_files_and_the_configuration_finds_them() -> None:
    for name, pod in pods("base").items():
        [container] = pod["spec"]["containers"]
        assert not [one for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})]
        where = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        [projected] = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
        files = {
            f"{where[projected['name']]}/{item['path']}"
            for source in projected["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        config = config_of(name)
        wanted = {config.kafka.security.password_file, config.privacy.key_file}
        wanted |= {value for key, value in environment(container).items() if key.endswith("ROUTING_KEY_FILE")}
        assert files == wanted - {None}, "no more secrets than needed"
        assert config.kafka.security.ca_file is not None
        assert Path(config.kafka.security.ca_file).parent == Path(where["ca"])


@pytest.mark.parametrize("folder", TOMLS)
def test_every_pod_logs_in_as_its_role(folder: str) -> None:
    for name in pods("base"):
        role = {"leeboard-topics": "operator"}.get(name, name.removeprefix("leeboard-"))
        security = config_of(name, folder).kafka.security
        assert security.username == user_of(role)
        assert security.protocol == "SASL_SSL"
        assert security.control_acl == "required"


def test_only_normalise_holds_the_key_of_the_hashes() -> None:
    assert [name for name in pods("base") if config_of(name).privacy.key_file] == ["leeboard-normalise"]


def test_production_keeps_three_copies_and_the_trial_one() -> None:
    assert config_of("leeboard-watch").kafka.replication_factor == 1
    assert config_of("leeboard-watch", "overlays/production").kafka.replication_factor == 3


def test_the_configuration_reaches_the_pods() -> None:
    for folder in TOMLS:
        [generated] = kustomization(folder)["configMapGenerator"]
        assert (generated["name"], generated["files"]) == ("leeboard", ["leeboard.toml"])
    for name, container in containers("base"):
        if "args" in container:
            path = container["args"][container["args"].index("--config") + 1]
            mount = next(mount for mount in container["volumeMounts"] if mount["mountPath"] == path)
            assert mount["subPath"] == "leeboard.toml", name


def selected(selector: dict[str, str]) -> set[str]:
    return {name for name, pod in pods("base").items() if selector.items() <= pod["metadata"].get("labels", {}).items()}


def test_selectors_find_what_they_are_for() -> None:
    for one in resources("base"):
        spec, name = one.get("spec", {}), one["metadata"]["name"]
        if one["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            assert selected(spec["selector"]["matchLabels"]) == {name}
        if one["kind"] == "NetworkPolicy":
            assert selected(spec["podSelector"]["matchLabels"]) == ({name} & set(pods("base")) or set(pods("base")))
    assert selected(named("Service", "leeboard")["spec"]["selector"]) == set(STAGES)
    assert selected(named("Service", "leeboard-notify")["spec"]["selector"]) == {"leeboard-notify"}


def test_nobody_but_notify_may_reach_the_outside() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in all_of("NetworkPolicy")}
    everybody = policies["leeboard"]
    assert everybody["policyTypes"] == ["Ingress", "Egress"]
    assert not [peer for rule in everybody["egress"] for peer in rule["to"] if "ipBlock" in peer]
    ports = {port["port"] for rule in everybody["egress"] for port in rule["ports"]}
    brokers = {int(server.rpartition(":")[2]) for server in config_of("leeboard-watch").kafka.bootstrap_servers}
    assert ports == {53} | brokers
    [into] = everybody["ingress"]
    assert [port["port"] for port in into["ports"]] == ["metrics"]
    assert any("ipBlock" in peer for rule in policies["leeboard-notify"]["egress"] for peer in rule["to"])


def test_drains_take_one_pod_at_a_time_and_are_never_blocked() -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in all_of("PodDisruptionBudget")}
    assert set(budgets) == {"leeboard-normalise", "leeboard-watch"}
    assert all(spec["maxUnavailable"] == 1 for spec in budgets.values())


def test_scaling_follows_the_groups_and_knows_their_limits() -> None:
    found = {one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in all_of("ScaledObject", "autoscaling")}
    assert set(found) == {"leeboard-normalise", "leeboard-watch"}
    for name, spec in found.items():
        target, config = spec["scaleTargetRef"], config_of(name)
        assert named(target["kind"], name)
        [trigger] = spec["triggers"]
        data = trigger["metadata"]
        kafka = config.kafka
        assert data["consumerGroup"] == kafka.group(STAGES[name])
        assert data["topic"] == topics_of(STAGES[name], kafka.topics)[0]
        assert data["bootstrapServers"] in kafka.bootstrap_servers
        assert spec["maxReplicaCount"] <= kafka.partitions
        assert spec["minReplicaCount"] >= 1
        assert spec["cooldownPeriod"] >= 300
        assert data["allowIdleConsumers"] == "false"
        # committed positions are up to one interval old: at 4,000 calls a second that is no reason to scale
        assert int(data["lagThreshold"]) > 1.5 * 4000 * kafka.publish_interval_s
        down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
        assert down["stabilizationWindowSeconds"] >= 300
        assert named("TriggerAuthentication", trigger["authenticationRef"]["name"], "autoscaling")


def test_the_monitor_finds_both_services() -> None:
    [monitor] = all_of("ServiceMonitor", "monitoring")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    services = [one for one in all_of("Service") if wanted.items() <= one["metadata"]["labels"].items()]
    assert {one["metadata"]["name"] for one in services} == {"leeboard", "leeboard-notify"}
    [endpoint] = monitor["spec"]["endpoints"]
    assert all(port["name"] == endpoint["port"] for one in services for port in one["spec"]["ports"])
