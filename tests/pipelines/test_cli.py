"""The command line: what each command prints, its exit code, and what it says of bad input."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from leeboard.pipelines.cli.commands import cli
from leeboard.pipelines.simulate import default_scenario, simulate
from leeboard.schemas import Alert, decode, encode
from leeboard.schemas.wire import decode_result


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days of simulated calls with their causes."""
    path = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    scenario = default_scenario(3, 6.0, 2500, text=False)
    path.write_bytes(b"".join(encode(call) + b"\n" for call in simulate(scenario)))
    return path


@pytest.fixture(scope="module")
def few(calls: Path) -> list[bytes]:
    """The first calls, too few for anything to be found."""
    return calls.read_bytes().splitlines()[:300]


def run(*arguments: object, data: bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, [str(a) for a in arguments], input=data)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def test_replay_prints_incidents_and_writes_alerts_and_a_report(calls: Path, tmp_path: Path) -> None:
    alerts, report = tmp_path / "alerts.jsonl", tmp_path / "report.html"
    result = run("replay", calls, "--alerts", alerts, "--report", report)
    assert result.exit_code == 1
    assert "would have paged" in result.output
    assert "Budget: 1 false pages a week" in result.output
    assert "Smallest lasting shift" in result.output
    written = [decode_result(line) for line in alerts.read_bytes().splitlines()]
    assert written
    assert all(isinstance(alert, Alert) for alert in written)
    assert report.read_text().startswith("<!DOCTYPE html>")


