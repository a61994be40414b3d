"""What queueing theory says of a run: Little's law, and how throughput grows with replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers.errors import NoRequestsError
from helpers.stats.digits import short
from helpers.stats.records import Records, within


@dataclass(frozen=True)
class LittlesLaw:
    """Both sides of Little's law, measured separately.

    Attributes:
        concurrency: requests in the system, averaged over time.
        throughput_per_s: requests that left it a second.
        latency_s: how long those took on average, in seconds.
    """

    concurrency: float
    throughput_per_s: float
    latency_s: float

    @property
    def ratio(self) -> float:
        """Throughput times latency over concurrency: 1 where the law holds."""
        return self.throughput_per_s * self.latency_s / self.concurrency


def littles_law(records: Records, *, duration_s: float) -> LittlesLaw:
    """Checks a run against concurrency = throughput * latency.

    It holds for any system in which as much leaves as arrives (Little 1961): a run that is far off
    wasn't steady, or wasn't measured right.

    Args:
        records: of dtype `RECORD`, with the warm-up, whose requests are in the system at the start.
        duration_s: the length of the measured window in seconds.

    Raises:
        NoRequestsError: no request ended in the window.
    """
    left = within(records, "done_s", duration_s)
    if not len(left):
        raise NoRequestsError(
            "Little's law can't be checked",
            cause="no request ended in the measured window",
            next_step="Measure for longer than a request takes.",
        )
    inside = np.minimum(records["done_s"], duration_s) - np.maximum(records["sent_s"], 0)
    return LittlesLaw(
        concurrency=float(np.maximum(inside, 0).sum()) / duration_s,
        throughput_per_s=len(left) / duration_s,
        latency_s=float((left["done_s"] - left["sent_s"]).mean()),
    )


def knee(points: Sequence[tuple[float, float]]) -> int:
    """Where latency bends: the point of the highest power, throughput over latency.

    Up to it, one per cent more throughput costs less than one per cent more latency; beyond it,
    more. (Kleinrock, Power and deterministic rules of thumb, ICC 1979.)

    Args:
        points: throughput and mean latency, in any units, above 0.

    Returns:
        The point's index.
    """
    powers = [throughput / latency for throughput, latency in points]
    return powers.index(max(powers))


@dataclass(frozen=True)
class Scalability:
    """The Universal Scalability Law, X(N) = gamma·N / (1 + alpha·(N - 1) + beta·N·(N - 1)).

    Attributes:
        gamma: throughput of one replica.
        alpha: contention: the share of the work that has to queue for something shared, 0 to 1.
        beta: coherency: the cost of agreeing with each other, which makes more replicas slower.
    """

    gamma: float
    alpha: float
    beta: float

    def __str__(self) -> str:
        return (
            f"one replica {short(self.gamma)}/s, contention {self.alpha:.1%}, "
            f"coherency {self.beta:.1%}"
        )

    __repr__ = __str__

    def throughput(self, replicas: float) -> float:
        """The throughput that the law foretells for so many replicas."""
        n = replicas
        return self.gamma * n / (1 + self.alpha * (n - 1) + self.beta * n * (n - 1))


def fit_scalability(replicas: Sequence[float], throughput: Sequence[float]) -> Scalability:
    """Fits the Universal Scalability Law to measured throughputs.

    N/X(N) = (1 - alpha)/gamma + alpha/gamma·N + beta/gamma·N·(N - 1) is linear in three factors,
    all 0 or more, since contention is a share of the work. So it is least squares with no factor
    below 0. (Gunther, Guerrilla Capacity Planning, chapters 4 and 5.)

    Args:
        replicas: how many there were; at least two different numbers.
        throughput: what was measured with each, in any unit.

    Raises:
        ValueError: fewer than two different numbers of replicas, or a throughput that isn't
            positive.
    """
    n, x = np.asarray(replicas, float), np.asarray(throughput, float)
    if len(set(replicas)) < 2 or len(n) != len(x) or not (x > 0).all():
        raise ValueError("the law needs positive throughputs at two numbers of replicas or more")
    terms = np.stack([np.ones_like(n), n, n * (n - 1)], axis=1)
    wanted = n / x / np.mean(n / x)  # of the size of 1, whatever the unit
    best, best_error = np.zeros(3), math.inf
    # Of all choices of factors that aren't 0, the one that fits best without any below 0. At least
    # one of the first two isn't: without both, one replica would be infinitely fast.
    for choice in _CHOICES if len(set(replicas)) > 2 else _CHOICES[:-1]:
        found = np.zeros(3)
        found[choice] = np.linalg.lstsq(terms[:, choice], wanted, rcond=None)[0]
        error = float(((terms @ found - wanted) ** 2).sum())
        if (found[choice] > 0).all() and error < best_error - 1e-12:
            best, best_error = found, error
    one = best[0] + best[1]
    return Scalability(
        float(1 / (one * np.mean(n / x))), float(best[1] / one), float(best[2] / one)
    )


_CHOICES = ([0], [1], [0, 1], [0, 2], [1, 2], [0, 1, 2])
