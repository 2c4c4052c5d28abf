"""`leeboard notify` without Kafka: the test of sinks, secrets, and what is said of a wrong configuration."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from leeboard.pipelines.cli.commands import cli

from .receivers import ACCEPTED, Answer, always, receiver
from .sinks import ROUTING_KEY, SIGNING_KEY

KEY = "LEEBOARD__NOTIFY__SINKS__{}__ROUTING_KEY"


def run(tmp_path: Path, toml: str, *arguments: str, **environment: str) -> Result:
    path = tmp_path / "leeboard.toml"
    path.write_text(toml)
    result = CliRunner().invoke(cli, ["notify", *arguments, "--config", str(path)], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def four(url: str) -> str:
    return (
        f'[notify.sinks.oncall]\ntype = "pagerduty"\nurl = "{url}"\n[notify.sinks.chat]\ntype = "slack"\n'
        f'[notify.sinks.am]\ntype = "alertmanager"\nurl = "{url}"\n'
        f'[notify.sinks.hook]\ntype = "webhook"\nurl = "{url}/hook"\n'
    )


def secrets(url: str) -> dict[str, str]:
    return {
        KEY.format("ONCALL"): ROUTING_KEY,
        "LEEBOARD__NOTIFY__SINKS__CHAT__WEBHOOK_URL": f"{url}/slack",
        "LEEBOARD__NOTIFY__SINKS__HOOK__SECRET": SIGNING_KEY,
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
    assert server.bodies()[4][0]["labels"]["alertname"] == "leeboard_test"


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
    toml = "".join(f'[notify.sinks.{name}]\ntype = "alertmanager"\nurl = "{{}}"\n' for name in ("good", "bad"))
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
SLACK = '[notify.sinks.chat]\ntype = "slack"\n'
WEBHOOK = '[notify.sinks.h]\ntype = "webhook"\nurl = "http://x"\n'
AM = '[notify.sinks.am]\ntype = "alertmanager"\n'
ROUTE = '[[notify.routes]]\nsink = "oncall"\n'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("", "notify.sinks: there is none"),
        (PAGERDUTY + 'type2 = "x"\n', "`type2` - at `$.notify.sinks.oncall`"),
        ('[notify.sinks.oncall]\ntype = "pager"\n', "$.notify.sinks.oncall"),
        ('[notify.sinks.oncall]\nurl = "http://x"\n', "`type` - at `$.notify.sinks.oncall"),
        ('[notify.sinks.On-Call]\ntype = "pagerduty"\n', "$.notify.sinks"),
        (AM, "`url` - at `$.notify.sinks.am`"),
        (AM + 'url = "http://user:hush@x"\n', "$.notify.sinks.am.url"),
        (AM + 'url = "ftp://x"\n', "$.notify.sinks.am.url"),
        (
            PAGERDUTY + ROUTE.replace("oncall", "oncal"),
            "notify.routes[0].sink: there is no sink 'oncal'; known: oncall",
        ),
        (PAGERDUTY + ROUTE + ROUTE + 'severity = ["bad"]\n', "$.notify.routes[1].severity[0]"),
        (PAGERDUTY + ROUTE + "records = []\n", "$.notify.routes[0].records"),
        (PAGERDUTY + ROUTE + 'records = ["notices"]\n', "notify.routes[0].records: notices never page"),
        (PAGERDUTY + "change_events = true\n", "notify.sinks.oncall.change_events: no route"),
        ("[notify]\nretry_hours = 0\n", "$.notify.retry_hours"),
        ("[notify]\nroute = []\n", "`route` - at `$.notify`"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, toml: str, said: str) -> None:
    result = run(tmp_path, toml)
    assert result.exit_code == 2
    assert said in result.output
    assert "hush" not in result.output


@pytest.mark.parametrize(
    ("toml", "variable", "value", "said"),
    [
        (PAGERDUTY, "", "", "oncall.routing_key: set LEEBOARD__NOTIFY__SINKS__ONCALL__ROUTING_KEY, or"),
        (PAGERDUTY, "ONCALL__ROUTING_KEY", "hush", "oncall.routing_key: not 32 letters and digits"),
        (PAGERDUTY + 'routing_key_file = "absent"\n', "", "", "oncall.routing_key_file: [Errno 2]"),
        (PAGERDUTY + 'routing_key = "hush"\n', "", "", "oncall.routing_key is a secret: set LEEBOARD__NOTIFY__SINKS"),
        (SLACK, "CHAT__WEBHOOK_URL", "hush", "chat.webhook_url: not a URL"),
        (WEBHOOK, "H__SECRET", "hush\u00e9", "h.secret: not of the form"),
    ],
)
def test_a_wrong_secret_is_named_and_not_shown(tmp_path: Path, toml: str, variable: str, value: str, said: str) -> None:
    result = run(tmp_path, toml, **({f"LEEBOARD__NOTIFY__SINKS__{variable}": value} if variable else {}))
    assert result.exit_code == 2
    assert f"notify.sinks.{said}" in result.output
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
