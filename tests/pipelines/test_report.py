"""The HTML report: what it says, that nothing in records becomes markup, and that a browser draws it."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay, ReplayResult
from leeboard.pipelines.report import Recorder, recorder, write_report
from leeboard.pipelines.report.page import MAX_CARDS
from leeboard.pipelines.report.series import series_of, share_with_interval
from leeboard.pipelines.watch.settings import WatchSettings
from leeboard.schemas import ModelCall, Reject

START_MS = 1_767_571_200_000
MINUTE_MS = 60_000
HOSTILE = "<img src=x onerror=document.documentElement.dataset.pwned=1></script><script>document.title='pwned'</script>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def calls(
    n: int, *, app: str = "shop", after: int = 600, latency: float = 1.8, seed: int = 0, **changed: object
) -> list[ModelCall]:
    """Calls of one scope; the latency, and the fields in `changed`, move after call number `after`."""
    rng = np.random.default_rng([seed, *app.encode()[:8]])
    made = []
    for k in range(n):
        tokens = int(np.exp(5.3 + 0.4 * rng.standard_normal()))
        factor = latency if k >= after else 1.0
        fields: dict[str, object] = {
            "id": f"{app[:40]}-{k}",
            "time": START_MS + k * MINUTE_MS,
            "app": app,
            "provider": "acme",
            "model_served": "m-1",
            "input_tokens": 200,
            "output_tokens": tokens,
            "latency_ms": factor * (300 + 9 * tokens) * float(np.exp(0.15 * rng.standard_normal())),
            "finish_reason": "stop" if rng.random() > 0.03 else "length",
        }
        made.append(ModelCall(**{**fields, **(changed if k >= after else {})}))  # type: ignore[arg-type]
    return made


def replay(records: list[ModelCall | Reject], config: Config | None = None) -> tuple[ReplayResult, str]:
    config = config or Config()
    kept = Recorder()
    runner = Replay(config, observer=kept.observe)
    runner.feed(records)
    result = runner.finish()
    return result, write_report(result, kept, config)


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.figures: list[dict[str, object]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = "json" if dict(attrs).get("type") == "application/json" else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "json":
            self.figures.append(json.loads(data))
        elif self._inside not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def slow() -> tuple[ReplayResult, str]:
    """Two scopes, one of which gets slower."""
    return replay([*calls(900), *calls(700, app="quiet", latency=1.0)])


@pytest.fixture(scope="module")
def hostile() -> str:
    """The report of calls with markup in every field that it shows, and of a refused record."""
    moved = {name: f"{HOSTILE}{name}" for name in ("model_served", "finish_reason", "prompt_version", "trace_id")}
    records = calls(900, app=HOSTILE, route=HOSTILE, labels={HOSTILE: HOSTILE}, scores={HOSTILE: 2.0}, **moved)
    refused = Reject(reason="not_json", detail=HOSTILE, position=f"{HOSTILE}:1", sha256="0" * 64, size=3)
    named = replay([*calls(600, app=HOSTILE, latency=1.0, route=HOSTILE, after=0), *records[600:], refused])
    assert named[0].incidents(), "nothing hostile would be shown"
    return named[1]


def test_an_incident_is_told_with_its_sentence_numbers_and_calls(slow: tuple[ReplayResult, str]) -> None:
    result, text = slow
    [incident] = result.incidents()
    page = Page(text)
    shown = re.sub(r"\s+", " ", page.text)
    assert "1 incident, 1 would have paged" in shown
    assert incident.last.verdict.sentence in shown
    assert "calls 1,600" in re.sub(r"calls(?=1)", "calls ", shown)
    for signal in {s.name for s in incident.last.signals}:
        assert signal in shown
    for example in incident.last.examples:
        assert example.call_id in shown
    assert "The budget held" in shown and "No record was refused" in shown
    assert "shop / default / default" in shown and "quiet / default / default" in shown


def test_every_chart_has_its_data_and_its_description(slow: tuple[ReplayResult, str]) -> None:
    page = Page(slow[1])
    boxes = [attributes for tag, attributes in page.elements if "data-figure" in attributes]
    assert len(boxes) == len(page.figures) >= 4
    assert all(box["role"] == "img" and box["aria-label"] for box in boxes)
    assert all(figure["data"] for figure in page.figures)


def test_the_chart_over_time_marks_the_change(slow: tuple[ReplayResult, str]) -> None:
    [incident] = slow[0].incidents()
    marked = [
        shape["x0"]
        for figure in Page(slow[1]).figures
        for shape in figure["layout"].get("shapes", [])  # type: ignore[attr-defined]
        if shape.get("line", {}).get("dash") == "solid"
    ]
    assert marked.count(incident.last.change.estimate) >= 1
    assert abs(incident.last.change.estimate - (START_MS + 600 * MINUTE_MS)) <= 5 * MINUTE_MS


def test_what_moved_in_texts_is_named_and_no_word_of_them_is_shown() -> None:
    rng = np.random.default_rng(3)
    words = ["harbour", "tide", "vessel", "quay", "cargo", "crane", "berth", "pilot", "mooring", "anchor"]
    records = []
    for k, call in enumerate(calls(1000, latency=1.0)):
        said = [" ".join(rng.choice(words, 6)) for _ in range(4)]
        answer = "\n".join(f"- {line}" for line in said) if k >= 800 else ". ".join(said) + "."
        asked = f"where is the {rng.choice(words)}, and the {rng.choice(words)}?"
        records.append(msgspec.structs.replace(call, input_text=asked, output_text=answer))
    result, text = replay(records)
    incident = next(one for one in result.incidents() if one.last.texts)
    shown = re.sub(r"\s+", " ", Page(text).text)
    assert "What moved in the outputs" in shown
    for move in incident.last.texts[0].moves:
        assert move.name in shown
    assert {"list_items", "- item"} <= {move.name for move in incident.last.texts[0].moves}
    assert "in 0% of the texts → 100%" in shown
    for name in ("output_features", "output_style", "output_given_input"):
        assert name in shown
    assert not set(words) & set(re.findall(r"\w+", shown))


def test_the_same_result_gives_the_same_bytes(slow: tuple[ReplayResult, str]) -> None:
    assert replay([*calls(900), *calls(700, app="quiet", latency=1.0)])[1] == slow[1]


def test_nothing_is_fetched_from_elsewhere(slow: tuple[ReplayResult, str]) -> None:
    page = Page(slow[1])
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert not [
        a for tag, a in page.elements if tag in ("script", "link", "img", "iframe") and ("src" in a or "href" in a)
    ]


def test_markup_in_records_stays_text(hostile: str) -> None:
    page = Page(hostile)
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object")]
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert len(scripts) == len(page.figures) + 2, "plotly, our own, and the data of each chart"
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert HOSTILE[:60] in page.text, "it is shown, as text"
    for figure in page.figures:
        drawn = json.dumps(figure)
        assert "<img" not in drawn and "</script" not in drawn


def test_control_characters_are_made_visible() -> None:
    records = calls(600, app="a\u202eb\x07c", latency=1.0)
    page = Page(replay(records)[1])
    assert "\u202e" not in page.text and "\x07" not in page.text
    assert "a\ufffdb\ufffdc" in page.text


def test_a_result_without_calls_says_so() -> None:
    text = replay([Reject(reason="not_json", detail="no", position="x.jsonl:1", sha256="0" * 64, size=2)])[1]
    shown = Page(text).text
    assert "No call could be read" in shown and "not_json" in shown and "x.jsonl:1" in shown


def test_a_quiet_result_says_what_would_have_been_seen() -> None:
    shown = re.sub(r"\s+", " ", Page(replay(calls(900, latency=1.0))[1]).text)
    assert "Nothing moved" in shown
    assert "What each scope can see" in shown and "output_tokens" in shown


def test_many_incidents_are_listed_beyond_those_with_charts() -> None:
    records = [
        call for k in range(MAX_CARDS + 3) for call in calls(330, app=f"app-{k}", after=300, latency=6.0, seed=k)
    ]
    result, text = replay(records, Config(watch=WatchSettings(ring_calls=250)))
    assert len(result.incidents()) > MAX_CARDS
    page = Page(text)
    assert sum(tag == "article" for tag, _ in page.elements) == MAX_CARDS
    assert "Further incidents" in page.text
    anchors = {a["id"] for _, a in page.elements if (a.get("id") or "").startswith("incident-")}
    assert len(anchors) == len(result.incidents())


def test_beyond_its_limit_the_recorder_keeps_every_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_CALLS", 1000)
    _, text = replay([*calls(1500), *calls(300, app="small", latency=1.0)])
    assert re.search(r"one in [24] of shop / default / default\.", Page(text).text)


def test_calls_of_scopes_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_SCOPES", 1)
    _, text = replay([*calls(50), *calls(40, app="late")])
    assert "40 calls of later scopes were not kept" in re.sub(r"\s+", " ", Page(text).text)


def test_latency_given_tokens_is_drawn_against_what_it_was(slow: tuple[ReplayResult, str]) -> None:
    kept = Recorder()
    runner = Replay(Config(), observer=kept.observe)
    runner.feed(calls(900))
    before = (START_MS, START_MS + 599 * MINUTE_MS)
    series = series_of(kept.tracks["/shop/default/default"], "latency_given_tokens", before)
    assert series is not None and series.unit == "ratio"
    assert np.median(series.values[:600]) == pytest.approx(1.0)
    assert np.median(series.values[600:]) == pytest.approx(1.8, rel=0.05)


def test_the_interval_of_a_share_holds_it() -> None:
    for hits, n in ((0, 0), (0, 10), (10, 10), (3, 10)):
        share, low, high = share_with_interval(hits, n)
        assert 0.0 <= low <= share <= high <= 1.0 and (n == 0 or low < high)


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on PATH ({', '.join(BROWSERS)}); on Debian: apt-get install chromium")
    return found


def rendered(browser: str, text: str, folder: Path, width: int = 1280) -> tuple[str, str]:
    """The document after a headless browser has run its scripts, and what it logged."""
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'profile'}"]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=20000", f"--window-size={width},2000", "--dump-dom"]
    done = subprocess.run(
        [browser, *flags, path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "LANG": "C.UTF-8"},
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_draws_every_chart(browser: str, slow: tuple[ReplayResult, str], tmp_path: Path, width: int) -> None:
    document, log = rendered(browser, slow[1], tmp_path, width)
    expected = len(Page(slow[1]).figures)
    assert document.count('class="main-svg"') >= expected
    drawn = re.findall(r'class="chart[^"]*js-plotly-plot', document)
    assert len(drawn) == expected
    assert "CONSOLE" not in log, [line for line in log.splitlines() if "CONSOLE" in line]


def test_a_browser_runs_nothing_that_a_record_says(browser: str, hostile: str, tmp_path: Path) -> None:
    document, log = rendered(browser, hostile, tmp_path)
    assert "js-plotly-plot" in document
    assert 'data-pwned="1"' not in document and "<title>pwned" not in document
    assert "<img src=" not in document
    assert "Refused" not in log, "no script had to be stopped by the policy either"
