"""The texts of a scope as parts of bytes, and back: counts (`texts`), those of the warm-up, rings (`store.*`)."""

import zlib
from collections.abc import Mapping

from leeboard.detectors.core.arenas import record_bytes, record_of
from leeboard.detectors.vector.store import FIT_EVENTS
from leeboard.pipelines.watch.state.scope import TextsSeen
from leeboard.pipelines.watch.texts.bank import TextBank
from leeboard.pipelines.watch.texts.rows import chunks_needed
from leeboard.pipelines.watch.texts.store_parts import put_store, stored_parts, warm_up_written

_STORE = "store."


def text_parts(bank: TextBank, slot: int, after_call: int, level: int) -> dict[str, bytes]:
    """What of a scope's texts changed after call number `after_call` (0: all), compressed; its detectors apart."""
    if bank.table[slot, 0] < 0:
        return {}
    text = bank.text(slot)
    after = after_call if int(text["restarted"]) <= after_call else 0
    parts = {"texts": record_bytes(bank.texts.array, int(bank.table[slot, 0]))}
    for k, i in _warm_up(bank, slot):
        if warm_up_written(bank.warm_up.array[i]) > after:
            parts[f"warm_up.{k}"] = record_bytes(bank.warm_up.array, i)
    if bank.table[slot, 1] >= 0:
        parts |= {_STORE + name: part for name, part in stored_parts(bank.store(slot), after).items()}
    return {name: zlib.compress(part, level) for name, part in parts.items()}


def put_texts(bank: TextBank, slot: int, seen: TextsSeen, parts: Mapping[str, bytes]) -> None:
    """Take the texts of a scope back. Raises KeyError, ValueError or zlib.error where a part is missing or damaged.

    What the scope does not have (yet) is not looked at: it may be left of an earlier one of that name.
    """
    text = record_of(zlib.decompress(parts["texts"]), bank.texts.array.dtype)
    bank.begin(slot, vectors=False)
    bank.texts.array[bank.table[slot, 0]] = text
    if max(seen.outputs, seen.inputs) >= FIT_EVENTS:
        bank.add_store(slot)
        names = [name for name in parts if name.startswith(_STORE)]
        put_store(bank.store(slot), {name.removeprefix(_STORE): zlib.decompress(parts[name]) for name in names})
    bank.expect(slot, 0, 0)
    for k, i in _warm_up(bank, slot):
        bank.warm_up.array[i] = record_of(zlib.decompress(parts[f"warm_up.{k}"]), bank.warm_up.array.dtype)


def _warm_up(bank: TextBank, slot: int) -> list[tuple[int, int]]:
    """The chunks of the warm-up that hold some, and their rows."""
    used = int(chunks_needed(bank.text(slot), bank.stores.array, bank.table[slot, 1], 0, 0))
    return [(k, int(i)) for k, i in enumerate(bank.chunks[slot][:used].tolist())]
