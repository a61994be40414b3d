"""What REST accepts and what it answers: one table, rule by rule.

The rules are those of tensorflow/serving's util/json_tensor.cc and http_rest_api_handler.cc, read
at commit b6b8cca6 of July 2022, of rapidjson 1.1.0, which parses there with NaN and Inf and stops
after the value, and of absl::Base64Unescape. `identities` answers what it was sent, in the
signature's type; `half` answers x / 2 + 3.
"""

from __future__ import annotations

import base64
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import Server, serving

PARSE = "JSON Parse error: "
TOO_BIG = "Number too big to be stored in double."
IDENTITY = "/v1/models/identities:predict"
HALF = "/v1/models/half:predict"
TWO = "/v1/models/slow:predict"


def of(dtype: str, values: str, *, key: str = "instances", more: str = "") -> bytes:
    """A body, as it is written."""
    return f'{{"signature_name": "{dtype}", "{key}": {values}{more}}}'.encode()


# A number, as it is written, and what a tensor of each type makes of it.
@pytest.mark.parametrize(
    ("dtype", "written", "read"),
    [
        ("float32", "1435774380", 1435774336.0),  # rounded; refused until 2021
        ("float32", "16777217", 16777216.0),
        ("float32", "0.1", 0.1),
        ("float32", "-0.0", -0.0),
        ("float32", "1e39", math.inf),  # a double, which no float holds
        ("float32", "-3.5e38", -math.inf),
        ("float32", "1e-400", 0.0),
        ("float32", "NaN", math.nan),
        ("float32", "-NaN", math.nan),
        ("float32", "Inf", math.inf),
        ("float32", "-Inf", -math.inf),
        ("float32", "Infinity", math.inf),
        ("float32", "-Infinity", -math.inf),
        ("float32", "18446744073709551616", 2.0**64),  # over 64 bits: a double
        ("float64", "9007199254740993", 9007199254740992.0),
        ("float64", "1.7976931348623157e308", 1.7976931348623157e308),
        ("float64", "123456789012345678901234567890", 123456789012345678901234567890.0),
        ("float64", "-1E+2", -100.0),
        ("float64", "0.01e310", 1e308),
        ("int32", "-2147483648", -(2**31)),
        ("int32", "-0", 0),
        ("int16", "65537", 1),  # checked as an int32, then narrowed
        ("int8", "200", -56),
        ("uint8", "-1", 255),
        ("int64", "-9223372036854775808", -(2**63)),
        ("uint32", "4294967295", 2**32 - 1),
        ("uint64", "18446744073709551615", 2**64 - 1),
        ("bool", "true", True),
    ],
)
def test_a_number_is_read_as_rapidjson_reads_it(
    server: Server, dtype: str, written: str, read: Any
) -> None:
    status, answer = server.http(IDENTITY, of(dtype, f"[{written}]"))
    assert status == 200, answer
    (got,) = answer["predictions"]
    assert got == pytest.approx(read, rel=1e-7, nan_ok=True)
    assert type(got) is type(read)
    assert math.copysign(1, got) == math.copysign(1, read) or math.isnan(got)


def at(body: bytes, message: str) -> str:
    """A message whose offset counts from the start of the list in the body."""
    start = body.index(b"[") + 1
    return re.sub(r"(?<=at offset: )\+(\d+)", lambda found: str(start + int(found[1])), message)


def wrong_type(value: str, kind: str, dtype: str) -> str:
    return (
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
        f"{value} Type: {kind} is not of expected type: {dtype}"
    )


