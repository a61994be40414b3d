"""How many machines a load needs, and what a million answers cost, from what was measured."""

from helpers.planning.capacity import Prices, costs, fleet

__all__ = ["Prices", "costs", "fleet"]
