"""Our own JSON, one record a line."""

from leeboard.schemas import PRIVILEGED, Record, Refused, Reject, decode, reject


def decode_line(data: bytes, position: str, *, arrival_ms: int | None, allow_controls: bool) -> Record | Reject:
    """The record in `data`, or a Reject that says why there is none. Never raises, whatever the bytes.

    `position`: the line's position, for the Reject. `arrival_ms`: when it arrived (epoch milliseconds); None: calls
    from the future are not refused. `allow_controls`: the sender may deploy, accept, confirm and mute; otherwise those
    records are refused as `not_allowed`. Scores are always allowed.
    """
    try:
        record = decode(data, arrival_ms=arrival_ms)
        if isinstance(record, PRIVILEGED) and not allow_controls:
            raise Refused("not_allowed", f"`{type(record).__name__.lower()}` is not taken from telemetry")
    except Refused as refused:
        return reject(data, refused, position)
    return record
