"""What the servers count, read from their Prometheus metrics."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from helpers.clusters import arguments

_REQUESTS = ":tensorflow:serving:request_count"


def path(config: str) -> str:
    """Where the server has its metrics, from its MonitoringConfig; by default Prometheus' usual."""
    text = ""
    if config:
        with contextlib.suppress(OSError):
            text = Path(arguments.on_this_machine(config, models=Path())).read_text()
    named = re.search(r"^[^#\n]*\bpath\s*:\s*[\"']([^\"']+)", text, re.MULTILINE)
    return named[1] if named else "/monitoring/prometheus/metrics"


def count(text: str) -> int:
    """How many requests a server's metrics say that it has answered, over all statuses.

    Args:
        text: in Prometheus' format.
    """
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return int(sum(s.value for s in samples if s.name in (_REQUESTS, f"{_REQUESTS}_total")))
