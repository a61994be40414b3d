"""Notebook 02 on this machine, with what its solutions have typed in, publishes what is so."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
from notebook_runs import red_lines, shown, with_solutions

from helpers import photos, settings
from helpers.book import lessons, runner
from helpers.clusters import manifest
from helpers.lab.claims import claims
from helpers.lab.publishing import published

pytestmark = pytest.mark.slow

LAST = "channel.close(); cluster.delete(); cluster.close()"  # as the exercises say


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("notebook")
    output = folder / "executed.ipynb"
    parameters = {"NETWORK": "light", "MODELS": str(folder / "models")}
    outcome = runner.run(
        with_solutions("02", folder, last=LAST), output=output, parameters=parameters
    )
    assert (outcome.error, outcome.leftovers) == (None, ())
    return lessons.read(output)


@pytest.fixture(scope="module")
def served(executed: Any) -> dict[str, Any]:
    return published(executed)


def prose() -> str:
    (lesson,) = lessons.choose(lessons.find(), "02")
    cells = lessons.read(lesson.path).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_puppy_is_a_golden_retriever_and_the_network_that_says_so_is_named(
    served: dict[str, Any],
) -> None:
    assert (served["top_label"], served["labels_by"]) == ("golden retriever", "EfficientNet-Lite2")
    assert 0.5 < served["top_score"] <= 1


def test_one_server_serves_both_networks(served: dict[str, Any]) -> None:
    assert served["models_served"] == ["inception", "efficientnet_lite2"]


def test_every_photo_is_answered(served: dict[str, Any]) -> None:
    assert served["photos_answered"] == len(photos.samples())


def test_rest_and_grpc_agree(served: dict[str, Any]) -> None:
    assert served["rest_agrees"] is True
    assert served["rest_over_grpc_bytes"] == pytest.approx(4 / 3, rel=0.01)  # base64


def test_three_mistakes_have_the_codes_of_tensorflow_serving(served: dict[str, Any]) -> None:
    assert served["mistakes"] == {
        "a wrong input name": "INVALID_ARGUMENT",
        "a text file as a photo": "INVALID_ARGUMENT",
        "an unknown model": "NOT_FOUND",
    }


def test_a_shape_that_contradicts_the_content_is_answered_without_a_word(
    served: dict[str, Any],
) -> None:
    assert served["answers_to_a_wrong_size"] == {"1": 1, "2": 2}


def test_the_contract_is_shown(executed: Any) -> None:
    assert "rpc Predict(PredictRequest) returns (PredictResponse);" in shown(executed, "contract")


def test_the_text_decodes_the_message_that_the_server_sends(executed: Any) -> None:
    said = shown(executed, "wrong-input")
    assert "Signature input alias: images" in said
    assert "Inputs expected to be in the request {image}" in said
    quoted = ("*Signature input alias*", "*Inputs expected to be in the request*")
    assert [words for words in quoted if words not in prose()] == []


def test_nothing_is_written_on_red(executed: Any) -> None:
    assert red_lines(executed, allowed=None) == []


def test_no_claim_is_contradicted(executed: Any) -> None:
    assert {claim.name: claim.held for claim in claims(executed)} == {
        "rest_agrees": True,
        "the_shape_decides": True,
    }


def test_the_exercises_do_what_their_solutions_say(executed: Any) -> None:
    assert ast.literal_eval(shown(executed, "typed-1")) == ["scores"]
    by_the_server, by_nobody = ast.literal_eval(shown(executed, "typed-2"))
    # A late request's own clock and the server's refusal of it race: 1 ms is about one tick.
    assert by_the_server in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
    assert by_nobody == "DEADLINE_EXCEEDED"
    assert shown(executed, "typed-3") == "'the light network answers with 5 labels'"


def test_nothing_is_left(served: dict[str, Any]) -> None:
    assert served["leftovers"] == []


def test_every_flag_of_the_manifest_is_explained() -> None:
    flags = [arg.split("=")[0] for arg in manifest.read(settings.MANIFESTS / "base").template.args]
    explained = re.findall(r"`(--\w+)`", prose())
    assert [flag for flag in flags if flag not in explained] == []


def test_what_is_to_be_typed_in_the_end_is_what_the_text_says() -> None:
    assert f"`{LAST}`" in prose()
