"""The reader of JSON: what Python's own parser reads is what the exact one reads."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.model_server import rapidjson

documents = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(),
        st.text(max_size=6), st.text("\"\\/\t\n\ud800\udc00é😀", max_size=6),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip
settings.register_profile("derandomized", derandomize=True, deadline=None, max_examples=200)


@settings(settings.get_profile("derandomized"))
@given(document=documents, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_what_python_writes_is_read_alike(
    document: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = text.encode("utf-8", "surrogatepass")
    assert outcome(rapidjson.read, body) == outcome(rapidjson.read_exactly, body)


@settings(settings.get_profile("derandomized"))
@given(
    text=st.text('{}[]:,"\\ntfu0123456789abc.eE+- NaIifl\0é', max_size=20),
    start=st.sampled_from(["", '{"a": [', '{"a": "', "[1", "{", '{"a": -']),
)
def test_what_is_hardly_json_is_read_alike(text: str, start: str) -> None:
    body = (start + text).encode()
    assert outcome(rapidjson.read, body) == outcome(rapidjson.read_exactly, body)


def outcome(read: Any, body: bytes) -> str:
    """What comes out, with each type and each bit."""
    try:
        return repr(read(body))
    except rapidjson.ParseError as error:
        return str(error)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', {"a": 1, "b": 2}),
        (b'[1]{"a"', [1]),
        (b"[18446744073709551615]", [2**64 - 1]),
        (b'"\xff"', "�"),
        (b"[-Inf]", [-math.inf]),
        (b'{"": {}}', {"": {}}),
    ],
)
def test_the_exact_reader_reads(body: bytes, value: Any) -> None:
    assert rapidjson.read(body) == rapidjson.read_exactly(body) == value


def test_nesting_has_no_limit() -> None:
    value = rapidjson.read(b'[{"a": ' * 100_000 + b"1" + b"}]" * 100_000)
    depth = 0
    while value != 1:
        value, depth = value[0]["a"], depth + 1
    assert depth == 100_000


def test_bytes_that_are_no_text_are_kept() -> None:
    (text,) = rapidjson.read(b'["\xff\\u00e9\xc3\xa9"]')
    assert isinstance(text, rapidjson.RawText)
    assert text.raw == b"\xff\xc3\xa9\xc3\xa9"
