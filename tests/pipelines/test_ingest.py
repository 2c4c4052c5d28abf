"""Whatever the bytes, the outcome is records and rejects with their places."""

import gzip
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from leeboard.pipelines.ingest import UnreadableFile, read_records, records_in, total_bytes
from leeboard.pipelines.ingest.files import CHUNK_BYTES
from leeboard.schemas import Deploy, ModelCall, Refused, Reject, Score, encode
from leeboard.schemas.wire import MAX_RECORD_BYTES

NOON_MS = 1_748_779_200_000


def line_of(number, **fields):
    call = ModelCall(**({"id": f"call-{number}", "time": NOON_MS, "app": "shop"} | fields))
    return encode(call) + b"\n"


LINES = [line_of(number, output_text="word " * number) for number in range(200)]
ALL_IDS = [f"call-{number}" for number in range(200)]


@pytest.fixture
def write(tmp_path):
    def write_file(data, name="calls.jsonl"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_file


def read(*paths, **options):
    return list(read_records(paths, arrival_ms=None, **options))


def ids(records):
    return [record.id for record in records if isinstance(record, ModelCall)]


def rejects(records):
    return [record for record in records if isinstance(record, Reject)]


class Drip(io.BytesIO):
    """A pipe that gives one byte at a time."""

    def read1(self, size=-1):
        return super().read1(1)


def set_standard_input(monkeypatch, buffer):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))


# one record


def record_of(data, *, arrival_ms=None):
    [record] = records_in(data, arrival_ms=arrival_ms)
    return record


def test_a_line_is_decoded_to_its_record():
    record = record_of(LINES[3], arrival_ms=NOON_MS)
    assert isinstance(record, ModelCall)
    assert record.id == "call-3"


def test_a_line_that_is_no_record_gives_a_reject_with_place_reason_hash_and_size(write):
    data = b'{"schema":"model_call/1","id":"a","time":1}'
    path = write(b"\n" * 6 + data)
    [record] = read(path)
    assert isinstance(record, Reject)
    assert (record.position, record.reason, record.size) == (f"{path.name}:7", "missing_field", len(data))
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert record.payload is None


def test_a_call_from_the_future_is_refused_by_its_arrival():
    future = line_of(1, time=NOON_MS + 2 * 86_400_000)
    assert record_of(future, arrival_ms=NOON_MS).reason == "time_ahead"
    assert isinstance(record_of(future), ModelCall)


@pytest.mark.parametrize(
    "control",
    [
        {"schema": "deploy/1", "what": "prompt"},
        {"schema": "accept/1"},
        {"schema": "confirm/1", "dedup_key": "k"},
        {"schema": "mute/1", "until": NOON_MS},
    ],
)
def test_controls_that_act_are_taken_only_from_those_who_may(control, write):
    path = write(json.dumps(control | {"time": NOON_MS, "app": "shop"}).encode())
    [refused] = read_records([path], arrival_ms=None)
    assert isinstance(refused, Reject)
    assert refused.reason == "not_allowed"
    [taken] = read_records([path], arrival_ms=None, allow_controls=True)
    assert not isinstance(taken, Reject)
    assert taken.app == "shop"


def test_a_score_is_taken_from_telemetry():
    score = Score(time=NOON_MS, app="shop", call_id="call-1", name="good", value=1.0, evaluator="judge")
    assert record_of(encode(score)) == score


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff\xfe", "not_utf8"),
        (line_of(1).decode().encode("utf-16"), "not_utf8"),
        (b'{"schema":"model_call/1","app":"\\ud800","id":' + b"1" * 5000 + b"}", "not_finite"),
        (b"[" * 1000, "too_deep"),
        (b" " * (MAX_RECORD_BYTES + 1), "too_large"),
    ],
)
def test_odd_bytes_have_their_reason(data, reason):
    refused = record_of(data)
    assert isinstance(refused, Refused)
    assert refused.reason == reason


# many records in one