@pytest.mark.parametrize(
    ("dtype", "written", "message"),
    [
        # ParseNumber
        ("float32", "1e400", f"{PARSE}{TOO_BIG} at offset: +0"),
        ("float32", "-1e400", f"{PARSE}{TOO_BIG} at offset: +0"),
        ("float32", "0e400", f"{PARSE}{TOO_BIG} at offset: +0"),  # by its exponent
        ("float32", "10e308", f"{PARSE}{TOO_BIG} at offset: +0"),
        ("float32", "9" * 400, f"{PARSE}{TOO_BIG} at offset: +0"),
        ("int32", "9" * 5000, f"{PARSE}{TOO_BIG} at offset: +0"),
        ("int32", '{"unused": 1e400}', f"{PARSE}{TOO_BIG} at offset: +11"),
        ("float32", "1.", f"{PARSE}Miss fraction part in number. at offset: +2"),
        ("float32", "1.e5", f"{PARSE}Miss fraction part in number. at offset: +2"),
        ("float32", "1e", f"{PARSE}Miss exponent in number. at offset: +2"),
        ("float32", "1e+", f"{PARSE}Miss exponent in number. at offset: +3"),
        ("float32", "01", f"{PARSE}Missing a comma or ] after an array element. at offset: +1"),
        ("float32", "1 2", f"{PARSE}Missing a comma or ] after an array element. at offset: +2"),
        ("float32", "+1", f"{PARSE}Invalid value. at offset: +0"),
        ("float32", ".5", f"{PARSE}Invalid value. at offset: +0"),
        ("float32", "-", f"{PARSE}Invalid value. at offset: +1"),
        ("float32", "nan", f"{PARSE}Invalid value. at offset: +1"),
        ("float32", "Infinit", f"{PARSE}Invalid value. at offset: +7"),
        ("float32", "0x10", f"{PARSE}Missing a comma or ] after an array element. at offset: +1"),
        # AddValueToTensor
        ("float32", '"1"', wrong_type('"1"', "String", "float")),
        ("float32", "true", wrong_type("true", "True", "float")),
        ("float32", "null", wrong_type("null", "Null", "float")),
        ("float64", "false", wrong_type("false", "False", "double")),
        ("int32", "1.0", wrong_type("1.0", "Number", "int32")),
        ("int32", "1e2", wrong_type("100.0", "Number", "int32")),
        ("int32", "9e6", wrong_type("9e+06", "Number", "int32")),
        ("int32", "2147483648", wrong_type("2147483648", "Number", "int32")),
        ("int64", "9223372036854775808", wrong_type("9223372036854775808", "Number", "int64")),
        ("int64", "18446744073709551616", wrong_type("1.8446744073709552e+19", "Number", "int64")),
        ("uint32", "-1", wrong_type("-1", "Number", "uint32")),
        ("uint64", "-1", wrong_type("-1", "Number", "uint64")),
        ("int32", "true", wrong_type("true", "True", "int32")),
        ("bool", "1", wrong_type("1", "Number", "bool")),
        ("string", "1", wrong_type("1", "Number", "string")),
        ("string", '"é", 1',
         wrong_type("1", "Number", "string").replace("element: 0", "element: 1")),
        ("float16", "1",
         "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of "
         "JSON Value: 1 to type: half"),
        ("uint16", "1",
         "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of "
         "JSON Value: 1 to type: uint16"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused_with_the_originals_text(
    server: Server, dtype: str, written: str, message: str
) -> None:
    body = of(dtype, f"[{written}]")
    status, answer = server.http(IDENTITY, body)
    assert (status, answer["error"]) == (400, at(body, message))


def text(value: str) -> bytes:
    return of("string", f"[{value}]")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (text(r'"\u00e9\u0041\/\n"'), "éA/\n".encode()),
        (text(r'"\ud83d\ude00"'), "😀".encode()),
        (text('"😀"'), "😀".encode()),
        (text(r'"a\u0000b"'), b"a\0b"),
        (text(r'"\udc80"'), b"\xed\xb2\x80"),  # the second half of a pair, alone
        (text('"é"').replace("é".encode(), b"\xff\xfe"), b"\xff\xfe"),  # no check for UTF-8
        (text('{"b64": "YWJj"}'), b"abc"),
        (text('{"b64": "YQ=="}'), b"a"),
        (text('{"b64": "YQ"}'), b"a"),  # without padding
        (text('{"b64": "YQ.."}'), b"a"),  # dots for padding
        (text('{"b64": "YR=="}'), b"a"),  # bits that are left over don't matter
        (text(r'{"b64": "YWJj\nZGVm\r\n Z2\thp"}'), b"abcdefghi"),  # line breaks, as MIME has them
        (text(r'{"b64": "Y Q = =\n"}'), b"a"),
        (text('{"b64": ""}'), b""),
    ],
)
def test_a_string_is_read_byte_by_byte(server: Server, written: bytes, read: bytes) -> None:
    body = written.replace(b'"signature_name": "string"', b'"signature_name": "as_bytes"')
    expected = {"predictions": [{"b64": base64.b64encode(read).decode()}]}
    assert server.http(IDENTITY, body) == (200, expected)


FORMAT = "not formatted correctly for base64 data"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (r'"\ud800"', "The surrogate pair in string is invalid. at offset: +1"),
        (r'"\ud800\u0041"', "The surrogate pair in string is invalid. at offset: +1"),
        (r'"\u00g0"', r"Incorrect hex digit after \u escape in string. at offset: +1"),
        (r'"\x41"', "Invalid escape character in string. at offset: +1"),
        ('"a\nb"', "Invalid escape character in string. at offset: +2"),
        ('"a', "Missing a closing quotation mark in string."),
        ('{"b64": "YWJj="}', "Unable to base64 decode"),  # padding where none belongs
        ('{"b64": "YQ="}', "Unable to base64 decode"),  # too little
        ('{"b64": "YQ==="}', "Unable to base64 decode"),  # too much
        ('{"b64": "Y"}', "Unable to base64 decode"),  # six bits
        ('{"b64": "YQ==YQ=="}', "Unable to base64 decode"),
        ('{"b64": "-_-_"}', "Unable to base64 decode"),  # the alphabet for URLs
        ('{"b64": "é"}', "Unable to base64 decode"),
        ('["a", {"b64": "YQ==", "more": 1}]', FORMAT),
        ('["a", {"b64": 1}]', FORMAT),
        ('["a", {"b64": "YQ==", "b64": "YQ=="}]', FORMAT),  # two members
    ],
)
def test_a_string_that_cannot_be_read_is_refused(
    server: Server, written: str, message: str
) -> None:
    status, answer = server.http(IDENTITY, text(written))
    assert (status, at(text(written), message) in answer["error"]) == (400, True), answer


