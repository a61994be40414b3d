"""The REST API: the original's paths, bodies, codes and texts (section 7)."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import math
from typing import Any

import pytest
from running import Server, listens

HALF = "/v1/models/half"


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def test_a_photo_in_a_row_comes_back_in_a_row(server: Server, photo: bytes) -> None:
    status, answer = server.http(
        "/v1/models/photos:predict",
        {"signature_name": "predict_images", "instances": [b64(photo), {"images": b64(photo)}][:1]},
    )
    (row,) = answer["predictions"]
    assert (status, row["classes"]) == (200, ["red", "green", "blue"])


def test_rows_may_name_their_input(server: Server, photo: bytes) -> None:
    body = {"signature_name": "predict_images", "instances": [{"images": b64(photo)}] * 2}
    assert len(server.http("/v1/models/photos:predict", body)[1]["predictions"]) == 2


def test_columns_come_back_as_columns(server: Server, photo: bytes) -> None:
    body = {"signature_name": "predict_images", "inputs": {"images": [b64(photo)] * 2}}
    answer = server.http("/v1/models/photos:predict", body)[1]["outputs"]
    assert answer["classes"] == [["red", "green", "blue"]] * 2


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        (HALF, {"instances": [[4.0], [6]]}, {"predictions": [[5.0], [6.0]]}),
        (HALF, {"inputs": [[4.0], [6]]}, {"outputs": [[5.0], [6.0]]}),
        (HALF, {"inputs": {"x": [[4.0]]}}, {"outputs": [[5.0]]}),
        (f"{HALF}/versions/1", {"instances": [[4.0]]}, {"predictions": [[3.0]]}),
        (f"{HALF}/labels/stable", {"instances": [[4.0]]}, {"predictions": [[3.0]]}),
        (f"{HALF}/labels/canary", {"instances": [[4.0]]}, {"predictions": [[5.0]]}),
        (
            HALF,
            {"signature_name": "lookup", "instances": ["two", "one"]},
            {"predictions": [2, 1]},
        ),
    ],
)
def test_predict_answers(server: Server, path: str, body: Any, answer: Any) -> None:
    assert server.http(f"{path}:predict", body) == (200, answer)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [0.1, 0.2, 1e-7, 16777215]),
        ("float64", [0.1, 1e300]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("string", ["", "ä"]),
    ],
)
def test_values_go_through_json_unchanged(server: Server, dtype: str, values: list[Any]) -> None:
    body = {"signature_name": dtype, "instances": values}
    assert server.http("/v1/models/identities:predict", body) == (200, {"predictions": values})


def test_not_a_number_and_infinities_are_written_as_the_original_writes_them(
    server: Server,
) -> None:
    body = b'{"signature_name": "float32", "instances": [NaN, Infinity, -Infinity]}'
    first, *others = server.http("/v1/models/identities:predict", body)[1]["predictions"]
    assert math.isnan(first)
    assert others == [math.inf, -math.inf]


def test_an_output_whose_name_ends_in_bytes_comes_back_in_base64(server: Server) -> None:
    body = {"signature_name": "as_bytes", "instances": [b64(b"\xff\x00"), b64(b"a")]}
    assert server.http("/v1/models/identities:predict", body) == (
        200,
        {"predictions": [b64(b"\xff\x00"), b64(b"a")]},
    )


def test_classify_and_regress_take_examples(server: Server) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 4.0}, {"x": [6.0]}]}
    assert server.http(f"{HALF}:classify", body) == (
        200,
        {"results": [[["half", 5.0]], [["half", 6.0]]]},
    )
    body = {"signature_name": "regress", "context": {"x": 4.0}, "examples": [{}, {"x": 6.0}]}
    assert server.http(f"{HALF}:regress", body) == (200, {"results": [5.0, 6.0]})


SPEECH = "JSON Parse error: "


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/nobody:predict", {"instances": [1]}, 404,
         "Servable not found for request: Latest(nobody)"),
        (f"{HALF}/versions/9:predict", {"instances": [1]}, 404,
         "Servable not found for request: Specific(half, 9)"),
        (f"{HALF}/labels/nobody:predict", {"instances": [1]}, 400,
         "Unrecognized servable version label: nobody"),
        (f"{HALF}/versions/99999999999999999999:predict", {"instances": [1]}, 400,
         "Failed to convert version: 99999999999999999999 to numeric."),
        (f"{HALF}:predict", {"signature_name": "guess", "instances": [1]}, 400,
         'Serving signature name: "guess" not found in signature def'),
        (f"{HALF}:predict", b"", 400, "JSON Parse error: The document is empty"),
        (f"{HALF}:predict", b'{"instances": [', 400, SPEECH),
        (f"{HALF}:predict", b'"\xff"', 400, "Is not object"),
        (f"{HALF}:predict", b"[" * 100_000, 400, SPEECH),
        (f"{HALF}:predict", b"9" * 5000, 400, SPEECH),
        (f"{HALF}:predict", [1], 400, "Is not object"),
        (f"{HALF}:predict", {"signature_name": 1, "instances": [1]}, 400,
         "'signature_name' key must be a string value."),
        (f"{HALF}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        (f"{HALF}:predict", {"inputs": [1], "instances": [1]}, 400, "expecting only one of"),
        (f"{HALF}:predict", {"instances": []}, 400, "No values in 'instances' array"),
        (f"{HALF}:predict", {"instances": 1}, 400, "Excepting 'instances' to be an list/array"),
        (f"{HALF}:predict", {"instances": [["a"]]}, 400,
         'Failed to process element: 0 of \'instances\' list. Error: INVALID_ARGUMENT: JSON Value: '
         '"a" Type: String is not of expected type: float'),
        (f"{HALF}:predict", {"instances": [[1], [1, 2]]}, 400,
         "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
         "tensor size: 1 but got: 2"),
        (f"{HALF}:predict", {"instances": [[1], {"x": [1]}]}, 400,
         "Expecting value/list but got object at item 1 of input list"),
        (f"{HALF}:predict", {"instances": [{"x": [1]}, [1]]}, 400,
         "Expecting object but got list at item 1 of input list"),
        (f"{HALF}:predict", {"instances": [{"x": [1], "y": 1}]}, 400,
         "JSON object: does not have named input: y"),
        (f"{HALF}:predict", {"instances": [[True]]}, 400,
         "JSON Value: true Type: True is not of expected type: float"),
        (f"{HALF}:predict", {"inputs": {"y": [[1]]}}, 400,
         "Missing named input: x in 'inputs' object."),
        ("/v1/models/slow:predict", {"signature_name": "two", "instances": [1]}, 400,
         "instances is a plain list, but expecting list of objects"),
        ("/v1/models/slow:predict", {"signature_name": "two", "inputs": [1]}, 400,
         "inputs is a plain value/list, but expecting an object"),
        ("/v1/models/photos:predict",
         {"signature_name": "predict_images", "instances": [{"b64": "%"}]}, 400,
         "Unable to base64 decode"),
        ("/v1/models/photos:predict",
         {"signature_name": "predict_images", "instances": ["a text file"]}, 400,
         "Unknown image file format."),
        ("/v1/models/identities:predict", {"signature_name": "float16", "inputs": [1]}, 501,
         "Conversion of JSON Value: 1 to type: half"),
        (f"{HALF}:classify", {"signature_name": "classify"}, 400, "key 'examples' is expected"),
        (f"{HALF}:classify", {"signature_name": "classify", "examples": [1]}, 400,
         "Example must be JSON object but got JSON Number"),
        (f"{HALF}:classify", {"signature_name": "classify", "examples": [{"x": [1.5, "a"]}]}, 400,
         "Unexpected element type in feature: x expecting type: float"),
        (f"{HALF}:guess", {"instances": [1]}, 400, f"Malformed request: POST {HALF}:guess"),
        ("/v1/models", None, 400, "Missing model name in request."),
        ("/v1/models/nobody", None, 404, "Could not find any versions of model nobody"),
        (f"{HALF}/versions/9", None, 404, "Could not find version 9 of model half"),
        (f"{HALF}:predict", None, 400, f"Malformed request: GET {HALF}:predict"),
        ("/v2/models/half", None, 404, "Not found: /v2/models/half"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_its_status_and_its_text(
    server: Server, path: str, body: Any, status: int, message: str
) -> None:
    got, answer = server.http(path, body)
    assert (got, message in answer["error"]) == (status, True), answer


def test_the_status_tells_each_versions_state(server: Server) -> None:
    status, answer = server.http(f"{HALF}/versions/2")
    version = {
        "version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""},
    }  # fmt: skip
    assert (status, answer) == (200, {"model_version_status": [version]})
    versions = server.http(HALF)[1]["model_version_status"]
    assert [v["version"] for v in versions] == ["3", "2", "1"]


def test_metadata_holds_the_signatures(server: Server) -> None:
    _, answer = server.http(f"{HALF}/versions/1/metadata")
    assert answer["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"


def test_a_name_may_be_quoted_and_a_path_in_capitals(server: Server) -> None:
    assert server.http("/V1/Models/h%61lf:predict", {"instances": [[4]]})[0] == 200


def test_gzip_works_both_ways(server: Server) -> None:
    body = gzip.compress(json.dumps({"instances": [[float(n)] for n in range(8)]}).encode())
    assert server.http(f"{HALF}:predict", body, headers={"Content-Encoding": "gzip"})[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request("GET", f"{HALF}/metadata", headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "signature_def" in gzip.decompress(answer.read()).decode()
    connection.close()


def test_a_browser_of_another_origin_is_answered(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.request("OPTIONS", f"{HALF}:predict")
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    connection.close()


def test_many_connections_are_kept_alive(server: Server) -> None:
    connections = [
        http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60) for _ in range(100)
    ]
    body = json.dumps({"instances": [[4.0]]})
    for _ in range(2):
        for connection in connections:
            connection.request("POST", f"{HALF}:predict", body)
        answers = [connection.getresponse() for connection in connections]
        bodies = [json.loads(answer.read()) for answer in answers]
        assert {answer.status for answer in answers} <= {200, 503}
        assert {"predictions": [[5.0]]} in bodies
    for connection in connections:
        connection.close()


def test_a_body_over_the_limit_is_refused_unread(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    connection.putrequest("POST", f"{HALF}:predict")
    connection.putheader("Content-Length", str(2**31))
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()
    assert listens(server.rest_port)
