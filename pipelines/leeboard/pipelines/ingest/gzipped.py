"""Reads gzip for logs: bounded output, and everything before the damage of a damaged file.

The standard library's `gzip` drops what it had decompressed when it meets the damage, up to a buffer of whole lines.
"""

import zlib
from collections.abc import Iterable, Iterator

GZIP_MAGIC = b"\x1f\x8b"
#: most bytes in one piece of output: one input byte can become 1,032, so output comes in steps
PIECE_BYTES = 1 << 16
#: zlib's largest window, with the header and checksum of gzip
_GZIP = 31


class GzipError(ValueError):
    """The compressed data end early or are corrupt; all that could be read was yielded before."""


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompressed pieces of at most PIECE_BYTES; several gzip members in a row, padded with zeros, are one stream.

    Raises GzipError after the last piece that could be read.
    """
    inflater = zlib.decompressobj(_GZIP)
    for chunk in chunks:
        data = chunk
        while data:
            if inflater.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                inflater = zlib.decompressobj(_GZIP)
            before = inflater.copy()
            try:
                piece = inflater.decompress(data, PIECE_BYTES)
            except zlib.error:
                yield _up_to_damage(before, data)
                raise GzipError("the gzip data are corrupt") from None
            if piece:
                yield piece
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    if not inflater.eof:
        # codes whose bits were taken, but whose output did not fit into the last piece: at most 64 bits, 8 KB
        yield inflater.decompress(b"", PIECE_BYTES)
        raise GzipError("the gzip data end early")


def _up_to_damage(inflater: "zlib._Decompress", data: bytes) -> bytes:
    """Read `data` up to its damage: less than a piece, since a whole piece raised nothing.

    One byte in and one byte out at a time, since zlib returns nothing from the call that meets the damage. At most one
    byte is lost: when its code and the damage share a byte of input.
    """
    output = bytearray()
    try:
        for at in range(len(data)):
            rest = data[at : at + 1]
            while byte := inflater.decompress(rest, 1):
                output += byte
                rest = inflater.unconsumed_tail
    except zlib.error:
        pass
    return bytes(output)
