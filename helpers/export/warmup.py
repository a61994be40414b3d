"""The requests that a server sends itself before it says that it is ready."""

from __future__ import annotations

from pathlib import Path

from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from helpers.settings import IMAGE_SIZE, MODEL_NAME, PREDICT_INPUT, PREDICT_SIGNATURE

from .runtime import tf

WARMUP = Path("assets.extra", "tf_serving_warmup_requests")  # TensorFlow Serving's own name
# The first request of a shape pays for memory and for oneDNN's choice of kernels. Seven photos
# take a second on the slowest machine; a replica that starts under load has no more to spare.
BATCH_SIZES = (1, 2, 4)


def write(directory: Path) -> None:
    """Write the warm-up file into a SavedModel's directory: a TFRecord of PredictionLog."""
    (directory / WARMUP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(directory / WARMUP)) as records:
        for size in BATCH_SIZES:
            records.write(_log(size).SerializeToString())


def _log(batch_size: int) -> prediction_log_pb2.PredictionLog:
    # Photos of the sun's size would do: what is warmed doesn't depend on what a photo shows.
    grey = tf.io.encode_jpeg(tf.fill((IMAGE_SIZE, IMAGE_SIZE, 3), tf.constant(127, tf.uint8)))
    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=MODEL_NAME, signature_name=PREDICT_SIGNATURE),
        inputs={PREDICT_INPUT: tf.make_tensor_proto([grey.numpy()] * batch_size)},
    )
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
