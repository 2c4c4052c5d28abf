"""Command lines of leeboard, wherever deploy and its manual show or run them, parsed by the commands themselves."""

import re
import shlex
from collections.abc import Iterator

import click
from leeboard.pipelines.cli.commands import cli

from .manifests import containers
from .places import DEPLOY, DOCS, text_of, yaml_of

#: a variable of compose with its default
VARIABLE = re.compile(r"\$\{\w+:?-([^}]*)\}")


def wrong_with(arguments: list[str]) -> str | None:
    """Why a command line would not run; None where it would."""
    command: click.Command = cli
    context = click.Context(cli, info_name="leeboard")
    while isinstance(command, click.Group):
        if not arguments:
            return "no command"
        name, *arguments = arguments
        found = command.get_command(context, name)
        if found is None:
            return f"no command {name}"
        command = found
    try:
        command.make_context(command.name, list(arguments))
    except click.exceptions.Exit:
        return None
    except click.ClickException as error:
        return error.format_message()
    return None


def in_compose() -> Iterator[tuple[str, list[str]]]:
    """Of every container of ours."""
    for name, service in yaml_of("compose/compose.yaml")["services"].items():
        if not service["image"].startswith("leeboard:"):
            continue
        command = service["command"]
        if "entrypoint" in service:
            for part in command[0].split("|"):
                yield f"compose {name}", shlex.split(part)[1:]
        elif isinstance(command, str):
            yield f"compose {name}", shlex.split(VARIABLE.sub(r"\1", command))
            yield f"compose {name}, without the default", shlex.split(VARIABLE.sub("", command))
        else:
            yield f"compose {name}", command


def in_kubernetes() -> Iterator[tuple[str, list[str]]]:
    """Of every container that runs leeboard."""
    for name, container in containers("base"):
        if "command" not in container:
            yield f"kubernetes {name}", container["args"]


def in_texts() -> Iterator[tuple[str, list[str]]]:
    """Between backticks, and at the beginning of a line of a shell block or a comment."""
    files = [path for path in DEPLOY.rglob("*") if path.suffix in (".md", ".yaml", ".yml", ".toml", ".json", ".py")]
    for path in [*files, DOCS / "OPERATIONS.md", DEPLOY / "docker" / "Dockerfile"]:
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r"`leeboard ([^`\n]+)`|^(?:# +|- )?leeboard ([a-z].*)$", text, re.MULTILINE):
            line = (found[1] or found[2]).partition("  ")[0].partition(" |")[0]
            if path.suffix == ".md" or found[1]:
                yield f"{path.name}: {line}", shlex.split(line.removesuffix(" …"))


def in_image() -> Iterator[tuple[str, list[str]]]:
    """What the image runs when nobody says what."""
    for found in re.finditer(r'^CMD \["(\w+)"\]', text_of("docker/Dockerfile"), re.MULTILINE):
        yield "image", [found[1]]


def everywhere() -> dict[str, list[str]]:
    """Where -> arguments."""
    return dict([*in_image(), *in_compose(), *in_kubernetes(), *in_texts()])