NAMES = b'{"signature_name": "two", "instances": [%s]}'
ONE = {"predictions": [[5.0]]}


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        # ParseJson
        (HALF, b"", 400, f"{PARSE}The document is empty"),
        (HALF, b" \n", 400, f"{PARSE}The document is empty. at offset: 2"),
        (HALF, b'{"instances": [[4]]} trailing {', 200, ONE),
        (HALF, b'{"instances": [[4]]}{"instances": [[6]]}', 200, ONE),
        (HALF, b'\xef\xbb\xbf{"instances": [[4]]}', 200, ONE),  # a byte order mark
        (HALF, '{"instances": [[4]]}'.encode("utf-16"), 400, f"{PARSE}Invalid value. at offset: 0"),
        (HALF, b'{"instances": [[4]],}', 400,
         f"{PARSE}Missing a name for object member. at offset: 20"),
        (HALF, b'{"instances": [[4],]}', 400, f"{PARSE}Invalid value. at offset: 19"),
        (HALF, b'{"instances" [[4]]}', 400,
         f"{PARSE}Missing a colon after a name of object member. at offset: 13"),
        (HALF, b'{"instances": [[4]]', 400,
         f"{PARSE}Missing a comma or }} after an object member. at offset: 19"),
        (HALF, b'{instances: [[4]]}', 400,
         f"{PARSE}Missing a name for object member. at offset: 1"),
        (HALF, b"{'instances': [[4]]}", 400,
         f"{PARSE}Missing a name for object member. at offset: 1"),
        (HALF, b'{"instances": [[4]], // no comments\n}', 400,
         f"{PARSE}Missing a name for object member. at offset: 21"),
        (HALF, b'{"instances": [[nul]]}', 400, f"{PARSE}Invalid value. at offset: 19"),
        (HALF, b"[1]", 400, "JSON Value: [\n    1\n] Is not object"),
        (HALF, b"1 2", 400, "JSON Value: 1 Is not object"),
        (HALF, b'{"instances": [[4]], "unknown": {"key": [null]}}', 200, ONE),
        (HALF, b'{"instances": [[4]], "unknown": ' + b"[" * 5000 + b"]" * 5000 + b"}", 200, ONE),
        (HALF, b'{"instances": ' + b"[" * 50_000 + b"1" + b"]" * 50_000 + b"}", 400,
         "tensor parsing error: x"),
        (HALF, b'{"instances": [[4]], "instances": [[6]]}', 200, ONE),  # the first counts
        (HALF, b'{"instances": [{"x": [4], "x": [6]}]}', 200, ONE),
        # FillSignature
        (HALF, b'{"signature_name": "", "instances": [[4]]}', 200, ONE),
        (HALF, b'{"signature_name": null, "instances": [[4]]}', 400,
         "not formatted correctly. 'signature_name' key must be a string value."),
        (HALF, b'{"signature_name": ["a"], "instances": [[4]]}', 400,
         "not formatted correctly. 'signature_name' key must be a string value."),
        (HALF, b'{"signature_name": "\xff", "instances": [[4]]}', 400,
         "not found in signature def"),
        # FillPredictRequestFromJson
        (HALF, b"{}", 400, "Missing 'inputs' or 'instances' key"),
        (HALF, b'{"instances": [[4]], "inputs": [[4]]}', 400,
         "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "),
        (HALF, b'{"instances": {"x": [4]}}', 400, "Excepting 'instances' to be an list/array"),
        (HALF, b'{"instances": []}', 400, "No values in 'instances' array"),
        # FillTensorMapFromInstancesList
        (HALF, b'{"instances": [{"x": [4]}]}', 200, ONE),
        (HALF, b'{"instances": [{"x": [4]}, [6]]}', 400,
         "Expecting object but got list at item 1 of input list"),
        (HALF, b'{"instances": [[4], {"x": [6]}]}', 400,
         "Expecting value/list but got object at item 1 of input list"),
        (HALF, b'{"instances": [{"y": [4]}]}', 400,
         "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON "
         "object: does not have named input: y"),
        (HALF, b'{"instances": [{"x": ["a"]}, {"y": [4]}]}', 400,  # the first fault, row by row
         'Failed to process element: 0 key: x of \'instances\' list. Error: INVALID_ARGUMENT: JSON '
         'Value: "a" Type: String is not of expected type: float'),
        (TWO, NAMES % b'{"a": 1}', 400,
         "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys "
         "must be equal to: a,b"),
        (TWO, NAMES % b"1", 400, "instances is a plain list, but expecting list of objects"),
        (TWO, NAMES % b'{"b64": "YQ=="}', 400,
         "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value"),
        # AddInstanceItem
        (HALF, b'{"instances": [[1], [1, 2]]}', 400,
         "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
         "tensor size: 1 but got: 2"),
        (HALF, b'{"instances": [[1], [[1]]]}', 400,
         "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
         "shape [1] but got: [1,1]"),
        (HALF, b'{"instances": [[1], 1]}', 400, "Expecting shape [1] but got: []"),
        # FillTensorProto, depth first
        (HALF, b'{"inputs": [[1], 2]}', 400,
         "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        (HALF, b'{"inputs": [[1], [[2]]]}', 400,
         "Encountered list at unexpected level: 2 expected < 2"),
        (HALF, b'{"inputs": [[1], [2, 3]]}', 400,
         "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
        (HALF, b'{"inputs": [["a"], [2, 3]]}', 400,
         'JSON Value: "a" Type: String is not of expected type: float'),
        (HALF, b'{"inputs": [[{"b64": "YQ=="}]]}', 400,
         'JSON Value: {\n    "b64": "YQ=="\n} Type: Object is not of expected type: float'),
        (IDENTITY, of("float32", "[]", key="inputs"), 200, {"outputs": []}),
        (IDENTITY, of("float32", "[[], []]", key="inputs"), 200, {"outputs": [[], []]}),
        (IDENTITY, of("float32", "[[], []]"), 200, {"predictions": [[], []]}),
        (IDENTITY, of("float16", "[]", key="inputs"), 200, {"outputs": []}),
        # FillTensorMapFromInputsMap
        (HALF, b'{"inputs": [[4]]}', 200, {"outputs": [[5.0]]}),
        (HALF, b'{"inputs": {"x": [[4]]}}', 200, {"outputs": [[5.0]]}),
        (HALF, b'{"inputs": {"x": [[4]], "unknown": 1}}', 200, {"outputs": [[5.0]]}),
        (HALF, b'{"inputs": {"y": [[4]]}}', 400, "Missing named input: x in 'inputs' object."),
        (TWO, b'{"signature_name": "two", "inputs": [1]}', 400,
         "inputs is a plain value/list, but expecting an object as multiple input tensors"),
        (IDENTITY, of("float16", "[1]", key="inputs"), 501,
         "Conversion of JSON Value: 1 to type: half"),
        # MakeExampleFromJsonObject, AddValueToFeature
        ("/v1/models/half:classify", b'{"signature_name": "classify", "examples": [{"x": [1]}]}',
         400, "Data types don't match"),
        ("/v1/models/half:regress", b'{"signature_name": "regress", "examples": [{"x": 4e0}]}', 200,
         {"results": [5.0]}),
        ("/v1/models/half:regress",  # of two features with one name the last counts
         b'{"signature_name": "regress", "examples": [{"x": 4.0, "x": 6.0}]}', 200,
         {"results": [6.0]}),
        ("/v1/models/half:regress",  # an integer of more than 64 bits is a double
         b'{"signature_name": "regress", "examples": [{"x": 18446744073709551616}]}', 200,
         {"results": [9.22337204e18]}),
        ("/v1/models/half:regress",
         b'{"signature_name": "regress", "examples": [{"x": 9223372036854775808}]}', 400,
         "Feature: x has uint64_t element. Only int64_t is supported."),
        ("/v1/models/half:regress", b'{"examples": [{"x": null}]}', 400,
         "Feature: x has element with unexpected JSON type: Null"),
        ("/v1/models/half:regress", b'{"examples": [{"x": [[1]]}]}', 400,
         "Feature: x has element with unexpected JSON type: Array"),
        ("/v1/models/half:regress", b'{"examples": [{"x": {"y": 1}}]}', 400,
         "Feature: x has element with unexpected JSON type: Object"),
        ("/v1/models/half:regress", b'{"examples": [{"x": [1, 1.5]}]}', 400,
         "Unexpected element type in feature: x expecting type: int64"),
        ("/v1/models/half:regress", b'{"examples": [{"x": [true, 1, 0.5]}]}', 400,
         "Unexpected element type in feature: x expecting type: int64"),
        ("/v1/models/half:regress", b'{"examples": [1]}', 400,
         "Example must be JSON object but got JSON Number"),
        ("/v1/models/half:regress", b'{"examples": []}', 400, "'examples' value is an empty array"),
        ("/v1/models/half:regress", b'{"examples": {}}', 400,
         "Expecting 'examples' value to be an list/array"),
        ("/v1/models/half:regress", b"{}", 400,
         "When method is classify, key 'examples' is expected and was not found"),
        # ParseModelInfo, ProcessRequest
        ("/V1/MODELS/half:predict", b'{"instances": [[4]]}', 200, ONE),
        ("/v1/models/h%61lf:predict", b'{"instances": [[4]]}', 200, ONE),
        ("/v1/models/half/Labels/canary:predict", b'{"instances": [[4]]}', 200, ONE),
        ("/v1/models/half:Predict", b'{"instances": [[4]]}', 400,
         "Malformed request: POST /v1/models/half:Predict"),
        ("/v1/models/half/versions/one:predict", b'{"instances": [[4]]}', 400,
         "Malformed request: POST /v1/models/half/versions/one:predict"),
        ("/v1/models/half/versions/9223372036854775808:predict", b'{"instances": [[4]]}', 400,
         "Failed to convert version: 9223372036854775808 to numeric."),
    ],
)  # fmt: skip
def test_a_body_gets_the_originals_status_and_answer(
    server: Server, path: str, body: bytes, status: int, answer: Any
) -> None:
    got, found = server.http(path, body)
    if isinstance(answer, str):
        assert (got, answer in found["error"]) == (status, True), found
    else:
        assert (got, found) == (status, answer)


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float16", "half"), ("bfloat16", "bfloat16"), ("uint16", "uint16"),
        ("complex64", "complex64"), ("complex128", "complex128"),
    ],
)  # fmt: skip
def test_an_output_of_a_type_that_json_lacks_is_refused(
    server: Server, dtype: str, name: str
) -> None:
    message = f"Failed to write JSON value for tensor type: {name}"
    assert server.http(IDENTITY, of(f"to_{dtype}", "[1]")) == (400, {"error": message})
    assert server.http(IDENTITY, of(f"to_{dtype}", "[]", key="inputs")) == (200, {"outputs": []})


