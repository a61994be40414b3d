"""Steady requests in the background, by clients that retry, hedge and wait, or don't.

    with traffic.start(addresses, photos, rate_per_s=60, resilience=Resilience()) as running:
        …  # break something
    running.flow.lost

`load` measures a server: its generator sends each request once, and what fails is a failure.
This is a service's *users*: what counts is whether a request is answered in the end. Requests are
due at a constant rate, whether or not answers come (open loop), and latency counts from there.
"""

from helpers.load.traffic.flow import Flow
from helpers.load.traffic.running import Traffic, start

__all__ = ["Flow", "Traffic", "start"]
