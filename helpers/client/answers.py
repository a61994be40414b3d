"""What a model server answers: predictions, and the state of a model's versions."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from helpers import settings
from helpers.client import protos
from helpers.errors import ServingError


@dataclass(frozen=True)
class Prediction:
    """What the network says of one photo: the likeliest labels, most likely first.

    Attributes:
        labels: class names, as ImageNet spells them.
        scores: a probability a label, in [0, 1] (a logit if the model was exported with those).
        version: the model's version that says so; 0 if the server didn't name it.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    version: int = field(default=0, compare=False)

    @property
    def label(self) -> str:
        """The likeliest label."""
        return self.labels[0]

    @property
    def score(self) -> float:
        """The likeliest label's score."""
        return self.scores[0]

    def _shown_scores(self) -> list[str]:
        if all(0 <= score <= 1 for score in self.scores):
            return [percent(score) for score in self.scores]
        return [f"{score:.2f}" for score in self.scores]

    def __repr__(self) -> str:
        pairs = zip(self.labels, self._shown_scores(), strict=True)
        return f"Prediction({', '.join(f'{label} {score}' for label, score in pairs)})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(label)}</td><td>{score}</td></tr>"
            for label, score in zip(self.labels, self._shown_scores(), strict=True)
        )
        return f"<table><tr><th>label</th><th>score</th></tr>{rows}</table>"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model, as the server sees it.

    Attributes:
        version: the version directory's number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: why loading failed; empty if it didn't.
    """

    version: int
    state: str
    error: str = ""


def percent(score: float) -> str:
    """A probability as a person reads it: `84.0%`, and `<0.1%` instead of `0.0%`."""
    return "<0.1%" if score < 0.0005 else f"{score:.1%}"


def predictions(answer: bytes) -> list[Prediction]:
    """The predictions in a serialized PredictResponse, one a photo.

    Raises:
        ServingError: it has no `classes` and `scores` of shape `[photos, labels]`.
    """
    response = protos.predict_pb2.PredictResponse.FromString(answer)
    outputs, version = response.outputs, response.model_spec.version.value
    names = ", ".join(sorted(outputs)) or "nothing"  # before a look-up adds what it asks for
    try:
        classes, scores = outputs[settings.CLASSES_OUTPUT], outputs[settings.SCORES_OUTPUT]
        count, best = protos.shape(classes)
        labels = [label.decode() for label in protos.strings(classes)]
        values = protos.floats(scores)
        if not count * best == len(labels) == len(values):
            raise ValueError(f"{len(labels)} labels and {len(values)} scores for {count} photos")
    except (ValueError, IndexError) as error:
        raise ServingError(
            f"The answer has no readable classes and scores, but {names}",
            cause=str(error),
            next_step="Serve a model that notebook 01 exported.",
        ) from error
    rows = [slice(i * best, (i + 1) * best) for i in range(count)]
    return [Prediction(tuple(labels[row]), tuple(values[row]), version) for row in rows]


def versions(answer: bytes) -> list[ModelVersion]:
    """The versions in a serialized GetModelStatusResponse."""
    response = protos.get_model_status_pb2.GetModelStatusResponse.FromString(answer)
    state = protos.get_model_status_pb2.ModelVersionStatus.State
    return [
        ModelVersion(v.version, state.Name(v.state), v.status.error_message)
        for v in response.model_version_status
    ]