def test_replay_reads_compressed_files_and_standard_input_alike(calls: Path, tmp_path: Path) -> None:
    packed = tmp_path / "calls.jsonl.gz"
    packed.write_bytes(gzip.compress(calls.read_bytes()))
    outputs = []
    for source, data in ((calls, None), (packed, None), ("-", calls.read_bytes())):
        alerts = tmp_path / "alerts.jsonl"
        assert run("replay", source, "--alerts", alerts, data=data).exit_code == 1
        outputs.append(alerts.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_replay_prints_json(calls: Path) -> None:
    result = run("replay", calls, "--json")
    found = json.loads(result.stdout)
    assert found["calls"] == len(calls.read_bytes().splitlines())
    assert found["ledger"]["pages_per_week"] == 1.0
    assert {"dedup_key", "paged_at", "peak", "last"} <= set(found["incidents"][0])


def test_a_quiet_file_exits_with_0(few: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_bytes(b"\n".join(few))
    assert run("replay", path).exit_code == 0


Maker = Callable[[list[bytes]], bytes]


def with_line(line: bytes) -> Maker:
    return lambda lines: b"\n".join([*lines[:150], line, *lines[150:]]) + b"\n"


def changed(**fields: object) -> Maker:
    return lambda lines: with_line(json.dumps(json.loads(lines[0]) | fields).encode())(lines)


@pytest.mark.parametrize(
    ("make", "reason", "lost"),
    [
        (with_line(b'{"schema":"model_call/1","id":"x"'), "not_json", 0),
        (with_line(b"\xff\xfe\x00binary"), "refused", 0),
        (with_line(b"[" * 100 + b"]" * 100), "too_deep", 0),
        (with_line(b'{"schema":"something/9"}'), "unknown_schema", 0),
        (with_line(b'{"schema":"model_call/1","id":"x","app":"a"}'), "missing_field", 0),
        (changed(id="n", input_tokens="many"), "wrong_type", 0),
        (changed(id="n", output_tokens=-4), "negative", 0),
        (changed(id="n", latency_ms=float("nan")), "not_finite", 0),
        (changed(id="n", latency_ms=float("inf")), "not_finite", 0),
        (changed(id="n", time="2999-01-01T00:00:00Z"), "time_ahead", 0),
        (changed(id="n", time=-5), "time_out_of_range", 0),
        (changed(id="n", route="r" * 2000), "key_too_long", 0),
        (with_line(b'{"schema":"mute/1","time":1,"app":"a","until":9}'), "not_allowed", 0),
        (lambda lines: b"\n".join(lines)[:-10], "not_json", 1),
        (lambda lines: gzip.compress(b"\n".join(lines))[:-400], "gzip", None),
        (with_line(b'{"schema":"model_call/1","x":"' + b"y" * (50 << 20) + b'"}'), "too_large", 0),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_nothing_valid_is_lost(
    few: list[bytes], tmp_path: Path, make: Maker, reason: str, lost: int | None
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(make(few))
    result = run("replay", path, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert sum(found["refused"].values()) == 1
    assert reason in json.dumps(found["rejects"]) or reason == "refused"
    assert "bad.jsonl:" in found["rejects"][0]["position"]
    if lost is None:
        assert 0 < found["calls"] < len(few)
    else:
        assert found["calls"] == len(few) - lost
    assert reason in run("replay", path).output or reason in ("gzip", "refused")


def test_repeated_ids_and_late_calls_are_counted_and_left_out(few: list[bytes], tmp_path: Path) -> None:
    late = json.dumps(json.loads(few[0]) | {"id": "late", "time": 0})
    path = tmp_path / "twice.jsonl"
    path.write_bytes(b"\n".join([*few, few[-1], few[-2], late.encode()]))
    result = run("replay", path, "--json")
    assert json.loads(result.stdout)["left_out"] == {"duplicate_id": 2, "late": 1}
    text = run("replay", path).output
    assert "2 calls repeat the id" in text
    assert "is the file sorted?" in text


def test_time_that_goes_backwards_is_no_error(few: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "backwards.jsonl"
    path.write_bytes(b"\n".join(reversed(few)))
    found = json.loads(run("replay", path, "--json").stdout)
    assert found["calls"] == len(few)
    assert found["left_out"] == {}


def test_an_explosion_of_routes_is_bounded_and_said(few: list[bytes], tmp_path: Path) -> None:
    first = json.loads(few[0])
    path, config = tmp_path / "routes.jsonl", tmp_path / "c.toml"
    config.write_text("[watch]\nmax_scopes = 200\n")
    lines = (json.dumps(first | {"id": f"i{k}", "route": f"r{k}", "time": 1_767_571_200_000 + k}) for k in range(3000))
    path.write_text("\n".join(lines))
    result = run("replay", path, "--config", config, "--json")
    found = json.loads(result.stdout)
    assert found["calls"] == found["scopes"] == 3000
    assert found["dropped_scopes"] >= 2800
    assert "watch.max_scopes" in run("replay", path, "--config", config).output


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"schema"', gzip.compress(b"", mtime=0)])
def test_files_without_a_call_exit_with_3(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    for command in (("replay", path), ("compare", path, path)):
        result = run(*command)
        assert result.exit_code == 3
        assert "no call could be read" in result.output


def test_wrong_usage_exits_with_2_and_says_what_is_wrong(calls: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[budget]\npages_per_week = -1\n")
    controls = tmp_path / "controls.jsonl"
    controls.write_bytes(calls.read_bytes().splitlines()[0])
    for command, words in (
        (("replay",), "name files"),
        (("replay", tmp_path / "absent.jsonl"), "absent.jsonl"),
        (("replay", tmp_path), "directory"),
        (("replay", calls, "--config", broken), "$.budget.pages_per_week"),
        (("replay", calls, "--config", tmp_path / "absent.toml"), "absent.toml"),
        (("replay", calls, "--controls", controls), "controls"),
        (("replay", "-", "-"), "only once"),
        (("replay", calls, "--alerts", tmp_path / "no" / "alerts.jsonl"), "alerts.jsonl"),
        (("compare", calls), "CANDIDATE"),
        (("compare", "-", "-"), "only once"),
        (("simulate", "--days", "0"), "days"),
        (("simulate", "--cause", "earthquake"), "earthquake"),
        (("check-config", broken), "$.budget.pages_per_week"),
        (("demo", "--report", tmp_path / "no" / "r.html", "--seed", "-1"), "seed"),
        (("nonsense",), "nonsense"),
    ):
        result = run(*command)
        assert result.exit_code == 2, (command, result.output)
        assert words in result.output.replace("\n", ""), (command, result.output)


def test_markup_in_records_reaches_the_terminal_as_text(few: list[bytes], tmp_path: Path) -> None:
    nasty = "[bold red]\x1b[31m<script>alert(1)</script>[/nonsense]"
    lines = []
    for k in range(700):
        call = json.loads(few[0]) | {"id": f"n{k}", "route": nasty, "time": 1_767_571_200_000 + k * 60_000}
        call |= {"labels": {nasty: nasty}, "model_served": nasty if k >= 400 else "m", "error_type": None}
        call |= {"latency_ms": (100.0 if k < 400 else 900.0) + 7 * (k * 37 % 11), "finish_reason": nasty}
        lines.append(json.dumps(call))
    path = tmp_path / "nasty.jsonl"
    path.write_text("\n".join(lines))
    result = run("replay", path, "--report", tmp_path / "r.html")
    assert result.exit_code == 1
    assert "\x1b[31m" not in result.output
    assert "<script>alert(1)" not in (tmp_path / "r.html").read_text()


def test_controls_come_from_a_file_of_their_own(calls: Path, tmp_path: Path) -> None:
    paged = next(i for i in json.loads(run("replay", calls, "--json").stdout)["incidents"] if i["paged_at"])
    _, app, env, route = paged["last"]["scope"].split("/")
    time = paged["peak"]["change"]["earliest"] - 1000
    until = time + 400 * 86_400_000
    controls = tmp_path / "controls.jsonl"
    scope = {"app": app, "env": env, "route": route}
    controls.write_text(json.dumps({"schema": "mute/1", "time": time, "until": until, "by": "ana"} | scope) + "\n")
    again = json.loads(run("replay", calls, "--controls", controls, "--json").stdout)["incidents"]
    same = [i for i in again if i["last"]["scope"] == paged["last"]["scope"] and i["peak"]["time"] > time]
    assert same
    assert all(i["paged_at"] is None for i in same)


def test_simulate_writes_the_same_bytes_for_the_same_options_and_its_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    options = ("simulate", "--days", "1", "--calls-a-day", "1000", "--cause", "slowdown")
    one, two = run(*options, "--truth", truth), run(*options)
    assert one.exit_code == 0
    assert one.stdout == two.stdout != run(*options, "--seed", "1").stdout
    assert all(decode(line) for line in one.stdout_bytes.splitlines())
    assert [cause["cause"] for cause in json.loads(truth.read_text())] == ["slowdown"]


def test_compare_tells_a_slower_version_from_the_same_one(tmp_path: Path) -> None:
    base, slow = tmp_path / "base.jsonl", tmp_path / "slow.jsonl"
    quiet = run("simulate", "--days", "2", "--calls-a-day", "1500", "--cause", "none", "--no-text").stdout
    base.write_text(quiet)
    calls = [json.loads(line) for line in quiet.splitlines()]
    slow.write_text(
        "\n".join(json.dumps(c | {"latency_ms": 1.6 * c["latency_ms"]}) for c in calls if "latency_ms" in c)
    )
    assert run("compare", base, base).exit_code == 0
    result = run("compare", base, slow, "--json")
    assert result.exit_code == 1
    found = {signal["name"]: signal["verdict"] for signal in json.loads(result.stdout)["signals"]}
    assert found["latency_ms"] == "worse"
    assert "latency_ms" in run("compare", base, slow).output


def test_check_config_prints_the_resolved_configuration(tmp_path: Path) -> None:
    path = tmp_path / "leeboard.toml"
    path.write_text("[budget]\npages_per_week = 3\n")
    assert "pages_per_week = 3.0" in run("check-config", path).output
    assert json.loads(run("check-config", "--config", path, "--json").stdout)["budget"]["pages_per_week"] == 3.0
    assert run("check-config").exit_code == 0


def test_the_demo_finds_what_it_injected(tmp_path: Path) -> None:
    result = run("demo", "--report", tmp_path / "demo.html")
    assert result.exit_code == 0, result.output
    assert "MISSED" not in result.output
    assert "rightly silent" in result.output.replace("\n", " ")
    assert (tmp_path / "demo.html").stat().st_size > 100_000


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = f"{sys.executable} -m leeboard.pipelines.cli simulate --days 3 | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.startswith('{"schema":"model_call/1"')
