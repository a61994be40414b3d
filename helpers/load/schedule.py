"""When requests are due in an open loop: Poisson or evenly, at a rate that may change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from helpers.errors import LoadError

Arrivals = Literal["poisson", "constant"]

# (time in seconds, requests a second), with straight lines in between.
Profile = Sequence[tuple[float, float]]

Times = npt.NDArray[np.float64]


def steps(rates_per_s: Sequence[float], *, step_s: float) -> list[tuple[float, float]]:
    """A profile that stays at each rate for `step_s` seconds."""
    return [
        point
        for i, rate in enumerate(rates_per_s)
        for point in ((i * step_s, rate), ((i + 1) * step_s, rate))
    ]


def ramp(start_per_s: float, end_per_s: float, *, duration_s: float) -> list[tuple[float, float]]:
    """A profile that goes from one rate to another in a straight line."""
    return [(0.0, start_per_s), (duration_s, end_per_s)]


def due_times(
    rate_per_s: float | Profile,
    *,
    duration_s: float,
    warmup_s: float = 0.0,
    arrivals: Arrivals = "poisson",
    seed: int = 0,
) -> Times:
    """When requests are due, in seconds since the start of measuring, in order.

    A rate that changes is a steady rate in a time that runs faster and slower: arrivals at one a
    second are mapped back through the integral of the rate. (Çinlar 1975; Ross, Simulation, 5.5.)

    Args:
        rate_per_s: requests a second, or a profile of them; see `steps` and `ramp`.
        duration_s: the length of the measured window in seconds.
        warmup_s: seconds before it, at the rate of its start.
        arrivals: `poisson` as many independent users make them; `constant` at even distances.
        seed: of the Poisson arrivals.

    Raises:
        LoadError: a rate is zero, negative or infinite, or time goes backwards.
    """
    profile = [(0.0, rate_per_s)] if isinstance(rate_per_s, int | float) else list(rate_per_s)
    if not profile or not all(math.isfinite(t) and 0 < r < math.inf for t, r in profile):
        raise LoadError(
            f"Requests can't be sent at a rate of {rate_per_s} a second",
            cause="a rate has to be positive and finite",
            next_step="Pass requests a second, such as rate_per_s=20.",
        )
    times = np.array([-warmup_s, *(t for t, _ in profile), duration_s])
    rates = np.array([profile[0][1], *(r for _, r in profile), profile[-1][1]])
    inside = np.concatenate([[True], times[1:-1] < duration_s, [True]])
    rates[-1] = np.interp(duration_s, times[:-1], rates[:-1])
    times, rates = times[inside], rates[inside]
    if (np.diff(times) < 0).any():
        raise LoadError(
            "The times of a load profile go backwards",
            next_step="Pass (time, rate) pairs in order, from 0 s on.",
        )
    return _through_integral(times, rates.astype(float), arrivals=arrivals, seed=seed)


def _through_integral(times: Times, rates: Times, *, arrivals: Arrivals, seed: int) -> Times:
    """Arrivals whose rate is `rates` at `times`, linear in between."""
    lengths = np.diff(times)
    areas = lengths * (rates[1:] + rates[:-1]) / 2
    expected = np.concatenate([[0.0], np.cumsum(areas)])
    units = _unit_arrivals(expected[-1], arrivals=arrivals, seed=seed)
    segment = np.clip(np.searchsorted(expected, units, side="right") - 1, 0, len(lengths) - 1)
    rest = units - expected[segment]
    slopes = np.divide(np.diff(rates), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    start, slope = rates[segment], slopes[segment]
    # rest = start·t + slope·t²/2, solved for t in the form that is stable where the slope is 0.
    root = np.sqrt(np.maximum(start**2 + 2 * slope * rest, 0))
    due: Times = times[segment] + 2 * rest / (start + root)
    return due


def _unit_arrivals(until: float, *, arrivals: Arrivals, seed: int) -> Times:
    if arrivals == "constant":
        units: Times = np.arange(0.0, until, dtype=np.float64)
        return units
    generator = np.random.default_rng(seed)
    gaps = generator.exponential(size=int(until + 10 * math.sqrt(until) + 20))
    units = np.cumsum(gaps)
    return units[units < until]
