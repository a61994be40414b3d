# mypy: ignore-errors
# ruff: noqa: D101, D102
"""LitServe: `python server.py`."""

import os
from typing import Annotated

import litserve
import tensorflow as tf
from fastapi import Body


class Classifier(litserve.LitAPI):
    def setup(self, device):
        self.model = tf.saved_model.load(os.environ["MODEL"])
        self.run = self.model.signatures["predict_images"]

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/jpeg")]):
        return request

    def predict(self, photos):
        answer = self.run(images=tf.constant(photos))
        return list(zip(answer["classes"].numpy(), answer["scores"].numpy(), strict=True))

    def encode_response(self, output):
        classes, scores = output
        return {"classes": [name.decode() for name in classes], "scores": scores.tolist()}


if __name__ == "__main__":
    api = Classifier(max_batch_size=int(os.environ["BATCH"]), batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        generate_client_file=False,
        log_level="warning",
    )
