"""How many machines a load needs, and what a million answers cost, from what was measured."""

from helpers.planning.capacity import (
    PRICES,
    Prices,
    costs,
    fleet,
)

__all__ = [
    "PRICES",
    "Prices",
    "costs",
    "fleet",
]
