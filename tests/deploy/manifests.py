"""Kustomizations resolved by hand: their resources, and the pods in them."""

from collections.abc import Iterator
from typing import Any

import yaml

from .places import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
WITH_PODS = ("Deployment", "StatefulSet", "Job")


def kustomization(folder: str) -> dict[str, Any]:
    """kustomization.yaml of a folder."""
    found: dict[str, Any] = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return found


def resources(folder: str) -> list[dict[str, Any]]:
    """Everything that a kustomization lists, as it stands in the files."""
    found: list[dict[str, Any]] = []
    for name in kustomization(folder)["resources"]:
        path = (KUBERNETES / folder / name).resolve()
        if path.is_dir():
            found += resources(str(path.relative_to(KUBERNETES)))
        else:
            found += [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    return found


def pods(folder: str) -> dict[str, dict[str, Any]]:
    """Name of the workload -> its pod template."""
    return {one["metadata"]["name"]: one["spec"]["template"] for one in resources(folder) if one["kind"] in WITH_PODS}


def containers(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of the workload, and each of its containers."""
    for name, pod in pods(folder).items():
        for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
            yield name, container


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Its variables, with an example for what the cluster fills in."""
    found: dict[str, str] = {}
    for variable in container.get("env", []):
        value = variable.get("value", "10.0.0.7")
        for name, known in found.items():
            value = value.replace(f"$({name})", known)
        found[variable["name"]] = value
    return found
