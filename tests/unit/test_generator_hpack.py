"""The generator's HPACK against `hpack`, which others trust: both read what the other writes."""

from __future__ import annotations

import hpack as reference
import pytest
from hpack.table import HeaderTable
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.generator import hpack

STATIC = {name for name, _ in HeaderTable.STATIC_TABLE}

names = st.one_of(
    st.sampled_from([b":status", b"grpc-status", b"grpc-message", b"content-type", b"date", b"x"]),
    st.binary(min_size=1, max_size=300),
)
headers = st.lists(st.tuples(names, st.binary(max_size=700)), max_size=12)
forms = st.sampled_from(
    [reference.HeaderTuple, reference.NeverIndexedHeaderTuple],
)


def without_a_table() -> reference.Encoder:
    """What a peer does that was told that our table has room for nothing."""
    encoder = reference.Encoder()
    encoder.header_table_size = 0
    return encoder


@given(headers, st.data(), st.booleans())
def test_what_a_server_may_write_is_read(
    written: list[tuple[bytes, bytes]], data: st.DataObject, huffman: bool
) -> None:
    block = without_a_table().encode(
        [data.draw(forms)(name, value) for name, value in written], huffman=huffman
    )
    read = hpack.decode(block)
    # A name from the static table is left out, but for the status, which is what is asked for.
    expected = dict(written)
    assert {k: v for k, v in expected.items() if k not in STATIC or k == b":status"} == {
        k: v for k, v in read.items() if k not in STATIC or k == b":status"
    }
    assert {k: expected[k] for k in read} == read


@given(st.binary(max_size=2000))
@example(bytes(range(256)))
def test_a_huffman_code_is_read_as_it_was_written(text: bytes) -> None:
    assert hpack.decode(without_a_table().encode([(b"key", text)], huffman=True)) == {b"key": text}


# Bytes that begin something, more often than others.
telling = st.sampled_from(b"\x00\x10\x20\x40\x81\x88\xff")
blocks = st.lists(st.one_of(telling, st.integers(0, 255)), min_size=1, max_size=40).map(bytes)


@given(blocks)
@example(b"\xbe")  # an entry of a table that we don't keep
@example(b"\x80")  # an entry of no number
@example(b"\x00\x05ab")  # cut off
@example(b"\x7f")
@example(b"\x21")  # a table of one byte, where we keep none
@example(b"\x88\x20")  # a new size in the middle of a block
@example(b"\x00\x01x\x84\xff\xff\xff\xff")  # Huffman's mark of the end
def test_what_is_no_header_block_is_refused_by_both(block: bytes) -> None:
    decoder = reference.Decoder()
    decoder.max_allowed_table_size = decoder.header_table_size = 0
    try:
        expected = dict(decoder.decode(block, raw=True))
    except reference.HPACKError:
        with pytest.raises(hpack.HeaderError):
            hpack.decode(block)
    else:
        read = hpack.decode(block)
        assert {k: expected[k] for k in read} == read


@given(headers)
def test_what_we_write_is_read(written: list[tuple[bytes, bytes]]) -> None:
    decoder = reference.Decoder(max_header_list_size=1 << 20)
    block = hpack.encode(written, indexed=False)
    assert list(decoder.decode(block, raw=True)) == written


# Those of a call take a few hundred bytes of the table's 4096.
small = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=100)), min_size=1, max_size=12
)


@given(small, st.integers(1, 4))
def test_what_we_repeat_by_reference_is_read(
    written: list[tuple[bytes, bytes]], times: int
) -> None:
    decoder = reference.Decoder(max_header_list_size=1 << 20)
    assert list(decoder.decode(hpack.encode(written, indexed=True), raw=True)) == written
    for _ in range(times):
        block = hpack.encode_indexed(len(written))
        assert list(decoder.decode(block, raw=True)) == written


@given(small)
def test_a_table_that_we_give_up_is_empty_for_the_server_too(
    written: list[tuple[bytes, bytes]],
) -> None:
    decoder = reference.Decoder(max_header_list_size=1 << 20)
    decoder.decode(hpack.encode(written, indexed=True), raw=True)
    decoder.max_allowed_table_size = 0
    block = hpack.EMPTY_TABLE + hpack.encode(written, indexed=False)
    assert list(decoder.decode(block, raw=True)) == written
    with pytest.raises(reference.InvalidTableIndexError):
        decoder.decode(hpack.encode_indexed(len(written)))
