"""What happened, under the original's names, labels and buckets; and the request log.

A dashboard or an autoscaling rule for TensorFlow Serving reads them unchanged. The counters of
prometheus_client can't be used: they add `_total` to a name. The text is written here as the
original's `util/prometheus_exporter.cc` writes it, with prometheus_client's number format.
"""

from __future__ import annotations

import bisect
import json
import sys
import threading
import time
from typing import Any

from prometheus_client.utils import floatToGoString

from helpers.model_server.status import StatusError

log_requests = False  # set by `server.run`
_lock = threading.Lock()
_registry: list[_Metric] = []
_MOST_SERIES = 1000  # a metric; a client that makes up model names must not fill the memory


class _Metric:
    """A counter; with `limits` a histogram, whose series are a count a bucket, then the sum."""

    def __init__(self, name: str, *labels: str, limits: tuple[float, float, int] | None = None):
        self.name, self.labels = ":tensorflow:" + name, labels
        scale, growth, count = limits or (0, 0, 0)
        self.limits = [scale * growth**power for power in range(count)]
        self.series: dict[tuple[str, ...], list[float]] = {}
        _registry.append(self)

    def _of(self, labels: tuple[str, ...]) -> list[float]:
        found = self.series.get(labels)
        if found is None:
            if len(self.series) >= _MOST_SERIES:
                labels = ("(other)",) * len(self.labels)
            size = len(self.limits) + 2 if self.limits else 1
            found = self.series.setdefault(labels, [0.0] * size)
        return found

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one more, or `by` more."""
        with _lock:
            self._of(labels)[0] += by

    def observe(self, value: float, *labels: str) -> None:
        """Take one measurement into the histogram."""
        with _lock:
            series = self._of(labels)
            series[bisect.bisect_left(self.limits, value)] += 1
            series[-1] += value

    def _line(self, suffix: str, labels: tuple[str, ...], value: str, **le: str) -> str:
        escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
        pairs = [*zip(self.labels, labels, strict=True), *le.items()]
        text = ",".join(f'{name}="{held.translate(escape)}"' for name, held in pairs)
        return f"{self.name}{suffix}{{{text}}} {value}"

    def lines(self) -> list[str]:
        """The metric in Prometheus's text format, with cumulative buckets."""
        lines = [f"# TYPE {self.name} {'histogram' if self.limits else 'counter'}"]
        for labels, series in self.series.items():
            if not self.limits:
                lines.append(self._line("", labels, f"{series[0]:.0f}"))
                continue
            seen = 0.0
            for limit, count in zip([*self.limits, float("inf")], series, strict=False):
                seen += count
                le = f"{limit:g}".replace("inf", "+Inf")
                lines.append(self._line("_bucket", labels, f"{seen:.0f}", le=le))
            lines.append(self._line("_sum", labels, floatToGoString(series[-1])))
            lines.append(self._line("_count", labels, f"{seen:.0f}"))
        return lines


def exposition() -> str:
    """All metrics in Prometheus's text format."""
    with _lock:
        metrics = sorted(_registry, key=lambda metric: metric.name)
        return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


_TIMES, _SIZES = (10, 1.8, 33), (1, 2, 14)  # first limit (of times in us), growth, how many

# servables/tensorflow/util.cc
request_count = _Metric("serving:request_count", "model_name", "status")
request_latency = _Metric(
    "serving:request_latency", "model_name", "API", "entrypoint", limits=_TIMES
)
runtime_latency = _Metric("serving:runtime_latency", "model_name", "API", "runtime", limits=_TIMES)
example_counts = _Metric("serving:request_example_counts", "model", limits=(1, 2, 15))
example_count_total = _Metric("serving:request_example_count_total", "model")
request_log_count = _Metric("serving:request_log_count", "model_name", "status_code")

# batching/batching_session.cc and batching_util.h
_BATCHING = "serving:batching_session:"
queuing_latency = _Metric(_BATCHING + "queuing_latency", "thread_pool_name", limits=(100, 1.2, 52))
input_batch_size = _Metric(_BATCHING + "input_batch_size", limits=_SIZES)
processed_batch_size = _Metric(_BATCHING + "processed_batch_size", limits=_SIZES)
padding_size = _Metric(_BATCHING + "padding_size", "execution_batch_size", limits=_SIZES)
wrapped_run_count = _Metric(_BATCHING + "wrapped_run_count")

# servables/tensorflow/saved_model_warmup_util.cc
warmup_latency = _Metric("serving:model_warmup_latency", "model_path", "status", limits=_TIMES)
warmup_records = _Metric("serving:model_warmup_records_read", "model_path", "status")

# tensorflow/cc/saved_model/loader.cc and tensorflow/core
load_attempts = _Metric("cc:saved_model:load_attempt_count", "model_path", "status")
load_latency = _Metric("cc:saved_model:load_latency", "model_path")
direct_session_runs = _Metric("core:direct_session_runs")
graph_runs = _Metric("core:graph_runs")
graph_run_time = _Metric("core:graph_run_time_usecs")


def finished(
    call: Any,
    failure: StatusError | None,
    begun: float,
    *,
    entrypoint: str,
    api: str,
    counted: bool,
) -> None:
    """Note a request's end, here and with `--request_log` as a line of JSON on stdout.

    Args:
        call: what was asked and answered (`inference.Call`).
        begun: of `time.monotonic()`.
        entrypoint: `GRPC` or `REST`.
        api: as the original labels it: `Predict` over gRPC, `predict` over REST.
        counted: whether the original counts this API.
    """
    took_us = (time.monotonic() - begun) * 1e6
    code = "OK" if failure is None else failure.code.name
    if counted:
        request_count.add(call.name, code)
        if failure is None:
            request_latency.observe(took_us, call.name, api, entrypoint)
    if not log_requests:
        return
    line: dict[str, Any] = {
        "time": round(time.time(), 3), "api": call.api, "entrypoint": entrypoint,
        "model": call.name, "version": call.version, "signature": call.signature,
        "code": code, "total_ms": round(took_us / 1e3, 3),
    }  # fmt: skip
    if call.answer is not None:
        line["batch_size"] = call.answer.batch_rows
        line["queue_ms"] = round(call.answer.queue_us / 1e3, 3)
        line["run_ms"] = round(call.answer.run_us / 1e3, 3)
    if failure is not None:
        line["message"] = failure.short
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
