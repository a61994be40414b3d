"""TensorFlow and Keras, imported in one place: quietly, and Keras on TensorFlow.

Takes about 5 s the first time, so what needs neither (`record`) doesn't import this.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# TensorFlow reports the GPUs it doesn't find as errors, from C++, into the reader's notebook.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A reader's ~/.keras/keras.json may name another backend, which can't write a SavedModel.
os.environ["KERAS_BACKEND"] = "tensorflow"


@contextmanager
def _without_start_up_notes() -> Iterator[None]:
    """What C++ writes to standard error meanwhile is kept from the reader, unless this fails.

    The notes come before TensorFlow has read TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


with _without_start_up_notes():
    import keras
    import numpy as np
    import tensorflow as tf

# Every save and restore is otherwise told twice, with advice for TensorFlow 1.
tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "np", "tf"]
