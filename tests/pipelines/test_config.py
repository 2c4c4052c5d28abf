"""The configuration: defaults, overrides, and clear errors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from leeboard.pipelines.config import Config, ConfigError, load, printable_config
from leeboard.pipelines.notify.settings import RouteSettings
from leeboard.pipelines.notify.sinks import SinkSettings
from leeboard.pipelines.signals import BINARY, CATEGORICAL, NUMERIC, TEXT
from leeboard.pipelines.watch.settings import SignalSettings

DOCS = Path(__file__).parents[2] / "docs" / "CONFIGURATION.md"


def config(tmp_path: Path, text: str, **environment: str) -> Config:
    path = tmp_path / "leeboard.toml"
    path.write_text(text)
    return load(path, environment)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert config(tmp_path, "") == load(None, {}) == Config()


def test_a_file_and_the_environment_are_taken_together_and_the_environment_wins(tmp_path: Path) -> None:
    found = config(
        tmp_path,
        "[budget]\npages_per_week = 3\nnotices_per_week = 1\n[signals.latency_ms]\nfloor = 0.5\n",
        LEEBOARD__BUDGET__PAGES_PER_WEEK="2.5",
        LEEBOARD__SIGNALS__CACHED_SHARE__ENABLED="false",
        LEEBOARD__RUNBOOK_URL="https://wiki.example/{app}",
        UNRELATED="x",
    )
    assert found.budget.pages_per_week == 2.5
    assert found.budget.notices_per_week == 1.0
    assert found.signals["latency_ms"] == SignalSettings(floor=0.5)
    assert not found.signals["cached_share"].enabled
    assert found.runbook_url == "https://wiki.example/{app}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[budget]\npages_per_week = 0\n", ["$.budget.pages_per_week", "> 0"]),
        ("[budget]\npages_a_week = 1\n", ["pages_a_week", "$.budget"]),
        ("[watch]\nring_calls = 300\n", ["$.watch.ring_calls", "multiple"]),
        ("[watch]\nring_calls = 'many'\n", ["$.watch.ring_calls"]),
        ("[channels]\ninput = 2\n", ["$.channels.input"]),
        ("budget = 3\n", ["$.budget"]),
        ("[signals.latency]\nfloor = 1\n", ["signals.latency", "latency_ms"]),
        ("[signals.latency_ms]\nfloor = -1\n", ["$.signals.latency_ms.floor"]),
        ("[signals.latency_ms]\ndetector = 'ADWIN'\n", ["signals.latency_ms.detector", "river:"]),
        ("[signals.latency_ms]\ndetector = 'river:Nonsense()'\n", ["signals.latency_ms.detector", "Nonsense"]),
        ("[signals.latency_ms]\ndetector = 'river:ADWIN(__import__(\"os\"))'\n", ["signals.latency_ms.detector"]),
        ("[signals.finish_reason]\ndetector = 'river:ADWIN'\n", ["signals.finish_reason.detector"]),
        ("[channels]\n" + "".join(f"{n} = 0\n" for n in msgspec.structs.asdict(Config().channels)), ["channels"]),
        ("not toml", ["leeboard.toml", "line 1"]),
        ("[privacy]\nkey = 'secret-in-a-file'\n", ["privacy.key", "LEEBOARD__PRIVACY__KEY"]),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        config(tmp_path, text)
    for word in words:
        assert word in str(error.value)
    assert "secret-in-a-file" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path, made in ((tmp_path / "absent.toml", None), (tmp_path / "binary.toml", b"\xff\xfe\x00")):
        if made is not None:
            path.write_bytes(made)
        with pytest.raises(ConfigError, match=path.name):
            load(path, {})
    with pytest.raises(ConfigError):
        load(tmp_path, {})


@pytest.mark.parametrize("variable", ["LEEBOARD__", "LEEBOARD__BUDGET__", "LEEBOARD__RUNBOOK_URL__X"])
def test_a_wrong_variable_is_named(variable: str) -> None:
    with pytest.raises(ConfigError):
        load(None, {variable: "1", "LEEBOARD__RUNBOOK_URL": "x"})


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    found = config(tmp_path, "", LEEBOARD__PRIVACY__KEY="hush-hush")
    assert found.measure().key == "hush-hush"
    assert "hush-hush" not in str(printable_config(found))
    key = tmp_path / "key"
    key.write_text("from a file\n")
    assert config(tmp_path, f"[privacy]\nkey_file = '{key}'\n").measure().key == "from a file"
    with pytest.raises(ConfigError, match="key_file"):
        config(tmp_path, f"[privacy]\nkey_file = '{tmp_path / 'absent'}'\n").measure()


def test_the_fingerprint_changes_with_what_alerts_depend_on_and_with_nothing_else(tmp_path: Path) -> None:
    plain = config(tmp_path, "").engine().fingerprint()
    assert config(tmp_path, "[budget]\npages_per_week = 2\n").engine().fingerprint() != plain
    assert config(tmp_path, "[signals.latency_ms]\nfloor = 0.3\n").engine().fingerprint() != plain
    assert config(tmp_path, "[price]\ntable = false\n").engine().fingerprint() == plain
    assert config(tmp_path, "", LEEBOARD__PRIVACY__KEY="k").engine().fingerprint() == plain


def flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, tree


def test_the_documentation_names_every_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+?) \| ", DOCS.read_text(), re.MULTILINE))
    expected = dict(flat(msgspec.to_builtins(Config())))
    expected |= {f"signals.NAME.{name}": value for name, value in flat(msgspec.to_builtins(SignalSettings()))}
    expected |= {f"notify.routes.{name}": value for name, value in flat(msgspec.to_builtins(RouteSettings(sink="")))}
    for kind in get_args(SinkSettings):
        expected |= {f"notify.sinks.NAME.{field.name}": None for field in msgspec.structs.fields(kind)}
    for key, value in expected.items():
        if key in ("links", "signals", "notify.sinks", "notify.routes"):
            continue
        assert key in rows, f"docs/CONFIGURATION.md does not name {key}"
        if value not in (None, ""):
            assert rows[key] == f"`{str(value).lower()}`", key


def test_the_documentation_names_every_signal() -> None:
    text = DOCS.read_text()
    for signal in (*NUMERIC, *BINARY, *CATEGORICAL, *TEXT):
        name = "coverage.GROUP" if signal.channel == "coverage" else signal.name
        assert f"`{name}`" in text, name
