"""Files that are too large, cut off or corrupt: bounded memory, and every whole line counts."""

import gzip
import hashlib
import tracemalloc
import zlib

import pytest
from leeboard.pipelines.ingest import read_records
from leeboard.pipelines.ingest.files import CHUNK_BYTES
from leeboard.pipelines.ingest.gzipped import PIECE_BYTES, GzipError, inflate
from leeboard.schemas import ModelCall, Reject, encode
from leeboard.schemas.wire import MAX_RECORD_BYTES


def line_of(number, output_text):
    return encode(ModelCall(id=f"call-{number}", time=1_748_779_200_000, app="shop", output_text=output_text)) + b"\n"


LINES = [line_of(number, "word " * number) for number in range(200)]
ALL_IDS = [f"call-{number}" for number in range(200)]


@pytest.fixture
def write(tmp_path):
    def write_file(data, name="calls.jsonl"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_file


def read(*paths):
    return list(read_records(paths, arrival_ms=None))


def ids(records):
    return [record.id for record in records if isinstance(record, ModelCall)]


def rejects(records):
    return [record for record in records if isinstance(record, Reject)]


# large lines


def huge_line(path, size):
    with path.open("wb") as file:
        file.write(LINES[0])
        for _ in range(size // 1_000_000):
            file.write(b"a" * 1_000_000)
        file.write(b"\n" + LINES[1])


def peak_bytes(work):
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_line_of_50_mb_is_one_reject_with_its_true_size_and_hash_in_bounded_memory(tmp_path):
    path = tmp_path / "huge.jsonl"
    huge_line(path, 50_000_000)
    records, peak = peak_bytes(lambda: read(path))
    assert ids(records) == ALL_IDS[:2]
    (reject,) = rejects(records)
    assert (reject.reason, reject.position, reject.size) == ("too_large", "huge.jsonl:2", 50_000_000)
    digest = hashlib.sha256()
    for _ in range(50):
        digest.update(b"a" * 1_000_000)
    assert reject.sha256 == digest.hexdigest()
    # the line as far as it may be held (the buffer grows in steps of an eighth), chunks, records
    assert peak < MAX_RECORD_BYTES * 9 / 8 + 16 * CHUNK_BYTES


def test_a_decompression_bomb_stays_in_bounded_memory(write):
    squeezer = zlib.compressobj(wbits=31)
    bomb = b"".join([*(squeezer.compress(b" " * 1_000_000) for _ in range(200)), squeezer.flush()])
    path = write(bomb)
    records, peak = peak_bytes(lambda: read(path))
    assert [(record.reason, record.size) for record in records] == [("too_large", 200_000_000)]
    assert peak < MAX_RECORD_BYTES * 9 / 8 + 16 * PIECE_BYTES


def test_the_largest_record_that_is_allowed_is_taken(write):
    empty = len(line_of(1, output_text="x")) - 2
    path = write(line_of(1, output_text="x" * (MAX_RECORD_BYTES - empty)) + LINES[2])
    assert ids(read(path)) == ["call-1", "call-2"]
    path = write(line_of(1, output_text="x" * (MAX_RECORD_BYTES - empty + 1)) + LINES[2])
    records = read(path)
    assert ids(records) == ["call-2"]
    assert rejects(records)[0].size == MAX_RECORD_BYTES + 1


# damage


def flushed(lines):
    """Gzip data of which every line is written out by itself, and where each ends."""
    squeezer = zlib.compressobj(wbits=31)
    data = b""
    ends = []
    for line in lines:
        data += squeezer.compress(line) + squeezer.flush(zlib.Z_FULL_FLUSH)
        ends.append(len(data))
    return data, ends, squeezer.flush()


def test_a_gzip_file_cut_anywhere_gives_its_whole_lines_and_one_reject(write):
    data, ends, tail = flushed(LINES[:5])
    whole = data + tail
    for cut in range(2, len(whole)):
        records = read(write(whole[:cut]))
        assert isinstance(records[-1], Reject), cut
        assert (records[-1].reason, records[-1].detail) == ("damaged", "the gzip data end early")
        # the newline is there a few bytes before the flush ends
        complete = sum(end <= cut for end in ends)
        assert ids(records) in (ALL_IDS[:complete], ALL_IDS[: complete + 1])
        assert len(rejects(records)) == 1
        assert records[-1].position == f"calls.jsonl:{len(records)}"


@pytest.mark.parametrize("whole_lines", [1, 7, 200])
def test_every_whole_line_before_corrupt_gzip_data_counts(write, whole_lines):
    data, ends, _ = flushed(LINES)
    records = read(write(data[: ends[whole_lines - 1]] + b"\xff" * 1000))
    assert ids(records) == ALL_IDS[:whole_lines]
    (reject,) = rejects(records)
    assert records[-1] is reject
    assert (reject.detail, reject.size) == ("the gzip data are corrupt", 0)


def readable(data):
    """What zlib gives of `data` when asked for one byte at a time; the byte just before the damage may be missing."""
    output = b""
    inflater = zlib.decompressobj(31)
    try:
        while piece := inflater.decompress(data, 1):
            output += piece
            data = inflater.unconsumed_tail
    except zlib.error:
        pass
    return output


def taken(data):
    """What `inflate` yields before it raises, if it does."""
    output = b""
    try:
        for piece in inflate([data]):
            assert len(piece) <= PIECE_BYTES
            output += piece
    except GzipError:
        pass
    return output


@pytest.mark.parametrize("damage", ["one bit", "all bits from there"])
def test_whichever_bit_is_wrong_everything_before_the_damage_is_read(damage):
    # codes of one bit, so that a byte of input stands for several of output, and may hold the damage as well
    squeezer = zlib.compressobj(wbits=31, strategy=zlib.Z_HUFFMAN_ONLY)
    data = squeezer.compress(b"a\nb\n" * 20 + b"\n" * 500) + squeezer.flush(zlib.Z_FULL_FLUSH)
    number = int.from_bytes(data, "little")
    everything = (1 << 8 * len(data)) - 1
    for bit in range(8 * len(data)):
        wrong = number ^ 1 << bit if damage == "one bit" else number | everything >> bit << bit
        wrong = wrong.to_bytes(len(data), "little")
        expected = readable(wrong)
        assert taken(wrong)[: len(expected)] == expected, bit


def test_wherever_a_long_repetition_is_cut_all_of_it_is_read():
    data = gzip.compress(b"\n" * (5 * PIECE_BYTES + 77) + b"ab" * PIECE_BYTES, mtime=0)
    for cut in range(20, len(data)):
        assert taken(data[:cut]) == zlib.decompressobj(31).decompress(data[:cut]), cut


def test_every_line_counts_where_only_the_checksum_is_wrong(write):
    data = bytearray(gzip.compress(b"".join(LINES) * 20))
    data[-8] ^= 1
    records = read(write(bytes(data)))
    assert ids(records) == ALL_IDS * 20
    assert [reject.detail for reject in rejects(records)] == ["the gzip data are corrupt"]


def test_junk_behind_gzip_data_is_one_reject(write):
    records = read(write(gzip.compress(b"".join(LINES)) + b"junk"))
    assert ids(records) == ALL_IDS
    assert len(rejects(records)) == 1


def test_a_half_line_before_the_damage_is_part_of_its_reject(write):
    squeezer = zlib.compressobj(wbits=31)
    data = squeezer.compress(LINES[0] + LINES[1][:30]) + squeezer.flush(zlib.Z_FULL_FLUSH)
    records = read(write(data))
    assert ids(records) == ALL_IDS[:1]
    (reject,) = rejects(records)
    assert (reject.position, reject.size) == ("calls.jsonl:2", 30)
    assert reject.sha256 == hashlib.sha256(LINES[1][:30]).hexdigest()


def test_files_behind_a_damaged_one_are_read(write):
    damaged = write(gzip.compress(LINES[0])[:-4], "a.gz")
    assert ids(read(damaged, write(LINES[1], "b.jsonl"))) == ALL_IDS[:2]
