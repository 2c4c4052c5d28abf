"""Hashes recognise the same thing, and tell nothing else of it."""

import hashlib

from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.schemas import ModelCall, encode_observation


def measure(measurer=None, **fields):
    call = ModelCall(**({"id": "call-1", "time": 1_748_779_200_123, "app": "shop"} | fields))
    return (measurer or Measurer(MeasureSettings())).measure(call)


def test_the_id_hash_is_the_first_64_bits_of_blake2b():
    expected = hashlib.blake2b("call-ü".encode()).hexdigest()[:16]
    assert f"{measure(id='call-ü').id_hash:016x}" == expected


def test_prompt_hashes_are_there_only_with_their_fields():
    assert not {"system_hash", "tools_hash", "params_hash"} & measure().categories.keys()
    categories = measure(system_text="Be kind.", tools=["a"], params={"temperature": 0.5}).categories
    assert categories["system_hash"] == hashlib.blake2b(b"Be kind.").hexdigest()[:12]
    assert categories["tools_hash"] == hashlib.blake2b(b'["a"]').hexdigest()[:12]
    assert categories["params_hash"] == hashlib.blake2b(b'{"temperature":0.5}').hexdigest()[:12]


def test_prompt_hashes_do_not_depend_on_how_the_same_thing_was_written():
    one = measure(system_text="Caf\u00e9", tools=["a", "b"], params={"x": 1, "y": {"b": [1.0], "a": "\u00e9"}})
    two = measure(system_text="Cafe\u0301", tools=["b", "a"], params={"y": {"a": "e\u0301", "b": [1]}, "x": 1.0})
    assert one.categories == two.categories


def test_the_input_hash_is_that_of_the_input_text_alone():
    same = {"system_text": "Be kind.", "tools": ["a"], "params": {"temperature": 0.5}, "input_text": "Hello"}
    other = {"system_text": "Be kind!", "tools": ["a", "b"], "params": {"temperature": 0.6}, "latency_ms": 3.0}
    assert measure(**same).input_hash == measure(**(same | other), id="another").input_hash
    assert measure(**same).input_hash != measure(**(same | {"input_text": "Hello "})).input_hash


def test_there_is_no_input_hash_without_input_text():
    assert measure(system_text="Be kind.").input_hash is None


def test_keyed_hashes_depend_on_the_key_and_on_their_purpose():
    fields = {"session": "x", "user": "x", "input_text": "x"}
    hashes = set()
    for key in ("", "one", "two", "long" * 100):
        observation = measure(Measurer(MeasureSettings(key=key)), **fields)
        again = measure(Measurer(MeasureSettings(key=key)), **fields)
        assert (observation.session, observation.user, observation.input_hash) == (
            again.session,
            again.user,
            again.input_hash,
        )
        hashes |= {observation.session, observation.user, observation.input_hash}
    assert len(hashes) == 12
    assert all(len(bytes.fromhex(digest)) == 16 for digest in hashes)


def test_no_text_of_the_call_leaves_the_measurer():
    texts = {name: f"forbidden-{name}" for name in ("system_text", "input_text", "output_text", "session", "user")}
    observation = measure(**texts, params={"stop": "forbidden-params"}, tools=["forbidden-tools"])
    assert b"forbidden" not in encode_observation(observation)