def test_lines_in_one_record_are_records_each_with_its_own_outcome():
    first, bad, last = records_in(LINES[0] + b"\n" + LINES[1][:-9] + b"\r\n" + LINES[2] + b"\n")
    assert (first.id, bad.reason, last.id) == ("call-0", "not_json", "call-2")


@pytest.mark.parametrize("indent", [1, 4, "\t"])
def test_one_record_over_several_lines_is_one(indent):
    assert record_of(json.dumps(json.loads(LINES[0]), indent=indent).encode()).id == "call-0"


def test_a_record_over_several_lines_that_is_cut_off_is_one_reject():
    pretty = json.dumps(json.loads(LINES[0]), indent=1).encode()
    assert record_of(pretty[:-4]).reason == "not_json"


# files


def test_records_come_in_the_order_of_the_files_and_their_lines(write):
    first = write(b"".join(LINES[:3]), "a.jsonl")
    second = write(b"".join(LINES[3:5]), "b.jsonl")
    assert ids(read(first, second)) == ALL_IDS[:5]


def test_gzip_is_told_by_content_and_not_by_name(write):
    zipped = write(gzip.compress(b"".join(LINES)), "a.jsonl")
    plain = write(b"".join(LINES), "b.jsonl.gz")
    assert ids(read(zipped)) == ids(read(plain)) == ALL_IDS


def test_several_gzip_members_padded_with_zeros_are_one_file(write):
    data = gzip.compress(b"".join(LINES[:50])) + b"\0" * 700 + gzip.compress(b"") + gzip.compress(b"".join(LINES[50:]))
    records = read(write(data + b"\0" * 100))
    assert ids(records) == ALL_IDS
    assert not rejects(records)


def test_standard_input_is_read_plain_or_compressed(monkeypatch):
    for data in (b"".join(LINES), gzip.compress(b"".join(LINES))):
        set_standard_input(monkeypatch, io.BytesIO(data))
        assert ids(read("-")) == ALL_IDS


def test_a_pipe_may_give_one_byte_at_a_time(monkeypatch):
    for data in (b"".join(LINES[:20]), gzip.compress(b"".join(LINES[:20]))):
        set_standard_input(monkeypatch, Drip(data))
        assert ids(read("-")) == ALL_IDS[:20]


def test_positions_are_file_name_and_line_number(write, monkeypatch):
    path = write(LINES[0] + b"\n" + b"junk\n" + b"{}", "calls.jsonl")
    assert [reject.position for reject in rejects(read(path))] == ["calls.jsonl:3", "calls.jsonl:4"]
    set_standard_input(monkeypatch, io.BytesIO(b"junk"))
    assert read("-")[0].position == "-:1"


def test_line_ends_of_windows_byte_order_marks_and_blank_lines_are_passed_over(write):
    data = b"\xef\xbb\xbf" + LINES[0].replace(b"\n", b"\r\n") + b"\r\n  \t\r\n\n" + LINES[1].rstrip()
    records = read(write(data))
    assert ids(records) == ALL_IDS[:2]
    assert not rejects(records)
    assert ids(read(write(gzip.compress(data)))) == ALL_IDS[:2]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file_gives_nothing(write, data):
    assert read(write(data)) == []


def test_half_a_last_line_is_one_reject(write):
    records = read(write(b"".join(LINES[:3]) + LINES[3][:40]))
    assert ids(records) == ALL_IDS[:3]
    (reject,) = rejects(records)
    assert (reject.reason, reject.position, reject.size) == ("not_json", "calls.jsonl:4", 40)


