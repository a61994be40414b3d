"""Load for a model server, from processes of its own: requests in, records out, nothing computed.

    run = load.open_loop(address, photos, rate_per_s=20, duration_s=30, warmup_s=5)
    run.summary()

*Closed loop*: so many requests are on their way at any time; the server sets the pace. *Open
loop*: requests are sent when they are due, whether or not the server keeps up, as independent users
do. In MLPerf Inference's terms `single_stream`, `multi_stream` and `offline` are closed loops, and
*server* is an open loop with Poisson arrivals, whose figure `highest_rate` searches for.
"""

from helpers.load.run import Generator, Run
from helpers.load.scenarios import (
    closed_loop,
    multi_stream,
    offline,
    open_loop,
    replay,
    single_stream,
)
from helpers.load.schedule import due_times, ramp, steps
from helpers.load.search import Probe, Search, highest_rate
from helpers.load.warming import warm

__all__ = [
    "Generator",
    "Probe",
    "Run",
    "Search",
    "closed_loop",
    "due_times",
    "highest_rate",
    "multi_stream",
    "offline",
    "open_loop",
    "ramp",
    "replay",
    "single_stream",
    "steps",
    "warm",
]
