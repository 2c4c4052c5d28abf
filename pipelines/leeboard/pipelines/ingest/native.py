"""Our own JSON, one record a line."""

from leeboard.schemas import PRIVILEGED, Record, Refused, Reject, decode, reject


def decode_line(data: bytes, position: str, *, arrival_ms: int | None, allow_controls: bool) -> Record | Reject:
    """Decode the record in `data`, or the Reject that says why there is none; never raises, whatever the bytes.

    `position`: where the line stood, for the Reject. `arrival_ms`: when it arrived (epoch milliseconds); None: calls
    from the future are not refused. `allow_controls`: the bytes come from somebody who may deploy, accept, confirm and
    mute; otherwise those are refused as `not_allowed`. Scores are always taken.
    """
    try:
        record = decode(data, arrival_ms=arrival_ms)
        if isinstance(record, PRIVILEGED) and not allow_controls:
            raise Refused("not_allowed", f"`{type(record).__name__.lower()}` is not taken from telemetry")
    except Refused as refused:
        return reject(data, refused, position)
    return record
