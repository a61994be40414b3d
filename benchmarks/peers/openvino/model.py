# mypy: ignore-errors
# ruff: noqa: D103
"""The same SavedModel with its network run by OpenVINO: what this processor can do, about.

TensorFlow decodes and resizes the photos as ever, since OpenVINO reads no JPEG; the network between
the pixels and the probabilities is converted. It talks as `benchmarks.model` does.
"""

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import openvino
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

LEAST_BATCHES = 3


def halves(path):
    """A SavedModel's graph in two: photos to pixels, pixels to probabilities."""
    loaded = tf.saved_model.load(path)
    frozen = convert_variables_to_constants_v2(loaded.signatures["predict_images"])
    (best,) = (node for node in frozen.graph.get_operations() if node.type == "TopKV2")
    # What gathers the photos of a batch: the last thing that is done to pixels.
    (pixels,) = (
        node
        for node in frozen.graph.get_operations()
        if node.type == "TensorListStack" and node.outputs[0].dtype == tf.float32
    )
    graph = frozen.graph.as_graph_def()
    read = _part(graph, frozen.inputs[0], pixels.outputs[0])
    for node in graph.node:
        # The network's constants wait for the photos here, which are no longer part of it.
        kept = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(kept)
    return read, _part(graph, pixels.outputs[0], best.inputs[0])


def _part(graph, first, last):
    """What lies between two tensors of a graph, as a function."""
    whole = tf.compat.v1.wrap_function(
        lambda given: tf.import_graph_def(
            graph, input_map={first.name: given}, return_elements=[last.name], name=""
        ),
        [tf.TensorSpec(first.shape, first.dtype)],
    )
    return whole.prune(whole.inputs[0], whole.outputs[0])


def compiled(network):
    """A network for this processor, in bfloat16 where it multiplies that."""
    core = openvino.Core()
    bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    config = {
        "PERFORMANCE_HINT": "LATENCY",  # all cores work on one batch, as in TensorFlow
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }
    shape, dtype = network.inputs[0].shape, network.inputs[0].dtype
    named = tf.function(
        lambda pixels: network(pixels), input_signature=[tf.TensorSpec(shape, dtype)]
    )
    converted = openvino.convert_model(named.get_concrete_function())
    return core.compile_model(converted, "CPU", config)


def main():
    talk, sys.stdout = sys.stdout, sys.stderr
    version, folder = sys.argv[1:]
    pixels_of, network = halves(version)
    model = compiled(network)
    photos = [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))]
    # Of the whole classes' names only the places are needed to compare answers.
    scores = model(pixels_of(tf.constant(photos)).numpy())[0]
    expected = network(pixels_of(tf.constant(photos))).numpy()
    same = int((scores.argmax(axis=1) == expected.argmax(axis=1)).sum())
    worst = float((np.abs(scores - expected).max(axis=1) / expected.max(axis=1)).max())
    answers = {"photos": len(photos), "same_top": same, "worst_score": worst}
    print(json.dumps({"version": version, **answers}), file=talk, flush=True)
    turns = itertools.cycle(photos)
    for line in sys.stdin:
        batch, seconds = json.loads(line)
        batches, inside = 0, 0.0
        start, cpu = time.perf_counter(), time.process_time()
        while batches < LEAST_BATCHES or time.perf_counter() - start < seconds:
            pixels = pixels_of(tf.constant([next(turns) for _ in range(batch)])).numpy()
            before = time.perf_counter()
            model(pixels)
            inside += time.perf_counter() - before
            batches += 1
        took, cpu_s = time.perf_counter() - start, time.process_time() - cpu
        images = batches * batch
        # The last: of the network alone.
        said = [images / took, 1e3 * cpu_s / images, images / inside]
        print(json.dumps(said), file=talk, flush=True)


if __name__ == "__main__":
    main()
