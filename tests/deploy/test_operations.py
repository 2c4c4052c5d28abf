"""The operator's manual explains every metric, exit code and figure that the code has, and no others."""

import re

from leeboard.pipelines.kafka.operate.acl import HOW_TO_SKIP
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime import exits
from leeboard.pipelines.topics import TopicSettings

from .known import documented_names
from .places import DOCS, json_of, text_of
from .roles import rights_in, roles

MANUAL = (DOCS / "OPERATIONS.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", MANUAL, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_every_metric_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| `(leeboard_\w+)` \| (.+?) \|", section("Metrics"), re.MULTILINE)
    names = [name for name, _ in rows]
    assert len(names) == len(set(names))
    assert set(names) == documented_names()


def test_labels_of_metrics_are_those_that_the_table_names() -> None:
    from .known import exported

    series = exported()
    rows = [(row, re.match(r"\| `(leeboard_\w+)`", row)) for row in section("Metrics").splitlines()]
    assert sum(name is not None for _, name in rows) > 20
    for row, name in rows:
        if name:
            labels = series.get(name[1], series.get(f"{name[1]}_bucket", set())) - {"stage", "le"}
            named = re.search(r"labels? ((`\w+`(, )?)+)", row)
            assert set(re.findall(r"`(\w+)`", named[1]) if named else ()) == labels, row


def test_every_exit_code_is_explained() -> None:
    text = section("First steps")
    for code in (exits.USAGE_EXIT, *exits.EXIT_REASONS):
        assert re.search(rf"\b{code}\b", text), code


def test_defaults_that_are_named_are_the_defaults() -> None:
    settings = KafkaSettings()
    for text, value in (
        ("`kafka.partitions` (24)", settings.partitions),
        ("`kafka.session_timeout_s` (15 s)", settings.session_timeout_s),
        ("`kafka.calls_retention_days` (14)", settings.calls_retention_days),
        ("`kafka.http_port` (9464;", settings.http_port),
    ):
        assert text in MANUAL
        assert str(round(value)) in text


def test_keys_that_are_named_exist() -> None:
    known = re.findall(r"^\| `([\w.]+)` \|", (DOCS / "CONFIGURATION.md").read_text(encoding="utf-8"), re.MULTILINE)
    sections = {key.partition(".")[0] for key in known}
    named = {key for key in re.findall(r"`((?:\w+\.)+\w+)(?: = [^`]*)?`", MANUAL) if key.partition(".")[0] in sections}
    assert len(named) > 10
    assert {key for key in named if key not in known and not any(one.startswith(f"{key}.") for one in known)} == set()


def test_topics_that_are_named_exist() -> None:
    topics = TopicSettings()
    known = {topics.raw[0], topics.calls, topics.state, topics.control, topics.alerts, topics.pages}
    named = set(re.findall(r"`(leeboard\.[a-z-]+)`", MANUAL))
    assert named and named <= known


def test_the_table_of_rights_is_the_one_that_programs_read() -> None:
    rows = {tuple(cell.strip() for cell in row.split("|")[1:5]) for row in text_of("kafka/acls.md").splitlines()}
    wanted = {
        (
            role,
            entry["resource"].replace("_", " "),
            f"`{entry['name']}`" + (" (prefix)" if entry["pattern"] == "prefixed" else ""),
            ", ".join(entry["operations"]),
        )
        for role in roles()
        for entry in json_of("kafka/acls.json")["roles"][role]["allow"]
    }
    assert {row for row in rows if row and row[0] in roles()} == wanted


def test_refusals_lead_to_pages_that_exist() -> None:
    assert "unchecked" in HOW_TO_SKIP
    assert "kafka.security.control_acl" in text_of("kafka/acls.md")
    assert all(rights_in(role) for role in roles())
