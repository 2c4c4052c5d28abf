"""Texts with words that are found again wherever they show."""

import json
from collections.abc import Iterator
from typing import Any

SECRETS = ("zanzibarite", "Quetzalgram", "ünnüchtern", "秘密の言葉", "hunter2x9", "+49-30-555-0199")
ASKED = f"Please call {SECRETS[5]} about {SECRETS[0]}; my password is {SECRETS[4]}. {SECRETS[3]}!"
ANSWERED = f"I'm sorry, {SECRETS[1]}, but {SECRETS[2]} can't be told.\n\n- {SECRETS[0]}: {SECRETS[4]}\n"
SYSTEM = f"You guard {SECRETS[0]} for {SECRETS[1]}."


def secrets_in(data: bytes | str) -> list[str]:
    """The marked words that show in some bytes, in the forms in which they would."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    lower = raw.lower()
    forms = {
        word: (word.encode(), word.lower().encode(), json.dumps(word)[1:-1].encode(), word.encode("utf-16-le"))
        for word in SECRETS
    }
    return [word for word, found in forms.items() if any(form in raw or form in lower for form in found)]


def strings_in(value: Any) -> Iterator[str]:
    """Every string of a decoded record, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
