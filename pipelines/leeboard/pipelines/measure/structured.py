"""Was JSON asked for, and is it JSON?"""

from typing import Any

import msgspec

#: values that ask for JSON, where clients say what kind of answer they want
_JSON = frozenset({"json", "json_object", "json_schema", "application/json"})
#: where they say it: OpenAI (chat; responses: `text.format`), Ollama, Gemini, Anthropic, the OpenTelemetry conventions
_PLACES = (
    ("response_format",),
    ("text", "format"),
    ("format",),
    ("response_mime_type",),
    ("responseMimeType",),
    ("generation_config", "response_mime_type"),
    ("generationConfig", "responseMimeType"),
    ("output_format",),
    ("output_config", "format"),
    ("output_type",),
    ("gen_ai.output.type",),
)
_reader: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)


def asks_for_json(params: dict[str, Any]) -> bool:
    """Do the parameters of a call ask for JSON, with or without a schema?"""
    for place in _PLACES:
        found: Any = params
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            # Ollama takes a schema instead of a word
            found = "json" if place == ("format",) else found.get("type")
        if isinstance(found, str) and found.lower() in _JSON:
            return True
    return False


def is_json(text: str) -> bool:
    """Is the text one JSON value and nothing else? A code fence around it is something else."""
    try:
        _reader.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True
