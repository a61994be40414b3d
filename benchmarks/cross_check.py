"""The same load by somebody else's generator: ours against ghz, on the embedded server.

    python -m benchmarks cross-check

Both send the same photo at the same even rate (an open loop) and four at a time (a closed loop),
in short rounds that take turns. ghz's own records are read from its report and summarized as ours
are. The server waits 20 ms for a batch to fill, so that it has room left: ghz costs several times
our CPU a request, and on a machine that also runs the server a full load would compare those
costs instead.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import go_tools
from benchmarks.serving import model_server
from helpers import load, photos, stats
from helpers.client import protos
from helpers.load import results
from helpers.load.batching_settings import light_network
from helpers.load.results import Figure, Result

GOALS = {"images_per_s": 0.03, "p50_ms": 0.05, "p99_ms": 0.10}  # how far apart, at most
_WARMUP_S = 0.5
_BATCH_TIMEOUT_US = 20_000
_CONCURRENCY = 4


def measure(*, rate_per_s: float, seconds: float, rounds: int, ghz: Path | None = None) -> Result:
    """Measures with both.

    Args:
        rate_per_s: of the open loop.
        seconds: of each round.
        rounds: how often they take turns in each kind of loop.
        ghz: the program; None: it is built if it isn't there.
    """
    ghz = ghz or go_tools.build("ghz")
    photo = photos.samples()[:1]
    window: Mapping[str, Any] = {"duration_s": seconds, "warmup_s": _WARMUP_S}
    runs: dict[str, load.Run] = {}
    models = light_network().parents[1]
    waiting = model_server(models, batch=16, batch_timeout_us=_BATCH_TIMEOUT_US)
    with waiting as server, TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(protos.predict_request([photo[0].data]).SerializeToString())
        load.closed_loop(server.address, photo, concurrency=16, duration_s=1)
        for i in range(rounds):
            for loop, extra in (
                ("open loop", ["--rps", f"{rate_per_s:g}", "--concurrency", "64"]),
                ("closed loop", ["--concurrency", str(_CONCURRENCY)]),
            ):
                if loop == "open loop":
                    ours = load.open_loop(
                        server.address, photo, rate_per_s=rate_per_s, arrivals="constant", **window
                    )
                else:
                    ours = load.closed_loop(
                        server.address, photo, concurrency=_CONCURRENCY, **window
                    )
                theirs = _ghz(ghz, server.address, body, seconds, extra, like=ours)
                runs[f"{loop}: ours, round {i + 1}"] = ours
                runs[f"{loop}: ghz, round {i + 1}"] = theirs
    return Result.now("cross-check", runs=runs, figures=_figures(runs))


def _ghz(
    ghz: Path, address: str, body: Path, seconds: float, extra: list[str], *, like: load.Run
) -> load.Run:
    """A run of ghz, as one of ours: its report has the end and the latency of each request."""
    command: list[str | Path] = [
        ghz, "--insecure", "--call", protos.PREDICT.lstrip("/").replace("/", "."),
        "--binary-file", body, "--connections", "1", "--duration", f"{seconds + _WARMUP_S:g}s",
        "--duration-stop", "wait", "--format", "json", *extra, address,
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    details = json.loads(done.stdout)["details"]
    records = np.zeros(len(details), stats.RECORD)
    ends = np.array([d["timestamp"].rstrip("Z") for d in details], "datetime64[ns]")
    latency = np.array([d["latency"] for d in details]) / 1e9
    done_s = (ends - ends.min()).astype(float) / 1e9
    # Its first request was sent when its clock began.
    records["done_s"] = done_s + latency[int(np.argmin(ends))] - _WARMUP_S
    records["sent_s"] = records["due_s"] = records["done_s"] - latency
    records["code"] = [0 if d["status"] == "OK" else stats.CODES.index("UNKNOWN") for d in details]
    return load.Run({**like.settings, "planned": len(records)}, records, seconds, (), {})


def _figures(runs: Mapping[str, load.Run]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for loop in ("open loop", "closed loop"):
        pooled = {}
        for side in ("ours", "ghz"):
            rounds = [r for name, r in runs.items() if name.startswith(f"{loop}: {side}, ")]
            pooled[side] = stats.pooled([run.summary() for run in rounds])
        ours, ghz = pooled["ours"], pooled["ghz"]
        figures[f"{loop}: images_per_s over ghz"] = _figure(
            stats.ratio(
                ours.images_per_s, ours.throughput_interval,
                ghz.images_per_s, ghz.throughput_interval,
            )
        )  # fmt: skip
        for name, q in (("p50_ms", 0.5), ("p99_ms", 0.99)):
            a, b = ours.percentile(q), ghz.percentile(q)
            if a.ms and b.ms:
                ratio = stats.ratio(a.ms, a.interval_ms, b.ms, b.interval_ms)
                figures[f"{loop}: {name} over ghz"] = _figure(ratio)
    return figures


def _figure(ratio: stats.Ratio) -> Figure:
    return Figure(ratio.value, ratio.interval)


def table(result: Result) -> str:
    """A line for each figure: ours over ghz's, and whether they agree."""
    lines = []
    for name, figure in result.figures.items():
        goal = GOALS[name.partition(": ")[2].partition(" ")[0]]
        verdict = results.verdict(figure, least=1 - goal, most=1 + goal)
        lines.append(
            f"{name}: {figure.value:.3f} ({figure.interval}; goal within {goal:.0%} {verdict})"
        )
    return "\n".join(lines)
