"""A network as constants: batch normalization folded into the convolutions before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .runtime import keras, np, tf

layers = keras.layers


Weights = dict[str, list[np.ndarray]]


def weights_of(model: keras.Model) -> Weights:
    """Each layer's weights by its name, read where variables have values: outside any graph."""
    return {layer.name: layer.get_weights() for layer in model.layers}


def folded(
    model: keras.Model, weights: Weights, pictures: tf.Tensor, *, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """What `model(pictures)` computes, as operations on constants in the current graph.

    Inference multiplies each channel that a convolution gives by a constant and adds another
    (Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, section 3.1). Both go into the
    convolution: `kernel · scale`, and a bias. TensorFlow then runs convolution, bias and ReLU as
    one operation.

    Args:
        model: of convolutions without activation or bias, also of each channel by itself, batch
            normalization after each of them, ReLU or ReLU6, addition, pooling, concatenation and
            one dense softmax layer, as Inception-v3 and EfficientNet-Lite2 are.
        weights: of the model.
        pictures: float32 [batch, height, width, 3], as the model reads them.
        dtype: of the convolutions. The mean over all positions and the last layer are float32
            always: they cost nothing, and probabilities need the digits.

    Returns:
        Probabilities, float32 [batch, 1000].
    """
    values: dict[int, tf.Tensor] = {id(model.input): tf.cast(pictures, dtype)}
    convolutions: dict[int, tuple[keras.layers.Layer, tf.Tensor]] = {}
    for layer in model.layers[1:]:
        inputs = [id(tensor) for tensor in _several(layer.input)]
        output = id(layer.output)
        if isinstance(
            layer, layers.Conv2D | layers.DepthwiseConv2D
        ):  # waits for the normalization that follows it
            convolutions[output] = (layer, values[inputs[0]])
        elif isinstance(layer, layers.BatchNormalization):
            conv, value = convolutions[inputs[0]]
            kernel, bias = _fold(conv, weights[conv.name], layer, weights[layer.name])
            value = _convolved(conv, value, tf.constant(kernel, dtype))
            values[output] = tf.nn.bias_add(value, tf.constant(bias, dtype))
        else:
            operands = [values[key] for key in inputs]
            values[output] = _operation(layer, weights[layer.name], operands)
    return values[id(model.output)]


def _fold(
    conv: keras.layers.Layer,
    kernels: list[np.ndarray],
    normalization: keras.layers.BatchNormalization,
    statistics: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    (kernel,) = kernels
    beta, mean, variance = statistics[-3:]
    gamma = statistics[0] if normalization.scale else 1.0  # Inception-v3 has none
    scale = gamma / np.sqrt(variance + normalization.epsilon)
    depthwise = isinstance(conv, layers.DepthwiseConv2D)  # [height, width, channels, 1]
    return kernel * (scale[:, None] if depthwise else scale), beta - mean * scale


def _convolved(conv: keras.layers.Layer, value: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    padding = conv.padding.upper()
    if isinstance(conv, layers.DepthwiseConv2D):
        return tf.nn.depthwise_conv2d(value, kernel, (1, *conv.strides, 1), padding)
    return tf.nn.conv2d(value, kernel, conv.strides, padding)


def _operation(
    layer: keras.layers.Layer, weights: list[np.ndarray], values: list[tf.Tensor]
) -> tf.Tensor:
    value = values[0]
    if isinstance(layer, layers.Activation):
        return tf.nn.relu(value)
    if isinstance(layer, layers.ReLU):  # EfficientNet-Lite's ends at 6
        return tf.nn.relu6(value)
    if isinstance(layer, layers.Add):
        return tf.add(*values)
    if isinstance(layer, layers.Concatenate):
        return tf.concat(values, -1)
    if isinstance(layer, layers.MaxPooling2D | layers.AveragePooling2D):
        pool = tf.nn.max_pool2d if isinstance(layer, layers.MaxPooling2D) else tf.nn.avg_pool2d
        return pool(value, layer.pool_size, layer.strides, layer.padding.upper())
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return tf.reduce_mean(tf.cast(value, tf.float32), (1, 2))
    if isinstance(layer, layers.Flatten):
        return tf.reshape(tf.cast(value, tf.float32), (-1, np.prod(value.shape[1:])))
    kernel, bias = weights
    return tf.nn.softmax(tf.nn.bias_add(tf.matmul(value, kernel), bias))


def _several(tensors: Any) -> Iterable[Any]:
    return tensors if isinstance(tensors, list | tuple) else [tensors]
