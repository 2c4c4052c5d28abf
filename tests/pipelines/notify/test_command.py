"""`longshore notify` without Kafka: the test of sinks, secrets, and what is said of a wrong configuration."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from longshore.pipelines.cli.commands import cli

from .receivers import ACCEPTED, Answer, always, receiver
from .sinks import ROUTING_KEY, SIGNING_KEY

KEY = "LONGSHORE__NOTIFY__SINKS__{}__ROUTING_KEY"


def run(tmp_path: Path, toml: str, *arguments: str, **environment: str) -> Result:
    path = tmp_path / "longshore.toml"
    path.write_text(toml)
    result = CliRunner().invoke(cli, ["notify", *arguments, "--config", str(path)], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def four(url: str) -> str:
    return (
        f'[notify.sinks.oncall]\ntype = "pagerduty"\nurl = "{url}"\n[notify.sinks.chat]\ntype = "slack"\n'
        f'[notify.sinks.am]\ntype = "alertmanager"\nurl = "{url}"\n[notify.sinks.hook]\ntype = "webhook"\nurl = "{url}/hook"\n'
    )


def secrets(url: str) -> dict[str, str]:
    return {
        KEY.format("ONCALL"): ROUTING_KEY,
        "LONGSHORE__NOTIFY__SINKS__CHAT__WEBHOOK_URL": f"{url}/slack",
        "LONGSHORE__NOTIFY__SINKS__HOOK__SECRET": SIGNING_KEY,
    }


def test_a_test_goes_through_every_sink_and_ends(tmp_path: Path) -> None:
    with receiver(lambda request: ACCEPTED if "/v2/" in request.path else Answer()) as server:
        result = run(tmp_path, four(server.url), "--test", **secrets(server.url))
    assert (result.exit_code, result.output) == (
        0,
        "".join(f"{n}: took the test\n" for n in ("oncall", "chat", "am", "hook")),
    )
    assert [request.path for request in server.requests] == ["/v2/enqueue"] * 2 + ["/slack"] * 2 + [
        "/api/v2/alerts"
    ] * 2 + ["/hook"] * 2
    assert [body["event_action"] for body in server.bodies()[:2]] == ["trigger", "resolve"]
    assert "TEST" in server.bodies()[0]["payload"]["summary"]
    assert "TEST" in server.bodies()[2]["text"]
    assert server.bodies()[4][0]["labels"]["alertname"] == "longshore_test"


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (Answer(400), 1, "HTTP 400"),
        (Answer(403), 1, "HTTP 403"),
        (Answer(503), 1, "HTTP 503"),
        (Answer(0), 3, "no answer"),
    ],
)
def test_a_sink_that_fails_its_test_is_named(tmp_path: Path, answer: Answer, code: int, said: str) -> None:
    toml = '[notify.sinks.good]\ntype = "alertmanager"\nurl = "{}"\n[notify.sinks.bad]\ntype = "alertmanager"\nurl = "{}"\n'
    with receiver() as good, receiver(always(answer)) as bad:
        text = run(tmp_path, toml.format(good.url, bad.url), "--test")
        as_json = run(tmp_path, toml.format(good.url, bad.url), "--test", "--json")
    assert text.exit_code == as_json.exit_code == code
    assert text.output.startswith(f"good: took the test\nbad: {said}")
    found = json.loads(as_json.stdout)
    assert (found["good"]["result"], found["bad"]["result"] != "delivered") == ("delivered", True)


def test_secrets_come_from_the_environment_or_from_files_and_are_never_printed(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{ROUTING_KEY}\n")
    with receiver(always(ACCEPTED)) as server:
        toml = f'[notify.sinks.oncall]\ntype = "pagerduty"\nurl = "{server.url}"\nrouting_key_file = "{file}"\n'
        assert run(tmp_path, toml, "--test").exit_code == 0
    (tmp_path / "c.toml").write_text(toml)
    environment = {KEY.format("ONCALL"): "1" * 32}
    printed = CliRunner().invoke(cli, ["check-config", str(tmp_path / "c.toml")], env=environment)
    assert printed.exit_code == 0, printed.output
    assert "1" * 32 not in printed.output
    assert 'routing_key = "(set)"' in printed.output


PAGERDUTY = '[notify.sinks.oncall]\ntype = "pagerduty"\n'


@pytest.mark.parametrize(
    ("toml", "environment", "said"),
    [
        ("", {}, "notify.sinks: there is none"),
        (PAGERDUTY, {}, "notify.sinks.oncall.routing_key: set LONGSHORE__NOTIFY__SINKS__ONCALL__ROUTING_KEY"),
        (PAGERDUTY, {KEY.format("ONCALL"): "short"}, "notify.sinks.oncall.routing_key: not 32 letters and digits"),
        (PAGERDUTY + 'routing_key_file = "absent"\n', {}, "notify.sinks.oncall.routing_key_file: [Errno 2]"),
        (PAGERDUTY + 'routing_key = "x"\n', {}, "notify.sinks.oncall.routing_key is a secret: set LONGSHORE__NOTIFY__SINKS__ONCALL__ROUTING_KEY or"),
        ('[notify.sinks.chat]\ntype = "slack"\n', {"LONGSHORE__NOTIFY__SINKS__CHAT__WEBHOOK_URL": "hush"}, "notify.sinks.chat.webhook_url: not a URL"),
        ('[notify.sinks.h]\ntype = "webhook"\nurl = "http://x"\n', {"LONGSHORE__NOTIFY__SINKS__H__SECRET": "hush\u00e9"}, "notify.sinks.h.secret: not of the form"),
        (PAGERDUTY + 'type2 = "x"\n', {}, "`type2` - at `$.notify.sinks.oncall`"),
        ('[notify.sinks.oncall]\ntype = "pager"\n', {}, "$.notify.sinks.oncall"),
        ('[notify.sinks.oncall]\nurl = "http://x"\n', {}, "`type` - at `$.notify.sinks.oncall"),
        ('[notify.sinks.am]\ntype = "alertmanager"\n', {}, "`url` - at `$.notify.sinks.am`"),
        ('[notify.sinks.am]\ntype = "alertmanager"\nurl = "http://user:hush@x"\n', {}, "$.notify.sinks.am.url"),
        ('[notify.sinks.am]\ntype = "alertmanager"\nurl = "ftp://x"\n', {}, "$.notify.sinks.am.url"),
        ('[notify.sinks.On-Call]\ntype = "pagerduty"\n', {}, "$.notify.sinks"),
        (PAGERDUTY + '[[notify.routes]]\nsink = "oncal"\n', {}, "notify.routes[0].sink: there is no sink 'oncal'; known: oncall"),
        (PAGERDUTY + '[[notify.routes]]\nsink = "oncall"\n[[notify.routes]]\nsink = "oncall"\nseverity = ["bad"]\n', {}, "$.notify.routes[1].severity[0]"),
        (PAGERDUTY + '[[notify.routes]]\nsink = "oncall"\nrecords = []\n', {}, "$.notify.routes[0].records"),
        (PAGERDUTY + '[[notify.routes]]\nsink = "oncall"\nrecords = ["notices"]\n', {}, "notify.routes[0].records: notices never page"),
        (PAGERDUTY + "change_events = true\n", {}, "notify.sinks.oncall.change_events: no route"),
        ("[notify]\nretry_hours = 0\n", {}, "$.notify.retry_hours"),
        ("[notify]\nroute = []\n", {}, "`route` - at `$.notify`"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_and_a_secret_is_not_shown(
    tmp_path: Path, toml: str, environment: dict[str, str], said: str
) -> None:
    result = run(tmp_path, toml, **environment)
    assert result.exit_code == 2
    assert said in result.output
    assert "hush" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--rehearse", "--test"), "one of them"), (("--json",), "--json belongs to")]
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(tmp_path, "", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_a_configuration_with_sinks_needs_no_secret_to_be_checked(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(four("http://127.0.0.1:1"))
    assert CliRunner().invoke(cli, ["check-config", str(tmp_path / "c.toml")]).exit_code == 0
