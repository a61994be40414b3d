"""One version of one model, loaded: arrays in, arrays out.

It is loaded as the original's C++ loader does it (cc/saved_model/loader.cc): import the graph, run
the restore operation, run the init operation. What only `tf.saved_model.load` can load fails here
as it fails there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
from tensorflow.python.client import pywrap_tf_session, session
from tensorflow.python.framework import importer, ops

from helpers.model_server import metrics
from helpers.model_server.status import Code, StatusError, invalid, not_found

Array = np.ndarray[Any, Any]
_INIT_OP = "__saved_model_init_op"


class SavedModel:
    """A SavedModel in a session of its own, written by TensorFlow 1, TensorFlow 2 or Keras.

    Args:
        path: a version's directory.
        tags: of the graph to load; usually `{"serve"}`.
        config: of the session: threads, GPU memory.

    Raises:
        StatusError: no SavedModel there, or none with these tags.
        tensorflow.errors.OpError: its variables can't be restored, its init operation fails.
    """

    def __init__(self, path: Path, *, tags: frozenset[str], config: config_pb2.ConfigProto) -> None:
        meta_graph = _meta_graph(path, tags)
        graph = ops.Graph()
        try:
            with graph.as_default():
                importer.import_graph_def(
                    meta_graph.graph_def, name="",
                    producer_op_list=meta_graph.meta_info_def.stripped_op_list,
                )  # fmt: skip
        except ValueError as error:
            raise invalid(f"{path / 'saved_model.pb'}: {error}") from error
        self.session = session.Session(graph=graph, config=config)
        try:
            self._restore(meta_graph, path)
        except BaseException:
            self.close()
            raise
        # Copies: a part of a message keeps the whole in memory, with every constant of the graph.
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = {
            name: meta_graph_pb2.SignatureDef.FromString(signature.SerializeToString())
            for name, signature in meta_graph.signature_def.items()
        }
        self._tensors: dict[str, Any] = {}

    def _restore(self, meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> None:
        feeds = _assets(meta_graph, path)
        variables, saver = path / "variables" / "variables", meta_graph.saver_def
        if saver.restore_op_name and variables.with_suffix(".index").exists():
            self._run_operation(
                saver.restore_op_name, {**feeds, saver.filename_tensor_name: str(variables)}
            )
        if _INIT_OP in meta_graph.signature_def:
            init = meta_graph.signature_def[_INIT_OP].outputs[_INIT_OP].name
        else:  # TensorFlow 1
            keys = ("saved_model_main_op", "legacy_init_op")
            found = [meta_graph.collection_def[k] for k in keys if k in meta_graph.collection_def]
            init = found[0].node_list.value[0] if found else ""
        if init:
            self._run_operation(init.split(":")[0], feeds)

    def _run_operation(self, name: str, feeds: Mapping[str, str]) -> None:
        self.session.run(self.session.graph.get_operation_by_name(name), feeds)

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str], timeout_ms: int = 0
    ) -> list[Array]:
        """Run the graph in this thread; the interpreter lock is released meanwhile.

        Args:
            inputs: graph tensor name to array.
            outputs: graph tensor names.
            timeout_ms: 0: none.

        Raises:
            tensorflow.errors.OpError: an operation failed.
        """
        begun = time.perf_counter()
        options = None
        if timeout_ms:
            text = config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString()
            options = pywrap_tf_session.TF_NewBufferFromString(text)
        try:
            # What Session.run calls in the end, without what it does before: 60 us, not 200.
            answer: list[Array] = pywrap_tf_session.TF_SessionRun_wrapper(
                self.session._session, options,
                {self._tensor(name): array for name, array in inputs.items()},
                [self._tensor(name) for name in outputs], [], None,
            )  # fmt: skip
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)
            metrics.direct_session_runs.add()
            metrics.graph_runs.add()
            metrics.graph_run_time.add(by=(time.perf_counter() - begun) * 1e6)
        return answer

    def _tensor(self, name: str) -> Any:
        if name not in self._tensors:
            try:
                full = name if ":" in name else f"{name}:0"
                self._tensors[name] = self.session.graph.get_tensor_by_name(full)._as_tf_output()
            except (KeyError, ValueError) as error:
                raise invalid(
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not "
                    "found in the Graph"
                ) from error
        return self._tensors[name]

    def close(self) -> None:
        """Free the session, its variables and its threads."""
        self.session.close()


def _meta_graph(path: Path, tags: frozenset[str]) -> meta_graph_pb2.MetaGraphDef:
    saved = saved_model_pb2.SavedModel()
    try:
        if (path / "saved_model.pb").exists():
            saved.ParseFromString((path / "saved_model.pb").read_bytes())
        elif (path / "saved_model.pbtxt").exists():
            text_format.Parse((path / "saved_model.pbtxt").read_text(), saved)
        else:
            raise not_found(
                "Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
                f"{path}. Check that the directory exists and that you have the right permissions "
                "for accessing it. An export that was cut off leaves such a directory: export again"
            )
    except (DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise StatusError(
            Code.DATA_LOSS, f"Can't parse {path}/saved_model.pb as binary proto. Export again"
        ) from error
    for meta_graph in saved.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. To "
        "inspect available tag-sets in the SavedModel, please use the SavedModel CLI: "
        "`saved_model_cli`"
    )


def _assets(meta_graph: meta_graph_pb2.MetaGraphDef, path: Path) -> dict[str, str]:
    """What to feed so that operations find their files: tensor name to file name."""
    files = list(meta_graph.asset_file_def)
    if not files and "saved_model_assets" in meta_graph.collection_def:  # TensorFlow 1
        for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
            files.append(meta_graph_pb2.AssetFileDef())
            packed.Unpack(files[-1])
    return {file.tensor_info.name: str(path / "assets" / file.filename) for file in files}
