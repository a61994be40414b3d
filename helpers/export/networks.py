"""The two networks, as Keras models: photos as [-1, 1] in, probabilities of 1000 classes out."""

from __future__ import annotations

from helpers import photos
from helpers.settings import CLASS_COUNT, IMAGE_SIZE

from .runtime import keras, np, tf
from .signatures import preprocess_batch

# Softmax over 1000 classes makes about 0.99 of this logit, where random ones stay below 4. Random
# layers leave photos so alike that rounding to bfloat16, which a trained network hardly notices,
# moves this logit by some 3 %: a smaller one would make a form fail or pass by chance.
_SAMPLE_LOGIT = 12.0


def build(network: str) -> keras.Model:
    """A network without weights worth having: float32 [batch, 299, 299, 3] to [batch, 1000].

    `light` has Inception-v3's input and output and does next to no work in between: it looks at
    every 37th pixel. What a server needs for a request of it is the server's own cost.
    """
    if network == "inception_v3":
        return keras.applications.InceptionV3(weights=None)
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
    """
    random = np.random.default_rng(seed)
    draw = {
        "kernel": lambda shape: random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
        "beta": lambda shape: random.normal(0, 0.1, shape),
        "moving_mean": lambda shape: random.normal(0, 0.1, shape),
        "moving_variance": lambda shape: random.uniform(0.8, 1.25, shape),
    }
    for variable in model.variables:
        if variable.name in draw:
            variable.assign(draw[variable.name](variable.shape))
    if model.name == "inception_v3":
        _tell_samples_apart(model, random)


def _tell_samples_apart(model: keras.Model, random: np.random.Generator) -> None:
    """Set the last layer so that each sample photo gets a class of its own, drawn by lot.

    Random layers make all photos alike: one class would win for every photo, by so little that
    a comparison of two forms of the model would find nothing, or find rounding. With this, the
    answers are as clear as a trained network's; the labels mean nothing all the same.
    """
    pictures = preprocess_batch(tf.constant([photo.data for photo in photos.samples()]))
    before_last, last = keras.Model(model.input, model.layers[-2].output), model.layers[-1]
    features = before_last(pictures, training=False).numpy()
    kernel, bias = last.get_weights()
    classes = random.choice(CLASS_COUNT, len(features), replace=False)
    kernel[:, classes] = _SAMPLE_LOGIT * np.linalg.pinv(features)
    last.set_weights([kernel, bias])
