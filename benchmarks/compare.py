"""Two results side by side: what changed, and what is noise.

make bench-compare A=benchmarks/results/before.json B=benchmarks/results/after.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helpers.errors import TutorialError
from helpers.load import results
from helpers.load.results import Difference


def table(differences: list[Difference]) -> str:
    """A line for each figure that both results have."""
    rows = [("figure", "before", "after", "ratio", "95 % interval", "")]
    rows += [
        (d.name, _number(d.before), _number(d.after), *_quotient(d))
        for d in differences
        if d.before is not None or d.after is not None
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, 4, 5) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _quotient(difference: Difference) -> tuple[str, str, str]:
    ratio = difference.ratio
    if ratio is None:
        return "", "", "not enough samples"
    known = ratio.interval.low is not None and ratio.interval.high is not None
    verdict = "may be noise" if ratio.is_noise else "higher" if ratio.value > 1 else "lower"
    return (
        f"{ratio.value:.3f}",
        str(ratio.interval),
        verdict if known else f"{verdict} (one round)",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def main() -> int:
    """Prints the comparison. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    try:
        before, after = results.read(options.before), results.read(options.after)
        differences = results.compare(before, after)
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 1
    for name, result in (("before", before), ("after", after)):
        revision = (result.git["revision"] or "no git revision")[:12]
        print(f"{name}: {result.name}, {result.taken_at}, {revision}, {result.machine}")
        for key, run in result.runs.items():
            for problem in run.problems:
                print(f"  {key} is INVALID: {problem}")
    print(table(differences))
    return 0


if __name__ == "__main__":
    sys.exit(main())
