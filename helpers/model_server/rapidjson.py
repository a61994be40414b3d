"""JSON as TensorFlow Serving reads it: rapidjson 1.1.0, with NaN and Inf, stopping after the value.

Python's `json` does the work where both agree. What it refuses, and the few texts that it would
read in another way, go to an exact reader, which gives the value or rapidjson's own message:

- text after the value is ignored; a byte order mark before it is skipped
- `NaN`, `Inf`, `Infinity`, with or without a minus; a number over a double's range is an error
- an integer of more than 64 bits is a double
- of two members with one name the first counts
- bytes that aren't UTF-8 are kept as they are; half a surrogate pair is an error
- nesting has no limit

Source: rapidjson/reader.h (`IterativeParse`, `ParseString`, `ParseNumber`), rapidjson/error/en.h.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

_INTEGERS = range(-(2**63), 2**64)  # what rapidjson holds as an integer
_LONGEST_INTEGER = 309  # digits of the largest double
_LARGEST_EXPONENT = 308
_FEW_STRINGS = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\n\r]*")
_TEXT_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_INTEGER = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_DIGITS = re.compile(rb"[0-9]*")
_HEX4 = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES = dict(zip(b'"/\\bfnrt', b'"/\\\b\f\n\r\t', strict=True))

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_HUGE = re.compile(r"[eE]\+?0*[1-9][0-9]{2}")  # an exponent of three digits or more


class ParseError(ValueError):
    """A text that isn't JSON.

    Args:
        offset: of the byte at fault.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at offset: {offset}")


class RawText(str):
    """A string that isn't UTF-8. `raw` holds its bytes."""

    raw: bytes

    @classmethod
    def of(cls, raw: bytes) -> RawText:
        """The text of bytes, with what can't be shown replaced."""
        text = cls(raw.decode(errors="replace"))
        text.raw = raw
        return text


class Repeated(dict[str, Any]):
    """An object in which a name occurs twice: the first counts. `members` holds them all."""

    members: list[tuple[str, Any]]


def read(body: bytes) -> Any:
    """The JSON value at the start of a body.

    Returns:
        Dicts, lists, strings (`RawText` where they aren't UTF-8), numbers, booleans and None.

    Raises:
        ParseError: there is none.
    """
    try:
        text = body.decode()
        if _agreed(text):
            value, _ = _DECODER.raw_decode(text, _TEXT_SPACE.match(text).end())  # type: ignore[union-attr]
            if isinstance(value, dict | list):  # a number may end where rapidjson goes on
                return value
    except (ValueError, RecursionError):
        pass  # not JSON, or not for Python: the exact reader says which
    return read_exactly(body)


def read_exactly(body: bytes) -> Any:
    """As `read`, by the exact reader alone: 3 us a value, where Python takes 0.1."""
    return _Reader(body).read()


def _agreed(text: str) -> bool:
    """Whether Python would read a text as rapidjson does, if it can read it at all."""
    if "\\" not in text:
        between = _outside_strings(text)
    elif _SURROGATE.search(text):
        return False
    else:
        between = iter([_STRING.sub("", text)])
    return not any(_HUGE.search(part) for part in between if "e" in part or "E" in part)


def _outside_strings(text: str) -> Iterator[str]:
    """What stands between the strings of a text without a backslash.

    `find` looks at many letters at once, `split` at one: a photo takes it 5 us, not 40. Where there
    are many strings they are short.
    """
    at = 0
    for _ in range(_FEW_STRINGS):
        begin = text.find('"', at)
        end = text.find('"', begin + 1)
        if begin < 0 or end < 0:
            break
        yield text[at:begin]
        at = end + 1
    yield from text[at:].split('"')[::2]


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) == len(members):
        return made
    repeated = Repeated(reversed(members))
    repeated.members = members
    return repeated


_DECODER = json.JSONDecoder(object_pairs_hook=_object)

# What is wrong where a token is of the wrong kind, by what was expected there.
_EMPTY = "The document is empty."
_VALUE = "Invalid value."
_NAME = "Missing a name for object member."
_COLON = "Missing a colon after a name of object member."
_AFTER_MEMBER = "Missing a comma or } after an object member."
_AFTER_ELEMENT = "Missing a comma or ] after an array element."


