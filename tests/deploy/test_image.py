"""The image: pinned, without rights, with the versions that the tests ran with."""

import re
from importlib.metadata import version

from leeboard.pipelines.config import Config

from .places import ROOT, text_of, yaml_of

PINNED = re.compile(r"[a-z0-9./-]+:(?!latest\b)[\w.-]+@sha256:[0-9a-f]{64}")


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument of every line of the Dockerfile, continued lines joined."""
    lines = [line for line in text_of("docker/Dockerfile").splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    pairs = (line.split(None, 1) for line in text.splitlines() if line.strip())
    return [(name, rest) for name, rest in pairs]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def test_the_base_is_pinned_by_tag_and_digest_and_the_same_in_every_stage() -> None:
    [base] = arguments("ARG")
    name, _, image = base.partition("=")
    assert PINNED.fullmatch(image)
    assert {rest.split()[0] for rest in arguments("FROM")} == {f"${{{name}}}"}
    assert len(arguments("FROM")) > 1, "what builds does not belong into the image"


def test_the_images_of_compose_are_pinned_by_tag_and_digest() -> None:
    images = {service["image"] for service in yaml_of("compose/compose.yaml")["services"].values()}
    own = {image for image in images if image.startswith("leeboard:")}
    assert own == {f"leeboard:{version('leeboard')}"}
    assert all(PINNED.fullmatch(image) for image in images - own)


def test_the_process_is_nobody_and_owns_the_cache_that_was_warmed_by_it() -> None:
    stage = last_stage()
    names = [name for name, _ in stage]
    user = names.index("USER")
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", stage[user][1]), "a number: Kubernetes cannot check a name"
    owner = stage[user][1].partition(":")[0]
    [prepared] = [rest for name, rest in stage[:user] if name == "RUN"]
    [environment] = [rest for name, rest in stage if name == "ENV"]
    cache = re.search(r"NUMBA_CACHE_DIR=(\S+)", environment)
    assert cache and re.search(rf"install -d -o {owner} -g {owner} .*{cache[1]}", prepared)
    assert [rest for name, rest in stage[user:] if name == "RUN"], (
        "compiled by somebody else, the kernels are not its own"
    )
    assert "NUMBA_CPU_NAME=generic" in environment


def test_the_kernels_are_compiled_by_code_that_exists() -> None:
    [warm] = [rest for name, rest in last_stage() if name == "RUN" and "warm_kernels" in rest]
    code = re.search(r'python -c "(.*)"', warm)
    assert code
    imports, call = code[1].rsplit("; ", 1)
    names: dict[str, object] = {}
    exec(imports, names)
    assert call == "warm_kernels(Config().engine())"
    assert callable(names["warm_kernels"]) and names["Config"] is Config


def test_the_image_is_asked_whether_it_lives_and_starts_leeboard() -> None:
    [check] = arguments("HEALTHCHECK")
    assert "/livez" in check
    assert f"'{Config().kafka.http_port}'" in check
    assert arguments("ENTRYPOINT") == ['["leeboard"]']


def test_what_is_copied_exists_and_is_let_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for rest in arguments("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]}
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)
