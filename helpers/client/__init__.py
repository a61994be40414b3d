"""Photos to labels, by gRPC, without TensorFlow: `Classifier` and its async twin.

with Classifier("127.0.0.1:8500") as classifier:
    classifier.classify([photo])
"""

from helpers.client.answers import ModelVersion, Prediction
from helpers.client.async_classifier import AsyncClassifier
from helpers.client.classifier import Classifier
from helpers.client.resilience import PLAIN, Resilience

__all__ = ["PLAIN", "AsyncClassifier", "Classifier", "ModelVersion", "Prediction", "Resilience"]
