"""Load that isn't counted: so that no measurement pays for what a server does only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from helpers import settings
from helpers.errors import LoadError
from helpers.load.plans import TIMEOUT_S, connections_of, plan
from helpers.load.run import Run
from helpers.load.runner import execute

_TOO_LARGE = "INVALID_ARGUMENT"  # for a request with more photos than the server's largest batch


def warm(
    address: str | Sequence[str],
    photos: Sequence[Any],
    *,
    up_to: int,
    models: Sequence[str] = (settings.MODEL_NAME,),
    timeout_s: float = TIMEOUT_S,
) -> Run:
    """Sends each replica one request of each model and batch size that a measurement will meet.

    A server pays for the first batch of a size: memory, and the choice of kernels. Its warm-up file
    covers 1, 2 and 4 photos, since a replica that starts under load has no time for more; what
    comes with concurrent requests, up to the server's largest batch, is warmed by this.

    Args:
        address: those of the replicas themselves: behind one address that balances, not each of
            them is met.
        photos: as for `closed_loop`.
        up_to: the largest batch that will come: the concurrency of the load that follows. The sizes
            are the powers of two up to it.
        models: their names.
        timeout_s: for each request, in seconds.

    Returns:
        The requests, one after another. Those that are larger than the server's largest batch are
        among them as INVALID_ARGUMENT.

    Raises:
        LoadError: it can't be done as asked, or requests failed for another reason.
        ServerUnavailableError: nobody listens there.
    """
    sizes = [2**i for i in range(up_to.bit_length()) if 2**i <= up_to]
    given = [address] if isinstance(address, str) else list(address)
    replicas = len(connections_of(given))
    plans = [
        plan(
            given,
            photos,
            scenario="warm",
            duration_s=timeout_s * replicas * len(sizes) * len(models),
            warmup_s=0.0,
            concurrency=1,
            requests=replicas * len(sizes) * len(models),
            timeout_s=timeout_s,
            photos_per_request=size,
            model=model,
        )
        for model in models
        for size in sizes
    ]
    if not plans:
        raise LoadError("There is nothing to warm", next_step="Pass up_to=1 or more, and a model.")
    # Each connection has its turn with the first request before the second comes.
    requests = [one.requests[0] for one in plans for _ in range(replicas)]
    run = execute(replace(plans[0], requests=requests))
    failed = {name: text for name, text in run.details.items() if name != _TOO_LARGE}
    if len(run.records) < len(requests):
        failed["not sent"] = f"{len(requests) - len(run.records)} of {len(requests)} requests"
    if failed or not (run.records["code"] == 0).any():
        raise LoadError(
            f"{', '.join(given)} can't be warmed",
            cause="; ".join(f"{name}: {text}" for name, text in {**run.details, **failed}.items()),
            next_step="Is each model's name right, and does each replica serve it?",
        )
    return run
