"""Benchmarks as data: one JSON file each, checked against a schema, written whole or not at all.

path = results.write(results.Result.now("serving-light", runs={"served": run}))
results.compare(results.read(before), results.read(path))
"""

from helpers.load.results.comparison import Difference, compare
from helpers.load.results.files import keep, read, write
from helpers.load.results.goals import verdict
from helpers.load.results.record import Figure, RecordedRun, Result

__all__ = [
    "Difference",
    "Figure",
    "RecordedRun",
    "Result",
    "compare",
    "keep",
    "read",
    "verdict",
    "write",
]
