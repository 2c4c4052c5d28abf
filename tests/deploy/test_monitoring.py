"""Dashboard and alert rules ask only for what is exported, and every alert has its runbook."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest

from .known import all_series
from .places import DEPLOY, DOCS, json_of, yaml_of

RULES = ("prometheus/rules.yaml", "prometheus/rules-kubernetes.yaml")
DASHBOARD = "grafana/leeboard.json"
#: variables of the dashboard, and what Grafana itself puts in
VARIABLES = {"$job": "leeboard", "$__rate_interval": "5m"}


def rules() -> list[dict[str, Any]]:
    return [rule for name in RULES for group in yaml_of(name)["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json_of(DASHBOARD)["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """All queries by where they stand."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    return found


def parsed(query: str) -> Any:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return promql.parse(query)


def nodes(expression: Any) -> list[Any]:
    found: list[Any] = []
    promql.walk(expression, lambda node: found.append(node))
    return found


def wrong_in(query: str) -> list[str]:
    """Metrics that nobody exports, and labels that they do not have."""
    series = all_series()
    expression = parsed(query)
    selectors = []
    for node in nodes(expression):
        if isinstance(node, promql.MatrixSelector):
            selectors.append(node.vector_selector)
        elif isinstance(node, promql.VectorSelector):
            selectors.append(node)
    wrong = [f"no metric {selector.name}" for selector in selectors if selector.name not in series]
    known = set().union(*(series.get(selector.name, set()) for selector in selectors))
    for selector in selectors:
        labels = {matcher.name for matcher in selector.matchers.matchers}
        wrong += [f"{selector.name} has no label {label}" for label in labels - series.get(selector.name, labels)]
    for node in nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            wrong += [f"no label {label}" for label in set(node.modifier.labels) - known]
        if isinstance(node, promql.BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
            wrong += [f"no label {label}" for label in set(node.modifier.matching.labels) - known]
    return wrong


def labels_of(expression: Any) -> set[str]:
    """Labels that the result of a query has."""
    if isinstance(expression, promql.AggregateExpr):
        if expression.modifier is None:
            return set()
        assert expression.modifier.type == promql.AggModifierType.By
        return set(expression.modifier.labels)
    if isinstance(expression, promql.BinaryExpr):
        return labels_of(expression.lhs) or labels_of(expression.rhs)
    if isinstance(expression, promql.ParenExpr):
        return labels_of(expression.expr)
    if isinstance(expression, promql.Call):
        return labels_of(expression.args[-1]) - {"le"} if expression.args else set()
    if isinstance(expression, promql.MatrixSelector):
        return labels_of(expression.vector_selector)
    return all_series()[expression.name] if isinstance(expression, promql.VectorSelector) else set()


@pytest.mark.parametrize("where", queries())
def test_a_query_names_only_metrics_and_labels_that_exist(where: str) -> None:
    assert wrong_in(queries()[where]) == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("leeboard_records_total", []),
        ("leeboard_records", ["no metric leeboard_records"]),
        ("sum by (reason) (rate(leeboard_dead_letters_total[5m]))", []),
        ("sum by (reason) (rate(leeboard_records_total[5m]))", ["no label reason"]),
        ('leeboard_scopes{tenant="a"}', ["leeboard_scopes has no label tenant"]),
        ("leeboard_scopes * on (reason) leeboard_scopes", ["no label reason"]),
        ("histogram_quantile(0.9, sum by (le) (rate(leeboard_restore_seconds_bucket[5m])))", []),
        ("sum by (le) (rate(leeboard_restore_seconds_sum[5m]))", ["no label le"]),
    ],
)
def test_the_check_of_queries_finds_what_it_is_for(query: str, wrong: list[str]) -> None:
    assert wrong_in(query) == wrong


def texts() -> Iterator[tuple[str, str, str]]:
    """Query, text that uses its labels, and how the text names them."""
    for rule in rules():
        yield rule["expr"], rule["annotations"]["summary"], r"\$labels\.(\w+)"
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"], r"\{\{(\w+)\}\}"


def test_texts_name_only_labels_that_their_query_leaves() -> None:
    wrong = [
        (query, label)
        for query, text, pattern in texts()
        for label in re.findall(pattern, text)
        if label not in labels_of(parsed(query))
    ]
    assert not wrong


def test_a_rule_has_all_that_an_operator_needs() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
        assert rule["annotations"]["runbook"] == f"docs/OPERATIONS.md#{rule['alert'].lower()}"


def test_every_alert_has_its_runbook_and_no_runbook_is_left_over() -> None:
    manual = (DOCS / "OPERATIONS.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (Leeboard\w+)$", manual, re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in rules())


def test_the_unit_tests_of_the_rules_name_every_series_right() -> None:
    series = all_series()
    for test in yaml_of("prometheus/rules-test.yaml")["tests"]:
        for entry in test["input_series"]:
            selector = promql.parse(entry["series"])
            assert isinstance(selector, promql.VectorSelector)
            assert {matcher.name for matcher in selector.matchers.matchers} <= series[str(selector.name)]


def test_the_rules_pass_their_unit_tests() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (of Prometheus) is not installed")
    folder = DEPLOY / "prometheus"
    done = subprocess.run([promtool, "test", "rules", "rules-test.yaml"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_scrape_configurations_name_the_jobs_that_rules_expect() -> None:
    for name in ("prometheus/prometheus.yml", "compose/prometheus.yml"):
        found = yaml_of(name)
        assert set(found) <= {"global", "rule_files", "alerting", "scrape_configs"}
        assert {job["job_name"] for job in found["scrape_configs"]} <= {"leeboard", "leeboard-notify"}
        assert [file.rpartition("/")[2] for file in found["rule_files"]] == ["rules.yaml"]


def test_the_dashboard_asks_for_its_data_source_and_fits_its_grid() -> None:
    found = json_of(DASHBOARD)
    variables = {variable["name"]: variable for variable in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_provisioning_leads_to_the_dashboard() -> None:
    [source] = yaml_of("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = yaml_of("grafana/provisioning/dashboards/leeboard.yaml")["providers"]
    mounts = [volume.split(":")[1] for volume in yaml_of("compose/compose.yaml")["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/leeboard.json" in mounts
