"""What is installed is written down: pyproject.toml, constraints.txt and this environment agree."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENTRY = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\\n]+?))?(?P<hashes>(?: \\\n    --hash=\S+)+)\n"
)
TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
LOCKED = {entry["name"]: entry for entry in ENTRY.finditer(TEXT)}
#: extras whose dependencies are not locked: `make test-embeddings` brings the newest
NOT_LOCKED = {"embeddings"}


def declared() -> Iterator[Requirement]:
    """What pyproject.toml asks for, in every extra and group that is locked, and for the build."""
    extras = PROJECT["project"]["optional-dependencies"]
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    texts += [text for group in PROJECT["dependency-groups"].values() for text in group]
    texts += [text for extra, needs in extras.items() if extra not in NOT_LOCKED for text in needs]
    yield from (each for each in map(Requirement, texts) if canonicalize_name(each.name) != "leeboard")


def wrong(requirements: Iterator[Requirement], locked: dict[str, str]) -> list[str]:
    """Requirements that the locked versions do not meet."""
    return [
        f"{each}: locked is {locked.get(canonicalize_name(each.name), 'none')}"
        for each in requirements
        if not each.specifier.contains(locked.get(canonicalize_name(each.name), "0"), prereleases=True)
        or canonicalize_name(each.name) not in locked
    ]


def versions() -> dict[str, str]:
    return {name: entry["version"] for name, entry in LOCKED.items()}


def is_this_the_locked_environment() -> bool:
    """`make test-newest` and `make test-oldest` run elsewhere, with other versions on purpose."""
    return not Path(sys.prefix).is_relative_to(ROOT / "build")


def test_the_lock_holds_what_pyproject_asks_for() -> None:
    assert len(list(declared())) > 20
    assert wrong(declared(), versions()) == [], "make lock"


@pytest.mark.parametrize(
    ("requirement", "fine"),
    [("a>=1", True), ("a>=2,<3", True), ("a<2", False), ("a>=2.1", False), ("b", False), ("A[x]>=2", True)],
)
def test_the_check_sees_what_is_missing_and_what_is_out_of_range(requirement: str, fine: bool) -> None:
    assert (wrong(iter([Requirement(requirement)]), {"a": "2.0"}) == []) is fine


def test_every_line_of_the_lock_is_a_pinned_version_with_its_hashes() -> None:
    rest = ENTRY.sub("", TEXT)
    assert all(line.startswith("#") for line in rest.splitlines()), rest
    assert list(LOCKED) == sorted(LOCKED)
    for name, entry in LOCKED.items():
        assert re.fullmatch(r"( \\\n    --hash=sha256:[0-9a-f]{64})+", entry["hashes"]), name


def test_other_machines_find_their_wheels_in_the_lock() -> None:
    """A lock of one machine alone has one hash a package; these have a wheel for each Python, system and processor."""
    for name in ("numpy", "scipy", "numba", "msgspec", "aiohttp"):
        assert LOCKED[name]["hashes"].count("sha256:") > 10


def test_the_marks_of_the_lock_know_every_python_that_is_promised() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert not [name for name, entry in LOCKED.items() if "python_full_version < " in (entry["marker"] or "")]


@pytest.mark.skipif(not is_this_the_locked_environment(), reason="this environment has other versions on purpose")
def test_what_is_installed_here_is_what_is_locked() -> None:
    here = {canonicalize_name(each.name): each.version for each in distributions()}
    both = here.keys() & LOCKED.keys()
    assert len(both) > 50
    assert {name: here[name] for name in both if here[name] != LOCKED[name]["version"]} == {}


def test_nothing_that_the_locked_versions_need_is_left_to_chance() -> None:
    checked = 0
    for name, version in versions().items():
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if found.version == version:
            needs = (Requirement(text) for text in found.requires or ())
            needed = [each for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
            assert wrong(iter(needed), versions()) == [], name
            checked += 1
    assert checked > 10 or not is_this_the_locked_environment()
