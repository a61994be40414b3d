"""Photos to labels, by gRPC, without TensorFlow: `Classifier` and its async twin.

with Classifier("127.0.0.1:8500") as classifier:
    classifier.classify([photo])
"""

from helpers.client.answers import ModelVersion, Prediction
from helpers.client.async_classifier import AsyncClassifier
from helpers.client.classifier import Classifier

__all__ = ["AsyncClassifier", "Classifier", "ModelVersion", "Prediction"]
