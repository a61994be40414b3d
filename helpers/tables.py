"""Tables that a cell ends on, as pandas data frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from helpers.stats import Summary


def loads(points: Mapping[Any, Summary], *, index: str) -> pd.DataFrame:
    """One row a load: throughput, and the percentiles that have samples enough to stand on.

    Args:
        points: what was varied to the summary of its run.
        index: what was varied, as the first column's title.

    Returns:
        Images per second and latencies in milliseconds. A percentile without enough samples is
        empty: of fifty requests, a p99 would be another name for the slowest.
    """
    rows = {
        point: {
            "requests": summary.requests,
            "failed": sum(summary.failures.values()),
            "images/s": round(summary.images_per_s, 1),
            **{f"{name} ms": _ms(summary, name) for name in ("p50", "p90", "p99")},
            "max ms": "" if summary.max_ms is None else f"{summary.max_ms:,.0f}",
        }
        for point, summary in points.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index)


def _ms(summary: Summary, name: str) -> str:
    value = summary.latency[name].ms
    return "" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
