"""The versions that the image installs: those of this environment, of everything that the extra `worker` needs.

`python -m tests.deploy.constraints` writes deploy/docker/constraints.txt.
"""

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .places import DEPLOY, ROOT

FILE = DEPLOY / "docker" / "constraints.txt"
HEAD = "# The versions that the tests ran with. Written by: python -m tests.deploy.constraints\n"


def project() -> tuple[dict[str, list[Requirement]], list[Requirement]]:
    """Requirements by extra (the base as ``), and those of the build."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    own = {"": found["project"]["dependencies"], **found["project"]["optional-dependencies"]}
    build = [Requirement(text) for text in found["build-system"]["requires"]]
    return {extra: [Requirement(text) for text in texts] for extra, texts in own.items()}, build


def direct(extra: str = "worker") -> Iterator[Requirement]:
    """What an extra of the project names, extras of the project that it names resolved, and what the build needs."""
    extras, build = project()
    waiting, seen = ["", extra], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in extras[name]:
            if canonicalize_name(requirement.name) == "leeboard":
                waiting += requirement.extras
            else:
                yield requirement
    yield from build


def needs(requirement: Requirement) -> Iterator[Requirement]:
    """What an installed distribution needs here, with the extras that are asked for."""
    for text in distribution(requirement.name).requires or ():
        needed = Requirement(text)
        marker = needed.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            yield needed


def closure() -> dict[str, str]:
    """Name -> version of everything that is needed. Raises PackageNotFoundError."""
    found: dict[str, str] = {}
    waiting = list(direct())
    done: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        mark = f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}"
        if mark in done:
            continue
        done.add(mark)
        found[canonicalize_name(requirement.name)] = distribution(requirement.name).version
        waiting += needs(requirement)
    return found


def pinned() -> dict[str, str]:
    """Name -> version as the file has them."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)  # type: ignore[misc]


if __name__ == "__main__":
    try:
        versions = closure()
    except PackageNotFoundError as error:
        raise SystemExit(f"{error}: make install") from None
    FILE.write_text(HEAD + "".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