class _Reader:
    """Reads without recursion, however deeply the values are nested."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0

    def _peek(self) -> bytes:
        """The next byte; a zero byte ends the text, as its end does."""
        return self._body[self._at : self._at + 1].replace(b"\0", b"")

    def read(self) -> Any:
        # Each container under way, with the name that its next value will have.
        opened: list[tuple[list[Any], str | None]] = []
        expected, closing = _EMPTY, b""
        while True:
            self._at = _SPACE.match(self._body, self._at).end()  # type: ignore[union-attr]
            char = self._peek()
            if expected in (_AFTER_MEMBER, _AFTER_ELEMENT) and char == b",":
                self._at += 1
                expected, closing = (_NAME if expected == _AFTER_MEMBER else _VALUE), b""
                continue
            if expected == _COLON and char == b":":
                self._at += 1
                expected = _VALUE
                continue
            if expected == _NAME and char == b'"':
                opened[-1] = (opened[-1][0], self._string())
                expected, closing = _COLON, b""
                continue
            if char and char == closing:
                self._at += 1
                held, name = opened.pop()
                value: Any = held if char == b"]" else _object(held)
            elif expected not in (_EMPTY, _VALUE) or not char or char in b"]},:":
                raise ParseError(expected, self._at)
            elif char in b"[{":
                self._at += 1
                opened.append(([], None))
                expected, closing = (_VALUE, b"]") if char == b"[" else (_NAME, b"}")
                continue
            else:
                value = self._scalar(char)
            if not opened:
                return value
            held, name = opened[-1]
            held.append(value if name is None else (name, value))
            in_array = name is None
            opened[-1] = (held, None)
            expected = _AFTER_ELEMENT if in_array else _AFTER_MEMBER
            closing = b"]" if in_array else b"}"

    def _scalar(self, char: bytes) -> Any:
        if char == b'"':
            return self._string()
        for word, value in ((b"true", True), (b"false", False), (b"null", None)):
            if word.startswith(char):
                self._word(word)
                return value
        return self._number()

    def _word(self, word: bytes) -> None:
        for letter in word:
            if self._peek() != bytes([letter]):
                raise ParseError(_VALUE, self._at)
            self._at += 1

    def _string(self) -> str:
        self._at += 1
        parts: list[bytes] = []
        while True:
            plain = _PLAIN.match(self._body, self._at)
            parts.append(plain.group())  # type: ignore[union-attr]
            self._at = plain.end()  # type: ignore[union-attr]
            char = self._peek()
            if char == b'"':
                self._at += 1
                break
            if char != b"\\":
                text = "Invalid escape character" if char else "Missing a closing quotation mark"
                raise ParseError(f"{text} in string.", self._at)
            parts.append(self._escaped())
        raw = b"".join(parts)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return RawText.of(raw)

    def _escaped(self) -> bytes:
        begun = self._at
        char = self._body[begun + 1 : begun + 2]
        if char != b"u":
            if not char or char[0] not in _ESCAPES:
                raise ParseError("Invalid escape character in string.", begun)
            self._at += 2
            return bytes([_ESCAPES[char[0]]])
        code = self._hex(begun)
        if 0xD800 <= code < 0xDC00:
            low = self._hex(begun) if self._body[self._at : self._at + 2] == b"\\u" else 0
            if not 0xDC00 <= low < 0xE000:
                raise ParseError("The surrogate pair in string is invalid.", begun)
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        return chr(code).encode("utf-8", "surrogatepass")

    def _hex(self, begun: int) -> int:
        digits = _HEX4.match(self._body, self._at + 2)
        if digits is None:
            raise ParseError("Incorrect hex digit after \\u escape in string.", begun)
        self._at = digits.end()
        return int(digits.group(), 16)

    def _number(self) -> float:
        begun = self._at
        integer = _INTEGER.match(self._body, begun)
        if integer is None:
            return self._not_finite()
        self._at = integer.end()
        fraction = b""
        whole = True
        if self._peek() == b".":
            self._at += 1
            fraction, whole = self._digits("Miss fraction part in number."), False
        exponent = b""
        negative = False
        if self._peek() in (b"e", b"E"):
            self._at += 1
            sign = self._peek()
            negative = sign == b"-"
            self._at += sign in (b"+", b"-")
            exponent, whole = self._digits("Miss exponent in number."), False
        largest = _LARGEST_EXPONENT + len(fraction)
        too_big = not negative and len(exponent) > 1 and _exceeds(exponent, largest)
        if whole and len(integer.group()) <= _LONGEST_INTEGER + 1:
            number = int(integer.group())
            if number in _INTEGERS:
                return number
        value = math.inf if too_big else float(self._body[begun : self._at])
        if math.isinf(value):
            raise ParseError("Number too big to be stored in double.", begun)
        return value

    def _digits(self, missing: str) -> bytes:
        found = _DIGITS.match(self._body, self._at).group()  # type: ignore[union-attr]
        if not found:
            raise ParseError(missing, self._at)
        self._at += len(found)
        return found

    def _not_finite(self) -> float:
        sign = 1.0
        if self._peek() == b"-":
            self._at += 1
            sign = -1.0
        if self._peek() == b"N":
            self._word(b"NaN")
            return math.nan
        self._word(b"Inf")
        if self._peek() == b"i":
            self._word(b"inity")
        return sign * math.inf


def _exceeds(exponent: bytes, largest: int) -> bool:
    digits = exponent.lstrip(b"0")
    return len(digits) > len(str(largest)) or int(digits or b"0") > largest
