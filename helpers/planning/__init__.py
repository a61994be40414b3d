"""How many machines a load needs, and what a million answers cost, from what was measured."""

from helpers.planning.capacity import (
    PRICES,
    Cost,
    Fleet,
    MachineType,
    Prices,
    costs,
    fleet,
    usd_per_million,
)

__all__ = [
    "PRICES",
    "Cost",
    "Fleet",
    "MachineType",
    "Prices",
    "costs",
    "fleet",
    "usd_per_million",
]
