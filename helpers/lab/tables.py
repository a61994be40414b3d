"""Tables that a cell ends on, as pandas data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from helpers.load import Search
    from helpers.load.results import Result
    from helpers.planning.capacity import Cost
    from helpers.stats import Summary


def loads(points: Mapping[Any, Summary], *, index: str) -> pd.DataFrame:
    """One row per load: throughput, and the percentiles that have samples enough to stand on.

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


def search(found: Search) -> pd.DataFrame:
    """One row per rate that was tried: how many requests missed the objective, and the verdict."""
    verdicts = {True: "met", False: "missed", None: "can't tell"}
    rows = {
        f"{probe.rate_per_s:.1f}": {
            "requests": f"{probe.count:,}",
            f"over {found.objective_ms:g} ms, or failed": probe.missed,
            "share": f"{probe.missed / max(probe.count, 1):.1%}" if probe.missed else "0%",
            f"p{100 * found.q:g} under {found.objective_ms:g} ms": verdicts[probe.meets],
        }
        for probe in sorted(found.probes, key=lambda probe: probe.rate_per_s)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("due per second")


def costs(found: Sequence[Cost]) -> pd.DataFrame:
    """One row per machine type: its price, its speed and where that comes from, and the cost."""
    rows = {
        f"{cost.machine.provider} {cost.machine.name}": {
            "processor": cost.machine.gpu or cost.machine.processor_class,
            "$ per hour": f"{cost.machine.usd_per_hour:.3g}",
            "images/s": "" if cost.images_per_s is None else f"{cost.images_per_s:.1f}",
            "basis": cost.basis,
            "$ per million": "" if cost.usd_per_million is None else f"{cost.usd_per_million:.2f}",
            "break-even images/s": "" if not cost.even_at_per_s else f"{cost.even_at_per_s:.0f}",
        }
        for cost in found
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("machine type")


def figures(result: Result) -> pd.DataFrame:
    """One row per figure of a recorded result, with its 95 % confidence interval."""
    rows = {
        name: {
            "value": f"{figure.value:.4g} {figure.unit}".strip(),
            "95 % interval": "" if figure.interval.low is None else str(figure.interval),
        }
        for name, figure in result.figures.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("figure")


def peers(result: Result) -> pd.DataFrame:
    """One row per model server that was compared, fastest first.

    Args:
        result: what `python -m benchmarks.peers` recorded.

    Returns:
        Answers per second, what that is of the network without a server, the server's memory and
        start, and the lines of code that somebody writes to serve a SavedModel by it.
    """
    found = result.figures
    runs = {name.partition(", round ")[0]: run for name, run in result.runs.items()}
    rows = {
        name: {
            "images/s": f"{found[f'{name}: images/s'].value:,.0f}",
            "of the speed in process": f"{found[f'{name}: of in process'].value:.0%}",
            "memory, MiB": f"{found[f'{name}: memory_mib'].value:,.0f}",
            "until the first answer, s": f"{found[f'{name}: start_s'].value:.1f}",
            "lines to write": run.settings["lines"],
        }
        for name, run in runs.items()
    }
    fastest = sorted(rows, key=lambda name: -found[f"{name}: images/s"].value)
    ordered = {name: rows[name] for name in fastest}
    return pd.DataFrame.from_dict(ordered, orient="index").rename_axis("server")


def _ms(summary: Summary, name: str) -> str:
    value = summary.latency[name].ms
    return "" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
