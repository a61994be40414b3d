"""More requests than a server can do: how many answers still come in time?"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from helpers import load, photos
from helpers.clusters import Cluster, files, patches
from helpers.photos import Photo

_WIDTH = 2000  # pixels: the work of a request is then in the model, not in receiving it
_OBJECTIVE_S = 0.5
_ROOM = 2.5  # the objective over what the server needs for the requests that it has anyway
_PATIENCE = 6  # a client's deadline over the objective: written without a thought of overload
_LASTS = 4  # a run's length over the objective, at least: an endless queue has shown by then
_CONCURRENCY = 16  # in flight, to find the peak
_BUCKET_S = 0.5


@dataclass(frozen=True)
class Overload:
    """What a server did with more than it can do.

    Attributes:
        peak_per_s: requests per second that it can do: the most that it was seen to answer, in a
            closed loop or under overload.
        objective_s: within which an answer is worth something.
        sent_per_s: requests per second that it was sent, which may be fewer than were due.
        goodput: answers within the objective per second, over time: a value for each half second.
        late: requests that were answered, and too late.
        failures: how many ended with which gRPC status, other than OK.
        p50_ms: the median latency of what was answered.
        problems: why these figures can't be trusted; empty if they can.
    """

    peak_per_s: float
    objective_s: float
    sent_per_s: float
    goodput: tuple[float, ...]
    late: int
    failures: Mapping[str, int]
    p50_ms: float | None
    problems: tuple[str, ...] = ()

    @property
    def shares(self) -> list[tuple[float, float]]:
        """Goodput over the peak, with the middle of each half second in seconds."""
        return [
            ((i + 0.5) * _BUCKET_S, per_s / self.peak_per_s) for i, per_s in enumerate(self.goodput)
        ]

    @property
    def lasting_share(self) -> float:
        """Goodput over the peak in the second half of the run.

        In the first half a queue is still filling up: the longer the run, the less it counts.
        """
        later = self.goodput[len(self.goodput) // 2 :]
        return sum(later) / len(later) / self.peak_per_s

    def row(self) -> dict[str, Any]:
        """The columns of the table, by title."""
        return {
            "peak /s": round(self.peak_per_s),
            "sent /s": round(self.sent_per_s),
            "objective": f"{self.objective_s:.1f} s",
            "goodput of the peak, second half": f"{self.lasting_share:.0%}",
            "answered too late": f"{self.late:,}",
            "failed": ", ".join(f"{n:,} {code}" for code, n in self.failures.items()) or "none",
            "p50 ms": "none" if self.p50_ms is None else f"{self.p50_ms:,.0f}",
            "problems": "; ".join(self.problems) or "none",
        }


def queue(cluster: Cluster, *, max_batch_size: int, max_enqueued_batches: int) -> None:
    """Applies one replica whose queue holds that many batches. Wait for it afterwards.

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


def measure(cluster: Cluster, *, times: float, seconds: float) -> Overload:
    """Finds what a replica can do, and sends it `times` as much at a constant rate.

    The objective is half a second, or, on a machine to which that means nothing, two and a half
    times as long as the replica takes for sixteen photos at its best.

    Args:
        cluster: with replicas that are ready.
        times: the load over the peak.
        seconds: of overload, at least four times the objective; the peak is measured for half.
    """
    pictures, addresses = large(photos.samples()), cluster.addresses()
    peak = load.closed_loop(
        addresses, pictures, concurrency=_CONCURRENCY, duration_s=seconds / 2, warmup_s=1
    )
    peak_per_s = peak.summary().throughput_per_s
    objective_s = max(_OBJECTIVE_S, _ROOM * _CONCURRENCY / peak_per_s)
    run = load.open_loop(
        addresses,
        pictures,
        rate_per_s=times * peak_per_s,
        duration_s=max(seconds, _LASTS * objective_s),
        arrivals="constant",
        timeout_s=_PATIENCE * objective_s,
    )
    return outcome(peak, run, objective_s=objective_s)


def outcome(peak: load.Run, run: load.Run, *, objective_s: float) -> Overload:
    """What became of the requests of a run.

    Args:
        peak: a closed loop on the same server.
        run: the open loop with more than that.
        objective_s: within which an answer is worth something, in seconds.
    """
    records, seconds, summary = run.records, run.duration_s, run.summary()
    answered, done = records["code"] == 0, records["done_s"]
    in_time = answered & (done - records["due_s"] <= objective_s)
    edges = _BUCKET_S * np.arange(int(seconds / _BUCKET_S) + 1)
    second_half = answered & (done >= seconds / 2) & (done < seconds)
    most_per_s = max(peak.summary().throughput_per_s, 2 * float(second_half.sum()) / seconds)
    return Overload(
        peak_per_s=most_per_s,
        objective_s=objective_s,
        sent_per_s=len(run.measured("sent_s")) / seconds,
        goodput=tuple(np.histogram(done[in_time], edges)[0] / _BUCKET_S),
        late=int((answered & ~in_time).sum()),
        failures=summary.failures,
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
