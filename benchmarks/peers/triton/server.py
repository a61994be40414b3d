# mypy: ignore-errors
# ruff: noqa: D103
"""Triton by pytriton: `python server.py`."""

import os

import numpy as np
import tensorflow as tf
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model = tf.saved_model.load(os.environ["MODEL"])
run = model.signatures["predict_images"]


@batch
def classify(images):
    answer = run(images=tf.constant(images[:, 0]))
    return {"classes": answer["classes"].numpy().astype(bytes), "scores": answer["scores"].numpy()}


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    config = TritonConfig(
        http_address="127.0.0.1", http_port=port, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="inception",
            infer_func=classify,
            inputs=[Tensor(name="images", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="classes", dtype=bytes, shape=(5,)),
                Tensor(name="scores", dtype=np.float32, shape=(5,)),
            ],
            config=ModelConfig(
                max_batch_size=int(os.environ["BATCH"]),
                batcher=DynamicBatcher(max_queue_delay_microseconds=10_000),
            ),
        )
        triton.serve()
