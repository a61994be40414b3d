"""What a network consists of, counted: weights, and operations for one photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .runtime import keras, np, tf

layers = keras.layers

_POOLS = {"MaxPool", "AvgPool"}
_ELEMENTWISE = {
    "BiasAdd",
    "Relu",
    "Relu6",
    "Mul",
    "Add",
    "AddV2",
    "Sub",
    "RealDiv",
    "Rsqrt",
    "Softmax",
}


@dataclass(frozen=True)
class Operations:
    """What one answer costs, for a batch of one.

    Attributes:
        multiply_adds: of convolutions and dense layers: what papers before about 2018 count.
        flops: floating-point operations. A multiply-add is two; each value that another
            operation computes is one, or as many as it reads for a pooled one.
        flops_by_type: the same by TensorFlow's type of operation.
    """

    multiply_adds: int
    flops: int
    flops_by_type: Mapping[str, int]

    def __repr__(self) -> str:
        return (
            f"{self.multiply_adds / 1e9:.2f} billion multiply-adds, "
            f"{self.flops / 1e9:.2f} billion floating-point operations"
        )


def count_parameters(model: keras.Model) -> int:
    """Weights and biases of a model, the statistics of batch normalization among them."""
    return sum(int(np.prod(variable.shape)) for variable in model.variables)


def count_operations(model: keras.Model) -> Operations:
    """Count a model's operations in its graph, node by node, for a batch of one."""
    pictures = tf.TensorSpec((1, *model.input.shape[1:]), tf.float32)
    forward = tf.function(lambda batch: model(batch, training=False), autograph=False)
    multiply_adds, flops = 0, dict[str, int]()
    for node in forward.get_concrete_function(pictures).graph.get_operations():
        products = _multiply_adds(node)
        multiply_adds += products
        if count := 2 * products or _others(node):
            flops[node.type] = flops.get(node.type, 0) + count
    return Operations(multiply_adds, sum(flops.values()), flops)


def _multiply_adds(node: tf.Operation) -> int:
    """Each value of the output is a sum of this many products."""
    if node.type == "Conv2D":  # kernel [height, width, channels in, channels out]
        return _values(node) * int(np.prod(node.inputs[1].shape[:3]))
    if node.type == "DepthwiseConv2dNative":  # each channel by itself
        return _values(node) * int(np.prod(node.inputs[1].shape[:2]))
    if node.type == "MatMul":
        return _values(node) * int(node.inputs[1].shape[0])
    return 0


def _others(node: tf.Operation) -> int:
    if node.type in _POOLS:
        return _values(node) * int(np.prod(node.get_attr("ksize")))
    if node.type == "Mean":
        return int(np.prod(node.inputs[0].shape))
    # Constants are computed once, not for each photo: those have no batch.
    return _values(node) if node.type in _ELEMENTWISE and node.outputs[0].shape.rank > 1 else 0


def _values(node: tf.Operation) -> int:
    return int(np.prod(node.outputs[0].shape))


def with_auxiliary_head(model: keras.Model) -> keras.Model:
    """Inception-v3 with the second classifier that it is trained with.

    Built as in TensorFlow's own `slim/nets/inception_v3.py`, after Szegedy et al.,
    https://arxiv.org/abs/1512.00567, section 4: on the last 17x17 layer, average pooling to 5x5,
    a 1x1 and a 5x5 convolution, one dense layer. Its gradients reach the lower layers in training;
    no answer needs it, so Keras leaves it out.
    """
    value = layers.AveragePooling2D(5, strides=3)(model.get_layer("mixed7").output)
    for channels, size in ((128, 1), (768, 5)):
        value = layers.Conv2D(channels, size, use_bias=False)(value)
        value = layers.Activation("relu")(layers.BatchNormalization(scale=False)(value))
    classes = layers.Dense(model.output.shape[-1], activation="softmax", name="auxiliary")
    return keras.Model(model.input, [model.output, classes(layers.Flatten()(value))])
