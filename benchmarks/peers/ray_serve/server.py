# mypy: ignore-errors
# ruff: noqa: D101, D102
"""Ray Serve: `python server.py`."""

import os
import signal

import ray
import tensorflow as tf
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

BATCH = int(os.environ["BATCH"])


@serve.deployment(
    max_ongoing_requests=128,  # the default, 5, would keep batches at 5
    ray_actor_options={"num_cpus": os.cpu_count()},
    logging_config={"enable_access_log": False},
)
class Classifier:
    def __init__(self):
        self.model = tf.saved_model.load(os.environ["MODEL"])
        self.run = self.model.signatures["predict_images"]

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.01)
    async def classify(self, photos):
        answer = self.run(images=tf.constant(photos))
        return [
            {"classes": [name.decode() for name in classes], "scores": scores.tolist()}
            for classes, scores in zip(
                answer["classes"].numpy(), answer["scores"].numpy(), strict=True
            )
        ]

    async def __call__(self, request: Request):
        return await self.classify(await request.body())


if __name__ == "__main__":
    names = ("MODEL", "BATCH")
    ray.init(
        include_dashboard=False,
        runtime_env={"env_vars": {name: os.environ[name] for name in names}},
    )
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=int(os.environ["PORT"])),
        logging_config={"enable_access_log": False},
    )
    serve.run(Classifier.bind(), route_prefix="/classify")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
