"""The two networks, as Keras models: photos as [-1, 1] in, probabilities of 1000 classes out."""

from __future__ import annotations

from ..settings import CLASS_COUNT, IMAGE_SIZE
from .runtime import keras, np

NETWORKS = ("inception_v3", "light")


def build(network: str) -> keras.Model:
    """A network without weights worth having: float32 [batch, 299, 299, 3] to [batch, 1000].

    `light` has Inception-v3's input and output and does next to no work in between: it looks at
    every 37th pixel. What a server needs for a request of it is the server's own cost.
    """
    if network == "inception_v3":
        return keras.applications.InceptionV3(weights=None)
    photos = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    pixels = keras.layers.MaxPooling2D(1, strides=37)(photos)
    scores = keras.layers.Dense(CLASS_COUNT, activation="softmax", name="predictions")
    return keras.Model(photos, scores(keras.layers.Flatten()(pixels)), name="light")


def randomize(model: keras.Model, *, seed: int) -> None:
    """Give a model random weights that depend on the seed alone, the same on every machine.

    Kernels are drawn as He et al. do for ReLU (https://arxiv.org/abs/1502.01852), so that signals
    neither die nor grow over 48 layers. Keras's initializers would do, but draw from generators
    that are global to the process, and ones that a release of TensorFlow may change.
    """
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "kernel":
            deviation = np.sqrt(2 / np.prod(variable.shape[:-1]))
            variable.assign(random.standard_normal(variable.shape, np.float32) * deviation)
