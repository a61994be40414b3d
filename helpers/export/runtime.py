"""TensorFlow and Keras, imported in one place: quietly, and Keras on TensorFlow.

Takes about 5 s the first time, so what needs neither (`record`) doesn't import this.
"""

from __future__ import annotations

import os

# TensorFlow reports the GPUs it doesn't find as errors, from C++, into the reader's notebook.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A reader's ~/.keras/keras.json may name another backend, which can't write a SavedModel.
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

__all__ = ["keras", "np", "tf"]
