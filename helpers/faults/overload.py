"""More requests than a server can do: how many answers still come in time?"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from helpers import load, photos
from helpers.clusters import Cluster, files, patches
from helpers.photos import Photo

_WIDTH = 2000  # pixels: the work of a request is then in the model, not in receiving it
_TIMEOUT_S = 10.0  # as clients have it that were written without a thought of overload
_CONCURRENCY = 16  # in flight, to find the peak


@dataclass(frozen=True)
class Overload:
    """What a server did with more than it can do.

    Attributes:
        peak_per_s: requests a second that it can do, in a closed loop.
        sent_per_s: requests a second that it was sent, which may be fewer than were due.
        goodput_per_s: answers a second that came within the objective.
        refused: requests that it refused at once.
        late: those that were answered too late, or not in time at all.
        p50_ms: the median latency of what was answered.
        problems: why these figures can't be trusted; empty if they can.
    """

    peak_per_s: float
    sent_per_s: float
    goodput_per_s: float
    refused: int
    late: int
    p50_ms: float | None
    problems: tuple[str, ...] = ()

    @property
    def goodput_share(self) -> float:
        """Goodput over the peak."""
        return self.goodput_per_s / self.peak_per_s

    def row(self) -> dict[str, Any]:
        """The columns of the table, by title."""
        return {
            "peak /s": round(self.peak_per_s),
            "sent /s": round(self.sent_per_s),
            "goodput /s": round(self.goodput_per_s),
            "of the peak": f"{self.goodput_share:.0%}",
            "refused": self.refused,
            "too late": self.late,
            "p50 ms": None if self.p50_ms is None else round(self.p50_ms),
            "problems": "; ".join(self.problems) or "none",
        }


def queue(cluster: Cluster, *, max_batch_size: int, max_enqueued_batches: int) -> None:
    """Applies one replica whose queue holds so many batches. Wait for it afterwards.

    Args:
        cluster: where it runs.
        max_batch_size: photos in a batch.
        max_enqueued_batches: batches that wait at most; what comes then is refused.
    """
    config = (
        f"max_batch_size {{ value: {max_batch_size} }}\n"
        "batch_timeout_micros { value: 0 }\n"
        "num_batch_threads { value: 2 }\n"
        f"max_enqueued_batches {{ value: {max_enqueued_batches} }}\n"
    )
    flags = ["--batching_parameters_file={files}/batching.config"]
    # Nobody uses the replica that goes: it needn't wait for clients to look away.
    patch = patches.container(lifecycle=None)
    files.apply(cluster, {"batching.config": config}, args=flags, replicas=1, patch=patch)


def measure(cluster: Cluster, *, times: float, objective_s: float, seconds: float) -> Overload:
    """Finds what a replica can do, and sends it `times` as much at a constant rate.

    Args:
        cluster: with replicas that are ready.
        times: the load over the peak.
        objective_s: within which an answer is worth something, in seconds.
        seconds: to measure, each of the two.
    """
    pictures, addresses = large(photos.samples()), cluster.addresses()
    peak = load.closed_loop(
        addresses, pictures, concurrency=_CONCURRENCY, duration_s=seconds, warmup_s=1
    )
    run = load.open_loop(
        addresses,
        pictures,
        rate_per_s=times * peak.summary().throughput_per_s,
        duration_s=seconds,
        arrivals="constant",
        timeout_s=_TIMEOUT_S,
    )
    return outcome(peak, run, objective_s=objective_s)


def outcome(peak: load.Run, run: load.Run, *, objective_s: float) -> Overload:
    """What became of the requests of a run.

    Args:
        peak: a closed loop on the same server.
        run: the open loop with more than that.
        objective_s: within which an answer is worth something, in seconds.
    """
    records, seconds = run.records, run.duration_s
    answered = records["code"] == 0
    in_time = answered & (records["done_s"] - records["due_s"] <= objective_s)
    sent = (records["sent_s"] >= 0) & (records["sent_s"] < seconds)
    summary = run.summary()
    refused = summary.failures.get("UNAVAILABLE", 0)
    return Overload(
        peak_per_s=peak.summary().throughput_per_s,
        sent_per_s=float(sent.sum()) / seconds,
        goodput_per_s=float(in_time.sum()) / seconds,
        refused=refused,
        late=len(records) - int(in_time.sum()) - refused,
        p50_ms=summary.p50_ms,
        problems=tuple(f"at the peak: {problem}" for problem in peak.problems) + run.problems,
    )


def large(samples: Sequence[Photo]) -> list[bytes]:
    """The photos as a good camera would have sent them, compressed as a telephone does."""
    found = []
    for photo in samples:
        image = Image.open(io.BytesIO(photo.data)).convert("RGB")
        buffer = io.BytesIO()
        height = round(_WIDTH * image.height / image.width)
        image.resize((_WIDTH, height)).save(buffer, "JPEG", quality=40)
        found.append(buffer.getvalue())
    return found
