"""The configuration: one TOML file, environment overrides, documented defaults; unknown keys are errors."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from .kafka.settings import KafkaSettings
from .measure.settings import EmbedderSettings, MeasureSettings, TextSettings
from .notify.settings import SINK_SECRETS, NotifySettings, wrong_field
from .signals import BY_NAME
from .watch.settings import (
    BudgetSettings,
    ChannelSettings,
    EngineSettings,
    ScopeSettings,
    SignalSettings,
    WatchSettings,
)

#: environment variables that override a key: LEEBOARD__SECTION__KEY
PREFIX = "LEEBOARD__"
#: keys that are never printed and never in the TOML; each has a `..._file` beside it. `*`: any name
SECRETS = (
    ("privacy", "key"),
    ("kafka", "security", "password"),
    *(("notify", "sinks", "*", name) for name in SINK_SECRETS),
)


class ConfigError(Exception):
    """A configuration that cannot be used; the message names the file or variable and the path of the field."""


class PrivacySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[privacy]`: what is hashed, and with what."""

    #: the deployment's key for hashes of inputs, users and sessions; from the environment, never from the TOML
    key: str = ""
    #: file that holds the key
    key_file: str | None = None
    #: texts with fewer tokens get neither style counts nor a vector: of a short text both can give words away
    min_tokens: Annotated[int, Meta(ge=0)] = 0


class PriceSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[price]`: calls without a cost."""

    #: price them from the bundled table (its version stands in every observation)
    table: bool = True


class DeadLetterSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[dead_letters]`: records that were refused."""

    #: keep their bytes, not only position, reason, hash and size
    payload: bool = False


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of it."""

    scope: ScopeSettings = field(default_factory=ScopeSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    signals: dict[str, SignalSettings] = field(default_factory=dict)
    watch: WatchSettings = field(default_factory=WatchSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    text: TextSettings = field(default_factory=TextSettings)
    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
    price: PriceSettings = field(default_factory=PriceSettings)
    dead_letters: DeadLetterSettings = field(default_factory=DeadLetterSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    #: templates with {scope}, {tenant}, {app}, {env}, {route}, {dedup_key}: name -> URL
    links: dict[str, str] = field(default_factory=dict)
    #: the same, for one runbook
    runbook_url: str | None = None

    def engine(self) -> EngineSettings:
        """The settings of engine and gate."""
        return EngineSettings(
            scope=self.scope,
            budget=self.budget,
            channels=self.channels,
            signals=self.signals,
            watch=self.watch,
            links=self.links,
            runbook_url=self.runbook_url,
        )

    def measure(self) -> MeasureSettings:
        """The settings of measuring. Raises ConfigError where the key's file cannot be read."""
        key = self.privacy.key
        if self.privacy.key_file is not None:
            try:
                key = Path(self.privacy.key_file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"privacy.key_file: {error}") from None
        return MeasureSettings(
            tenant_in_scope=self.scope.tenant,
            key=key,
            price=self.price.table,
            text=self.text,
            min_tokens=self.privacy.min_tokens,
            embedder=self.embedder,
        )


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """The configuration of a file (None: defaults) with the overrides of an environment. Raises ConfigError."""
    tree: dict[str, Any] = {}
    where = "configuration"
    if path is not None:
        where = str(path)
        try:
            tree = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: not a text file") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from None
        for *sections, key in _secrets(tree):
            name = ".".join((*sections, key))
            variable = PREFIX + "__".join((*sections, key)).upper()
            raise ConfigError(f"{path}: {name} is a secret: set {variable} or {name}_file instead")
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX):
            _override(tree, variable, text)
    try:
        config = msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {_with_names(str(error), tree)}") from None
    _check(config, where)
    return config


def _secrets(tree: Any) -> Iterator[tuple[str, ...]]:
    """The paths of the secrets that a tree holds."""
    for pattern in SECRETS:
        yield from _paths(tree, pattern)


def _is_secret(path: tuple[str, ...]) -> bool:
    return any(
        len(path) == len(pattern) and all(own in ("*", part) for own, part in zip(pattern, path, strict=True))
        for pattern in SECRETS
    )


def _paths(tree: Any, pattern: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths in a tree that a pattern matches."""
    if not pattern:
        yield ()
    elif isinstance(tree, dict):
        for key in sorted(tree) if pattern[0] == "*" else [pattern[0]]:
            if key in tree:
                yield from ((key, *path) for path in _paths(tree[key], pattern[1:]))


def _with_names(message: str, tree: dict[str, Any]) -> str:
    """Messages say `[...]` for the key of a table of named things: put the name that is wrong in its place."""
    what, at, path = message.rpartition(" - at `$.")
    before, dots, after = path.rstrip("`").partition("[...]")
    if not (at and dots):
        return message
    *parents, last = before.split(".")
    part = tree
    for parent in parents:
        part = part[parent]
    named = part[last]
    for name in named:
        part[last] = {name: named[name]}
        try:
            msgspec.convert(tree, Config, strict=False)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return f"{what} - at `$.{before}.{name}{after}`"
    return message


def _override(tree: dict[str, Any], variable: str, text: str) -> None:
    """Set one key of the tree; the value is read as TOML where it is TOML, else as text."""
    *sections, key = variable[len(PREFIX) :].lower().split("__")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if _is_secret((*sections, key)):
        value = text  # a key of digits is a text all the same
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{variable}: {section} is no section")
    if not key:
        raise ConfigError(f"{variable}: names no key")
    tree[key] = value


def _check(config: Config, where: str) -> None:
    """What the types cannot say."""
    for name, own in config.signals.items():
        if name not in BY_NAME and not name.startswith("score."):
            raise ConfigError(f"{where}: signals.{name}: there is no such signal; known: {', '.join(sorted(BY_NAME))}")
        if own.detector is not None and not own.detector.startswith("river:"):
            raise ConfigError(f"{where}: signals.{name}.detector: {own.detector!r} is not `river:Name(...)`")
        if own.detector is not None and (name not in BY_NAME or BY_NAME[name].kind not in ("numeric", "binary")):
            raise ConfigError(
                f"{where}: signals.{name}.detector: River's detectors watch numeric and yes/no signals only"
            )
        if own.detector is not None:
            # loads NumPy: only those who name a detector of River need it
            from leeboard.detectors.river import make_river

            try:
                make_river(own.detector.removeprefix("river:"))
            except ValueError as error:
                raise ConfigError(f"{where}: signals.{name}.detector: {error}") from None
    wrong = wrong_field(config.notify)
    if wrong is not None:
        raise ConfigError(f"{where}: {wrong}")
    weights = msgspec.structs.asdict(config.channels)
    if sum(weights.values()) <= 0:
        raise ConfigError(f"{where}: channels: at least one channel needs a weight")
    if config.embedder.backend == "sentence-transformers" and not config.embedder.model:
        raise ConfigError(f"{where}: embedder.model: sentence-transformers needs the name or the folder of a model")


def printable_config(config: Config) -> dict[str, Any]:
    """The resolved configuration without secrets."""
    tree: dict[str, Any] = msgspec.to_builtins(config)
    for *sections, name in list(_secrets(tree)):
        part = tree
        for section in sections:
            part = part[section]
        if part[name]:
            part[name] = "(set)"
    return tree
