"""Where the time of a request goes: client, network, queue, the server itself, decoding, layers.

The server's metrics say how long requests were in it, waited for their batch, and ran. How a run
divides between decoding photos and the network's layers, TensorFlow's own tracer says, in a
process of its own. What the client saw beyond the server's time is the network between them.
What none of these clocks accounts for is stated as such.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from helpers.child import Child
from helpers.client import pages
from helpers.errors import ClusterError, ExportError

_BATCH = 4  # photos that are classified together
PATH = "/monitoring/prometheus/metrics"
_TIMES = {
    "request_ms": ":tensorflow:serving:request_latency",
    "run_ms": ":tensorflow:serving:runtime_latency",
    "queue_ms": ":tensorflow:serving:batching_session:queuing_latency",
}
# By the kind of operation: what the photos go through before they are a tensor of pixels.
_DECODING = ("Decode", "ExtractJpeg", "Crop", "Resize", "TensorList", "Slice", "StridedSlice")


@dataclass(frozen=True)
class Times:
    """A server's sums since it started, in milliseconds, and how many requests they are of."""

    sums_ms: Mapping[str, float]
    counts: Mapping[str, float]

    @property
    def requests(self) -> int:
        """How many requests the server has answered since it started."""
        return int(self.counts["request_ms"])

    def since(self, before: Times) -> dict[str, float]:
        """The means, in milliseconds, of what came after `before`.

        Raises:
            ClusterError: nothing did.
        """
        found = {}
        for name, total in self.sums_ms.items():
            count = self.counts[name] - before.counts[name]
            if count <= 0 and name == "request_ms":
                raise ClusterError(
                    "The server answered no request in between",
                    next_step="Ask the server whose metrics are read, and then read them.",
                )
            found[name] = (total - before.sums_ms[name]) / count if count > 0 else 0.0
        return found


def times(rest_address: str) -> Times:
    """Reads a server's sums. Behind a load balancer there has to be one server only.

    Raises:
        ClusterError: there are no metrics.
    """
    return read(pages.read(rest_address, PATH, whose="The server"))


def read(text: str) -> Times:
    """The sums in metrics in Prometheus' text format; 0 for what isn't there yet."""
    totals: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            totals[sample.name] += sample.value
    return Times(
        {name: totals[f"{metric}_sum"] / 1e3 for name, metric in _TIMES.items()},
        {name: totals[f"{metric}_count"] for name, metric in _TIMES.items()},
    )


def parts(
    *, latency_ms: float, client_ms: float, server: Mapping[str, float], decoding: float | None
) -> dict[str, float]:
    """A mean request's milliseconds, by part; they add up to its latency.

    Args:
        latency_ms: the mean latency that the client saw.
        client_ms: the client's own CPU time of it.
        server: what `Times.since` gave.
        decoding: the share of a run that decodes photos, from `decoding_share`; None if the server
            isn't on this machine, whose share says nothing of another's: a run is then one part.

    Returns:
        The parts in the order of a request. No part is negative: where one clock saw less than
        another one inside of it, the difference is in `unaccounted`, which is then negative.
    """
    queue = server["queue_ms"]
    run = max(0.0, server["run_ms"] - queue)  # the metric counts from when a request was queued
    found = {
        "client": client_ms,
        "network": max(0.0, latency_ms - client_ms - server["request_ms"]),
        "queue": queue,
        "server": max(0.0, server["request_ms"] - server["run_ms"]),
    }
    if decoding is None:
        found["run"] = run
    else:
        found |= {"decode": run * decoding, "layers": run * (1 - decoding)}
    return found | {"unaccounted": latency_ms - sum(found.values())}


def decoding_share(version: Path) -> float:
    """The share of a model's work that decodes photos and resizes them, by TensorFlow's tracer.

    Args:
        version: a version directory.

    Raises:
        ExportError: it couldn't be traced; the last words of the process are in the message.
    """

    def failed(why: str) -> ExportError:
        return ExportError(
            f"{version} couldn't be traced",
            cause=why,
            next_step="Export it again: run notebook 01.",
        )

    with Child("helpers.load.request_time", str(version), failed=failed) as child:
        spent: dict[str, float] = json.loads(child.next())
    decoding = sum(time for kind, time in spent.items() if kind.startswith(_DECODING))
    return decoding / sum(spent.values())


def _trace(version: Path) -> dict[str, float]:
    """Microseconds by the kind of operation, in one run of a batch."""
    from helpers import photos
    from helpers.export import load_in_process
    from helpers.export.runtime import tf

    samples = [photo.data for photo in photos.samples()]
    runner = load_in_process(version)
    task = [samples[i % len(samples)] for i in range(_BATCH)]
    runner(task)
    options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    seen = tf.compat.v1.RunMetadata()
    runner.session.run(runner.fetches, {runner.feed: task}, options=options, run_metadata=seen)
    spent: Counter[str] = Counter()
    for device in seen.step_stats.dev_stats:
        for node in device.node_stats:
            kind = node.timeline_label.partition(" = ")[2].partition("(")[0]
            spent[kind] += node.op_end_rel_micros - node.op_start_rel_micros
    # These hold others, whose time is counted already.
    return {kind: time for kind, time in spent.items() if kind and kind not in _HOLDERS}


_HOLDERS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "_SOURCE")


if __name__ == "__main__":
    print(json.dumps(_trace(Path(sys.argv[1]))), flush=True)
