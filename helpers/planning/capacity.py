"""What a load costs: machines for it, and dollars for a million images.

Prices are in one dated file, `helpers/planning/prices.json`. A speed is measured as it stands; or
projected, which is to say multiplied: by the share of it that an objective leaves, or by the number
of cores on the same class of processor; or not known. Which of the three is said with every figure.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from helpers.errors import SetupError

PRICES = Path(__file__).parent / "prices.json"

Basis = Literal["measured", "projected", "not measured"]


@dataclass(frozen=True)
class MachineType:
    """A machine that can be rented.

    Attributes:
        name: the provider's.
        provider: who rents it out.
        vcpus: hardware threads: half a core each, except where a core has one thread (Arm, AMD's
            seventh generation on AWS).
        processor_class: as `helpers.machine.processor` names it.
        gpu: its GPU's name; empty without one.
        usd_per_hour: list price on demand.
    """

    name: str
    provider: str
    vcpus: int
    processor_class: str
    gpu: str
    usd_per_hour: float


@dataclass(frozen=True)
class Prices:
    """The price file.

    Attributes:
        collected: the day it is of.
        what: what the prices include.
        machines: the machine types.
    """

    collected: date
    what: str
    machines: tuple[MachineType, ...]

    @classmethod
    def read(cls, path: Path = PRICES) -> Prices:
        """Reads a price file.

        Raises:
            SetupError: it isn't there, is cut off, or has a price that isn't positive.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            machines = tuple(MachineType(**machine) for machine in data["machines"])
            if not machines or not all(m.usd_per_hour > 0 and m.vcpus > 0 for m in machines):
                raise ValueError("a machine type without a price or without processors")
            return cls(date.fromisoformat(data["collected"]), data["what"], machines)
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise SetupError(
                f"{path} can't be read as a list of prices",
                cause=getattr(error, "strerror", None) or cause,
                next_step=f"Compare it with the one in git: git diff {PRICES}.",
            ) from error


@dataclass(frozen=True)
class Cost:
    """What images cost on a machine type.

    Attributes:
        machine: the type.
        images_per_s: how many it classifies; None if nobody knows.
        basis: where that comes from.
        usd_per_million: dollars for a million images on it, kept busy; None without a speed.
        even_at_per_s: the images a second at which it costs as much as the cheapest known one.
    """

    machine: MachineType
    images_per_s: float | None
    basis: Basis
    usd_per_million: float | None
    even_at_per_s: float | None

    def __str__(self) -> str:
        name = f"{self.machine.provider} {self.machine.name}"
        if self.usd_per_million is None:
            return f"{name}: {self.basis}"
        return (
            f"{name}: ${self.usd_per_million:.2f} per million images, at {self.images_per_s:.1f} "
            f"images/s ({self.basis})"
        )

    __repr__ = __str__


def usd_per_million(usd_per_hour: float, images_per_s: float) -> float:
    """Dollars for a million images on a machine that is kept busy."""
    return usd_per_hour / 3600 / images_per_s * 1e6


def costs(
    prices: Prices,
    *,
    images_per_s: float,
    cores: int,
    processor_class: str,
    share: float = 1.0,
    machine_type: str | None = None,
) -> list[Cost]:
    """What a million images cost on each machine type, after a measurement on this machine.

    A type with the same class of processor and no GPU is projected: images/s grow with the cores,
    which is what they do at best. Other classes, and GPUs, are not projected: measure there.

    Args:
        prices: see `Prices.read`.
        images_per_s: measured here, with all cores.
        cores: that this machine has.
        processor_class: this machine's.
        share: of that speed, what a machine may be given: where it was measured at saturation,
            the share at which the objective still holds. Under 1, every speed is projected.
        machine_type: the name of the type that this machine is, if it is one of them.

    Returns:
        Those with a speed first, the cheapest a million first.

    Raises:
        ValueError: the share isn't one.
        SetupError: there is no such machine type.
    """
    if not 0 < share <= 1:
        raise ValueError(f"{share} is not a share of what a machine can do")
    names = [machine.name for machine in prices.machines]
    if machine_type is not None and machine_type not in names:
        raise SetupError(
            f"There is no price of a machine type {machine_type}",
            cause=f"the list has {', '.join(names)}",
            next_step="Name one of these, or add yours to helpers/planning/prices.json.",
        )
    found = []
    for machine in prices.machines:
        speed: float | None = None
        basis: Basis = "not measured"
        if machine.name == machine_type:
            speed, basis = share * images_per_s, "measured" if share == 1 else "projected"
        elif machine.processor_class == processor_class and not machine.gpu:
            speed, basis = share * images_per_s / cores * machine.vcpus, "projected"
        million = speed and usd_per_million(machine.usd_per_hour, speed)
        found.append((machine, speed, basis, million))
    known = [million for *_, million in found if million]
    least = min(known) if known else None
    table = [
        Cost(m, speed, basis, million, least and usd_per_million(m.usd_per_hour, least))
        for m, speed, basis, million in found
    ]
    return sorted(table, key=lambda c: (c.usd_per_million is None, c.usd_per_million or 0.0))


@dataclass(frozen=True)
class Fleet:
    """Machines for a load.

    Attributes:
        machines: how many, the spare ones included.
        usd_per_hour: for all of them.
        busy: the share of what they can do, under the objective, that the load asks for.
    """

    machines: int
    usd_per_hour: float
    busy: float

    def __str__(self) -> str:
        what = "machine" if self.machines == 1 else "machines"
        price = f"${self.usd_per_hour:.2f} per hour"
        return f"{self.machines} {what}, {price}, at {self.busy:.0%} of their load"

    __repr__ = __str__


def fleet(cost: Cost, *, load_per_s: float, spare: int = 1) -> Fleet:
    """How many machines of a type a load needs.

    Args:
        cost: of a type with a known speed, which is that under the latency objective.
        load_per_s: images a second at the busiest hour.
        spare: machines that may be gone (a roll-out, a failure) without missing the objective.

    Raises:
        ValueError: the type's speed isn't known, or there is no load.
    """
    if not cost.images_per_s or not load_per_s > 0:
        raise ValueError(f"no fleet of {cost.machine.name} for {load_per_s} images/s")
    machines = math.ceil(load_per_s / cost.images_per_s) + spare
    return Fleet(
        machines,
        machines * cost.machine.usd_per_hour,
        load_per_s / (machines * cost.images_per_s),
    )