def test_a_last_line_without_newline_counts(write):
    assert ids(read(write(LINES[0].rstrip()))) == ALL_IDS[:1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_encoding_gives_rejects_only(write, encoding):
    records = read(write(b"".join(LINES[:5]).decode().encode(encoding)))
    assert len(records) >= 5
    assert {reject.reason for reject in rejects(records)} <= {"not_utf8", "not_json"}
    assert len(rejects(records)) == len(records)


def test_a_binary_file_gives_rejects_only(write):
    records = read(write(bytes(range(256)) * 1000))
    assert records
    assert len(rejects(records)) == len(records)


def test_controls_in_a_file_need_permission(write):
    path = write(encode(Deploy(time=NOON_MS, app="shop", what="model")) + b"\n")
    assert [record.reason for record in read(path)] == ["not_allowed"]
    assert isinstance(read(path, allow_controls=True)[0], Deploy)


# paths and progress


def test_a_path_that_cannot_be_read_is_named_before_anything_is_processed(write, tmp_path, monkeypatch):
    good = write(LINES[0])
    forbidden = write(LINES[0], "forbidden.jsonl")
    opened = Path.open

    def refuse(self, *arguments, **options):
        if self == forbidden:
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    for path, why in [
        (tmp_path / "missing.jsonl", "no such file"),
        (tmp_path, "is a directory"),
        (good / "below", "not a directory"),
        (forbidden, "permission denied"),
        (str(tmp_path / "nul\0byte"), "null byte"),
    ]:
        for ask in (lambda paths: read_records(paths, arrival_ms=None), total_bytes):
            with pytest.raises(UnreadableFile, match=why) as error:
                ask([good, path])
            assert Path(path).name.partition("\0")[0] in str(error.value)


def test_a_file_that_goes_away_later_is_named(write):
    path = write(LINES[0])
    records = read_records([path], arrival_ms=None)
    path.unlink()
    with pytest.raises(UnreadableFile, match=r"calls\.jsonl: no such file"):
        next(records)


def test_a_failing_read_is_named(monkeypatch):
    class Failing(io.BytesIO):
        def read1(self, size=-1):
            raise OSError(5, "Input/output error")

    set_standard_input(monkeypatch, Failing())
    with pytest.raises(UnreadableFile, match="-: input/output error"):
        read("-")


def test_closed_standard_input_is_named(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UnreadableFile, match="standard input"):
        read_records(["-"], arrival_ms=None)


def test_progress_adds_up_to_the_bytes_on_disk(write):
    paths = [write(b"".join(LINES) * 10, "a.jsonl"), write(gzip.compress(b"".join(LINES) * 10), "b.gz")]
    steps = []
    read(*paths, progress=steps.append)
    assert sum(steps) == total_bytes(paths) == sum(path.stat().st_size for path in paths)
    assert 0 < max(steps) <= CHUNK_BYTES


def test_the_total_is_unknown_with_standard_input_or_a_pipe(write, tmp_path):
    path = write(LINES[0])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert total_bytes([path]) == len(LINES[0])
    assert total_bytes([path, "-"]) is None
    assert total_bytes([path, pipe]) is None
    assert total_bytes([]) == 0


# any bytes

json_like = st.lists(
    st.sampled_from(
        [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\ud800", b"\\u", b"\n", b"\r", b"\0", b"1e999", b"-1"]
    )
    | st.sampled_from([b'"schema"', b'"model_call/1"', b'"score/1"', b'"id":"a"', b'"time":1', b'"app":"x"', b"NaN"])
    | st.binary(max_size=4),
    max_size=40,
).map(b"".join)
any_bytes = (
    st.binary(max_size=300)
    | json_like
    | st.builds(lambda data, cut: gzip.compress(data)[cut:], json_like, st.integers(0, 3))
)


@settings(max_examples=500)
@given(any_bytes)
@example(b'{"schema":"model_call/1","id":"\\ud800","time":1,"app":"x","params":{"a":' + b"9" * 5000 + b"}}")
def test_no_bytes_crash_the_decoder(data):
    found = records_in(data, arrival_ms=NOON_MS)
    assert found
    assert all(refused.detail for refused in found if isinstance(refused, Refused))


@settings(max_examples=500)
@given(any_bytes, st.integers(0, 400), st.integers(0, 255))
def test_no_bytes_crash_the_reader(tmp_path_factory, data, at, value):
    damaged = bytearray(data)
    if at < len(damaged):
        damaged[at] = value
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(damaged)
    numbers = [int(record.position.partition(":")[2]) for record in rejects(read(path))]
    assert numbers == sorted(set(numbers))
