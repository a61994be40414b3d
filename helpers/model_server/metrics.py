"""What happened, under the original's names, labels and buckets.

A dashboard or an autoscaling rule for TensorFlow Serving reads them unchanged. The counters of
prometheus_client can't be used: they add `_total` to a name. The text is written here as the
original's `util/prometheus_exporter.cc` writes it, with prometheus_client's number format.
"""

from __future__ import annotations

import bisect
import threading

from prometheus_client.utils import floatToGoString

CONTENT_TYPE = "text/plain"
_lock = threading.Lock()
_registry: list[Counter | Histogram] = []
_MOST_SERIES = 1000  # a metric; a client that makes up model names must not fill the memory
_OTHER = "(other)"


class _Metric:
    kind = ""

    def __init__(self, name: str, *labels: str) -> None:
        self.name = ":tensorflow:" + name
        self.labels = labels

    def _text(self, values: tuple[str, ...], **further: str) -> str:
        pairs = [*zip(self.labels, values, strict=True), *further.items()]
        escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
        return "{" + ",".join(f'{name}="{value.translate(escape)}"' for name, value in pairs) + "}"


class Counter(_Metric):
    """Something that is counted: `requests.add("inception", "OK")`."""

    kind = "counter"

    def __init__(self, name: str, *labels: str) -> None:
        super().__init__(name, *labels)
        self.values: dict[tuple[str, ...], float] = {}
        _registry.append(self)

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one more, or `by` more."""
        with _lock:
            if labels not in self.values and len(self.values) >= _MOST_SERIES:
                labels = (_OTHER,) * len(self.labels)
            self.values[labels] = self.values.get(labels, 0) + by

    def lines(self) -> list[str]:
        """The series as text."""
        return [
            f"{self.name}{self._text(labels)} {value:.0f}" for labels, value in self.values.items()
        ]


class Histogram(_Metric):
    """Something that is measured, in buckets that each are `growth` times the last.

    Args:
        scale: the upper limit of the first bucket.
        count: how many buckets have a limit.
    """

    kind = "histogram"

    def __init__(self, name: str, *labels: str, scale: float, growth: float, count: int) -> None:
        super().__init__(name, *labels)
        self.limits = [scale * growth**power for power in range(count)]
        self.values: dict[tuple[str, ...], list[float]] = {}  # a count a bucket, then the sum
        _registry.append(self)

    def observe(self, value: float, *labels: str) -> None:
        """Take one measurement in."""
        with _lock:
            if labels not in self.values:
                if len(self.values) >= _MOST_SERIES:
                    labels = (_OTHER,) * len(self.labels)
                self.values.setdefault(labels, [0.0] * (len(self.limits) + 2))
            series = self.values[labels]
            series[bisect.bisect_left(self.limits, value)] += 1
            series[-1] += value

    def lines(self) -> list[str]:
        """The series as text, with cumulative buckets."""
        lines = []
        for labels, (*counts, total) in self.values.items():
            seen = 0.0
            for limit, count in zip(
                [*(f"{x:g}" for x in self.limits), "+Inf"], counts, strict=True
            ):
                seen += count
                lines.append(f"{self.name}_bucket{self._text(labels, le=limit)} {seen:.0f}")
            lines.append(f"{self.name}_sum{self._text(labels)} {floatToGoString(total)}")
            lines.append(f"{self.name}_count{self._text(labels)} {seen:.0f}")
        return lines


def exposition() -> str:
    """All metrics in Prometheus's text format."""
    with _lock:
        blocks = [
            [f"# TYPE {metric.name} {metric.kind}", *metric.lines()]
            for metric in sorted(_registry, key=lambda metric: metric.name)
        ]
    return "".join(f"{line}\n" for block in blocks for line in block)


# servables/tensorflow/util.cc. Times in microseconds.
request_count = Counter("serving:request_count", "model_name", "status")
request_latency = Histogram(
    "serving:request_latency", "model_name", "API", "entrypoint", scale=10, growth=1.8, count=33
)
runtime_latency = Histogram(
    "serving:runtime_latency", "model_name", "API", "runtime", scale=10, growth=1.8, count=33
)
example_counts = Histogram("serving:request_example_counts", "model", scale=1, growth=2, count=15)
example_count_total = Counter("serving:request_example_count_total", "model")
request_log_count = Counter("serving:request_log_count", "model_name", "status_code")

# batching/batching_session.cc and batching_util.h
_SIZES = {"scale": 1, "growth": 2, "count": 14}
queuing_latency = Histogram(
    "serving:batching_session:queuing_latency", "thread_pool_name", scale=100, growth=1.2, count=52
)
input_batch_size = Histogram("serving:batching_session:input_batch_size", **_SIZES)
processed_batch_size = Histogram("serving:batching_session:processed_batch_size", **_SIZES)
padding_size = Histogram("serving:batching_session:padding_size", "execution_batch_size", **_SIZES)
wrapped_run_count = Counter("serving:batching_session:wrapped_run_count")

# servables/tensorflow/saved_model_warmup_util.cc
warmup_latency = Histogram(
    "serving:model_warmup_latency", "model_path", "status", scale=10, growth=1.8, count=33
)
warmup_records = Counter("serving:model_warmup_records_read", "model_path", "status")

# tensorflow/cc/saved_model/loader.cc and tensorflow/core
load_attempts = Counter("cc:saved_model:load_attempt_count", "model_path", "status")
load_latency = Counter("cc:saved_model:load_latency", "model_path")
direct_session_runs = Counter("core:direct_session_runs")
graph_runs = Counter("core:graph_runs")
graph_run_time = Counter("core:graph_run_time_usecs")