def test_a_large_body_that_is_wrong_at_its_end_keeps_nobody_waiting(server: Server) -> None:
    large = b'{"instances": [' + b"[4.0], " * 500_000 + b"[Inf]"  # 3.5 MB, for the exact reader
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(server.http, HALF, large)
        answered = 0
        while not slow.done():
            assert server.http(HALF, b'{"instances": [[4]]}') == (200, ONE)
            answered += 1
    status, answer = slow.result()
    message = f"{PARSE}Missing a comma or ] after an array element. at offset: {len(large)}"
    assert (status, answer) == (400, {"error": message})
    assert answered > 3


def test_an_error_is_told_in_full_where_grpc_cuts_it(server: Server) -> None:
    name = "n" * 2000
    status, answer = server.http(HALF, of(name, "[[4]]"))
    expected = f'Serving signature name: "{name}" not found in signature def'
    assert (status, answer) == (400, {"error": expected})


@pytest.mark.parametrize("timeout_ms", ["0", "-1"])
def test_no_time_out_is_no_limit(models: Path, tmp_path: Path, timeout_ms: str) -> None:
    flags = [
        "--model_name=slow", f"--model_base_path={models / 'slow'}",
        f"--rest_api_timeout_in_ms={timeout_ms}",
    ]  # fmt: skip
    with serving(tmp_path / "log", *flags) as running:
        body = {"signature_name": "wait", "inputs": [0.3]}
        assert running.http(TWO, body)[0] == 200
        # Nothing is batched here: what comes out may have any first dimension.
        two = b'{"signature_name": "two", "inputs": {"a": [1, 2], "b": [3, 4]}}'
        expected = {"difference": [-2.0, -2.0], "row": [1.0], "scalar": 3.0}
        assert running.http(TWO, two) == (200, {"outputs": expected})
        message = "Tensor name: row has inconsistent batch size: 1 expecting: 2"
        rows = NAMES % b'{"a": 1, "b": 3}, {"a": 2, "b": 4}'
        assert running.http(TWO, rows) == (400, {"error": message})
