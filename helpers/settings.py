"""Names, ports, versions and paths: the only place where they are spelled."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"  # all that a command makes; `make clean` removes it
LOGS = BUILD / "logs"
MANIFESTS = ROOT / "manifests"
SERVING = ROOT / "serving"  # what the container is made of
NOTEBOOKS = ROOT / "notebooks"
RECORDINGS = ROOT / "recordings"  # what cells that need a cluster showed on one
LAB = ROOT / "lab"  # the reader's copies of them, which git ignores
RESULTS = ROOT / "benchmarks" / "results"

# A models directory holds MODEL_NAME/VERSION/, and a container sees it as /models.
MODELS = BUILD / "models"  # Inception-v3 as Keras exports it: runs on every server
MODELS_FAST = BUILD / "models-fast"  # the same network, made as fast as this processor allows
MODELS_LIGHT = BUILD / "models-light"  # the same signatures over a trivial network, for tests
CONTAINER_MODELS = "/models"
CONTAINER_CONFIG = "/etc/serving"  # where a container sees SERVING

MODEL_NAME = "inception"
PREDICT_SIGNATURE = "predict_images"
PREDICT_INPUT = "images"
CLASSIFY_SIGNATURE = "serving_default"
CLASSIFY_INPUT = "inputs"
EXAMPLE_FEATURE = "image/encoded"  # the tf.Example feature that holds the photo's bytes
CLASSES_OUTPUT = "classes"
SCORES_OUTPUT = "scores"

# The release of TensorFlow Serving whose image, client and TensorFlow are used: a server loads what
# its own TensorFlow exported. `tests/unit/test_serving_release.py` finds what says otherwise.
SERVING_RELEASE = "2.21.0"

IMAGE_SIZE = 299  # pixels a side, Inception-v3's input
CENTRAL_CROP = 0.875  # the share of height and width that is kept
TOP_K = 5
CLASS_COUNT = 1000

GRPC_PORT = 8500
REST_PORT = 8501

SEED = 2016  # of random weights, so that two machines export the same network


def models_of(network: str) -> Path:
    """Where the notebooks keep their exports of a network: one folder has one network.

    In each of them the model lies in MODEL_NAME, so that every notebook serves any network alike.
    A server of two networks names two of these folders in its `models.config`.
    """
    return MODELS if network == "inception_v3" else BUILD / f"models-{network}"


def shown(path: Path) -> str:
    """A path as messages and titles name it: from the repository's root where it is inside."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
