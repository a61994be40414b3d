"""The headers of HTTP/2 (RFC 7541), as far as a gRPC client that keeps no table needs them.

We tell the server that our table of past headers has room for nothing
(SETTINGS_HEADER_TABLE_SIZE = 0). What a block of bytes means then depends on the block alone, so
that the handful of different blocks that a server sends are decoded once and remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

# RFC 7541, appendix A: of the 61 static entries only the status is read here; the others are
# passed over. 8 to 14 are the statuses.
_STATIC_COUNT = 61
_STATUSES = {8: b"200", 9: b"204", 10: b"206", 11: b"304", 12: b"400", 13: b"404", 14: b"500"}

# RFC 7541, appendix B: the lengths of the Huffman codes of the bytes 0 to 255 and of the end mark,
# `a` for 5 bits to `z` for 30. The code is canonical: the lengths are all there is to it.
_HUFFMAN_LENGTHS = (
    "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf"
    "ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix"
    "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs"
    "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv"
    "z"
)
_END_OF_STRING = 256


# A block that begins with it empties the table that the peer keeps for us (RFC 7541, 6.3).
EMPTY_TABLE = b"\x20"


class HeaderError(ValueError):
    """A header block that RFC 7541 doesn't allow, or that needs a table we said we don't keep."""


def encode(headers: Iterable[tuple[bytes, bytes]], *, indexed: bool) -> bytes:
    """A header block.

    Args:
        headers: names and values.
        indexed: ask the peer to remember each header in its table, for `encode_indexed`.
    """
    form = 0x40 if indexed else 0x00
    block = bytearray()
    for name, value in headers:
        block.append(form)
        for text in (name, value):
            block += _integer(len(text), bits=7) + text
    return bytes(block)


def encode_indexed(count: int) -> bytes:
    """The block that repeats the last `count` headers that were sent with `indexed`."""
    newest = _STATIC_COUNT + 1
    return b"".join(_integer(newest + i, bits=7, form=0x80) for i in reversed(range(count)))


@lru_cache(maxsize=1024)
def decode(block: bytes) -> dict[bytes, bytes]:
    """The headers in a block. Names other than `:status` that the peer abbreviates are left out.

    Raises:
        HeaderError: the block is cut off, or refers to a table that we don't keep.
    """
    headers: dict[bytes, bytes] = {}
    at, begun = 0, False
    try:
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _read_integer(block, at, 7)
                name, value = _static(index)
            elif first & 0xE0 == 0x20:  # the peer's table has a new size: none, as we asked
                size, at = _read_integer(block, at, 5)
                if size or begun:  # only a block's beginning may say so (RFC 7541, 4.2)
                    raise HeaderError(f"the header block changes the size of a table to {size}")
                continue
            else:
                index, at = _read_integer(block, at, 6 if first & 0x40 else 4)
                name = _static(index)[0] if index else b""
                if not index:
                    name, at = _read_string(block, at)
                value, at = _read_string(block, at)
            begun = True
            if name:
                headers[name] = value
    except IndexError as error:
        raise HeaderError("the header block is cut off") from error
    return headers


def _static(index: int) -> tuple[bytes, bytes]:
    if not 1 <= index <= _STATIC_COUNT:
        raise HeaderError(f"the header block refers to entry {index} of a table that has none")
    return (b":status", _STATUSES[index]) if index in _STATUSES else (b"", b"")


def _integer(value: int, *, bits: int, form: int = 0) -> bytes:
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([form | value])
    coded, value = bytearray([form | limit]), value - limit
    while value >= 0x80:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def _read_integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    limit = (1 << bits) - 1
    value = block[at] & limit
    at += 1
    if value < limit:
        return value, at
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    huffman = block[at] & 0x80
    length, at = _read_integer(block, at, 7)
    end = at + length
    if end > len(block):
        raise HeaderError("the header block is cut off")
    text = block[at:end]
    return (_unhuffman(text) if huffman else text), end


@lru_cache(maxsize=1)
def _huffman_codes() -> dict[tuple[int, int], int]:
    """Length and code to byte: codes of one length count up in the order of the bytes."""
    lengths = [ord(letter) - ord("a") + 5 for letter in _HUFFMAN_LENGTHS]
    codes, code, last = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - last
        codes[length, code] = symbol
        code, last = code + 1, length
    return codes


def _unhuffman(text: bytes) -> bytes:
    codes = _huffman_codes()
    decoded, length, code = bytearray(), 0, 0
    for bit in "".join(f"{byte:08b}" for byte in text):
        length, code = length + 1, code << 1 | (bit == "1")
        symbol = codes.get((length, code))
        if symbol == _END_OF_STRING:
            raise HeaderError("a Huffman-coded header holds the mark of its end")
        if symbol is not None:
            decoded.append(symbol)
            length = code = 0
    if length > 7 or code != (1 << length) - 1:  # the last byte is filled up with ones
        raise HeaderError("a Huffman-coded header is cut off")
    return bytes(decoded)
