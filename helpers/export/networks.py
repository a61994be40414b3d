"""The networks as Keras models: photos as each reads them in, probabilities of 1000 classes out."""

from __future__ import annotations

from helpers.settings import CLASS_COUNT, IMAGE_SIZE

from . import efficientnet
from .runtime import keras, np

# How much smaller the last layer's random weights are than He's. Scores of a network that knows
# nothing are then nearly 0.1 % each. With He's they would be up to 6 %, and rounding to bfloat16,
# which moves random logits by 1 % and more, would make a form fail or pass by chance.
_LAST_LAYER = 0.1


def build(network: str) -> keras.Model:
    """A network without weights worth having; its input is as `catalog.NETWORKS` says.

    `light` has Inception-v3's input and output and does next to no work in between: it looks at
    every 37th pixel. What a server needs for a request of it is the server's own cost.
    """
    if network == "inception_v3":
        return keras.applications.InceptionV3(weights=None)
    if network == efficientnet.NAME:
        return efficientnet.build()
    pictures = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    pixels = keras.layers.MaxPooling2D(1, strides=37)(pictures)
    scores = keras.layers.Dense(CLASS_COUNT, activation="softmax", name="predictions")
    return keras.Model(pictures, scores(keras.layers.Flatten()(pixels)), name="light")


def randomize(model: keras.Model, *, seed: int) -> None:
    """Give a model random weights that follow from the seed, on every machine the same.

    Kernels are drawn as He et al. do for ReLU (https://arxiv.org/abs/1502.01852), so that signals
    neither die nor grow over 48 layers; batch normalization gets statistics that leave no layer
    as it was, so that a form which folds them wrongly is found out. NumPy draws them: Keras's
    initializers use generators that are global to the process.

    The scores are what they would be of a network that was never trained: all of them small, and
    nearly the same for every photo. Only `light`, a toy, is left with scores that tell photos
    apart, so that a test of a server can tell one answer from another.
    """
    random = np.random.default_rng(seed)
    draw = {
        "kernel": lambda shape: random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
        "gamma": lambda shape: random.uniform(0.8, 1.25, shape),
        "beta": lambda shape: random.normal(0, 0.1, shape),
        "moving_mean": lambda shape: random.normal(0, 0.1, shape),
        "moving_variance": lambda shape: random.uniform(0.8, 1.25, shape),
    }
    for variable in model.variables:
        if variable.name in draw:
            variable.assign(draw[variable.name](variable.shape))
    if model.name != "light":
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([_LAST_LAYER * kernel, bias])
