# mypy: ignore-errors
# ruff: noqa: D101, D102
"""MLServer: `mlserver start .`, with the settings beside this file."""

import os

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Classifier(MLModel):
    async def load(self):
        self.model = tf.saved_model.load(os.environ["MODEL"])
        self.run = self.model.signatures["predict_images"]
        return True

    async def predict(self, payload):
        photos = Base64Codec.decode_input(payload.inputs[0])
        answer = self.run(images=tf.constant(photos))
        classes = [b"\n".join(names).decode() for names in answer["classes"].numpy()]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("classes", classes),
                NumpyCodec.encode_output("scores", answer["scores"].numpy()),
            ],
        )
