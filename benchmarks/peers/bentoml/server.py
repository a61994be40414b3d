# mypy: ignore-errors
# ruff: noqa: D101, D102
"""BentoML: `bentoml serve server:Classifier`."""

import base64
import os

import bentoml
import tensorflow as tf


@bentoml.service(traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self):
        self.model = tf.saved_model.load(os.environ["MODEL"])
        self.run = self.model.signatures["predict_images"]

    # What is batched has to come as a list, and a list comes as JSON.
    @bentoml.api(batchable=True, max_batch_size=int(os.environ["BATCH"]), max_latency_ms=60_000)
    def classify(self, photos: list[str]) -> list[dict]:
        answer = self.run(images=tf.constant([base64.b64decode(photo) for photo in photos]))
        return [
            {"classes": [name.decode() for name in classes], "scores": scores.tolist()}
            for classes, scores in zip(
                answer["classes"].numpy(), answer["scores"].numpy(), strict=True
            )
        ]
