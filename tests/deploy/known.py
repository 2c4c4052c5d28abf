"""The metrics that leeboard exports, with their labels, read from the classes that make them."""

from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics
from leeboard.pipelines.runtime.metrics import StageMetrics
from leeboard.pipelines.topics import STAGE_NAMES, TopicSettings
from prometheus_client import CollectorRegistry, ProcessCollector

#: what Prometheus adds to every series
TARGET = {"job", "instance"}
KUBE = TARGET | {"namespace", "pod", "container"}
#: metrics of others
FOREIGN = {
    "up": TARGET,
    "ALERTS": TARGET | {"alertname", "alertstate", "severity"},
    "kube_pod_container_status_last_terminated_exitcode": KUBE,
    "kube_pod_container_status_restarts_total": KUBE,
}


def registered(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Series name -> labels of everything in a registry."""
    named = registry._names_to_collectors
    found = {}
    for name, collector in named.items():
        if f"{name}_total" in named or f"{name}_bucket" in named or name.endswith("_created"):
            continue  # not a series, or one that nobody asks for
        found[name] = set(getattr(collector, "_labelnames", ())) | ({"le"} if name.endswith("_bucket") else set())
    return found


def exported() -> dict[str, set[str]]:
    """Series name -> labels of everything that workers and notify export."""
    found: dict[str, set[str]] = {}
    for stage in STAGE_NAMES:
        registry = CollectorRegistry()
        StageMetrics(stage, TopicSettings(), registry)
        found |= registered(registry)
    return found | registered(NotifyMetrics(["sink"]).registry)


def process_metrics() -> set[str]:
    """Names of what every process exports."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return {sample.name for family in registry.collect() for sample in family.samples}


def all_series() -> dict[str, set[str]]:
    """Everything that a query may name."""
    own = {name: labels | TARGET for name, labels in exported().items()}
    return {**own, **dict.fromkeys(process_metrics(), TARGET), **FOREIGN}


def documented_names() -> set[str]:
    """The metrics that the manual has to explain, as queries name them; a histogram by the name of all its series."""
    series = exported()
    return {
        name.removesuffix("_bucket")
        for name in series
        if not any(name.endswith(end) and f"{name.removesuffix(end)}_bucket" in series for end in ("_sum", "_count"))
    }
