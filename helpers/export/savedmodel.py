"""A SavedModel loaded as TensorFlow Serving's C++ loader does it, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import ExportError
from helpers.settings import CLASSES_OUTPUT, PREDICT_SIGNATURE, SCORES_OUTPUT

from .runtime import np, tf


@dataclass(frozen=True)
class Runner:
    """A loaded model: call it with a list of photos' bytes, or of another signature's strings.

    `runner(photos)` returns classes, bytes [batch, 5], and scores, float32 [batch, 5].
    """

    session: tf.compat.v1.Session
    signature: str
    feed: str
    fetches: tuple[str, str]

    def __call__(self, photos: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Classify photos as one batch.

        Raises:
            tensorflow.errors.InvalidArgumentError: a photo can't be decoded.
        """
        feed = np.empty(len(photos), object)
        feed[:] = photos
        classes, scores = self.session.run(self.fetches, {self.feed: feed})
        return classes, scores

    def close(self) -> None:
        """Give the memory back."""
        self.session.close()


def load_in_process(path: Path, *, signature: str = PREDICT_SIGNATURE) -> Runner:
    """Load one version directory through the steps of the C++ loader: graph, session, restore op.

    `tf.saved_model.load` reads Python's own object graph in a SavedModel and so succeeds on
    exports that no server can load. This takes the MetaGraphDef tagged `serve`, as the server
    does, and runs its restore op where there are variables to restore.

    Args:
        path: a version directory, such as `build/models/inception/1`.
        signature: which one to run.

    Raises:
        ExportError: the directory holds no SavedModel, or not this signature.
    """
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        try:
            meta = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
        except (OSError, RuntimeError) as error:
            raise _not_loadable(path, str(error)) from error
    variables = path / "variables" / "variables"
    if variables.with_suffix(".index").is_file():
        saver = meta.saver_def
        session.run(saver.restore_op_name, {saver.filename_tensor_name: str(variables)})
    if signature not in meta.signature_def:
        raise _not_loadable(path, f"it has the signatures {', '.join(meta.signature_def)}")
    definition = meta.signature_def[signature]
    (feed,) = (tensor.name for tensor in definition.inputs.values())
    outputs = definition.outputs
    fetches = (outputs[CLASSES_OUTPUT].name, outputs[SCORES_OUTPUT].name)
    return Runner(session, signature, feed, fetches)


def _not_loadable(path: Path, cause: str) -> ExportError:
    return ExportError(
        f"{path} can't be loaded",
        cause=cause,
        next_step="Delete it, then export again: run notebook 01.",
    )
