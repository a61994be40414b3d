"""All benchmarks of this machine, one after another: `make bench`.

Quick by default: about six minutes, to see whether anything has changed for the worse. `--long`
takes about half an hour and gives figures to keep. Each benchmark writes a file to
benchmarks/results/; the table at the end says which goals were reached: a goal is only reached, or
missed, if the whole confidence interval says so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    cross_check,
    fast_form,
    faults,
    generator_limits,
    go_tools,
    load_generator,
    parts,
    serving,
)
from helpers import machine, settings
from helpers.errors import TutorialError
from helpers.load import results
from helpers.load.results import Result


@dataclass(frozen=True)
class Bench:
    """A benchmark as `make bench` runs it.

    Attributes:
        name: what it is called by on the command line.
        quick_s: about how long it takes, in seconds, on two slow cores.
        long_s: the same with `--long`.
        measure: takes whether it is the long form.
        table: the figures of its result, a line each, with the goals.
    """

    name: str
    quick_s: float
    long_s: float
    measure: Callable[[bool], Result]
    table: Callable[[Result], str]


def _serving(
    network: str, *, concurrencies: Sequence[int], quick_s: float, long_s: float
) -> Callable[[bool], Result]:
    return lambda long: serving.measure(
        network,
        concurrencies=concurrencies,
        batch=16,
        seconds=long_s if long else quick_s,
        rounds=6 if long else 2,
    )


def _cross_check(long: bool) -> Result:
    return cross_check.measure(
        ghz=go_tools.build("ghz"), rate_per_s=60, seconds=6 if long else 3, rounds=8 if long else 2
    )


BENCHES = (
    Bench(
        "load-generator", 30, 150,
        lambda long: load_generator.measure(
            rate_per_s=100, seconds=4 if long else 2, rounds=8 if long else 3
        ),
        load_generator.table,
    ),
    Bench(
        "generator-limits", 25, 90,
        lambda long: generator_limits.measure(
            requests=1_000_000 if long else 200_000, seconds=5 if long else 2
        ),
        generator_limits.table,
    ),
    Bench("faults", 45, 45, lambda _: faults.measure(), faults.table),
    Bench("cross-check", 45, 240, _cross_check, cross_check.table),
    Bench("serving-light", 60, 310,
          _serving("light", concurrencies=[1, 64], quick_s=4, long_s=10), serving.table),
    Bench("serving-inception_v3", 90, 500,
          _serving("inception_v3", concurrencies=[64], quick_s=12, long_s=30), serving.table),
    Bench(
        "serving-parts", 30, 120,
        lambda long: parts.measure(
            concurrency=64, batch=16, seconds=8 if long else 4, rounds=6 if long else 2
        ),
        parts.table,
    ),
    Bench(
        "fast-form", 90, 240,
        lambda long: fast_form.measure(batch=16, seconds=30 if long else 6),
        fast_form.table,
    ),
)  # fmt: skip


def run(bench: Bench, *, long: bool, folder: Path) -> tuple[str, Path | None]:
    """Runs one benchmark. Returns its table, or why there is none, and its file."""
    began = time.monotonic()
    about = bench.long_s if long else bench.quick_s
    print(f"\n== {bench.name}: about {about:.0f} s", flush=True)
    try:
        result = bench.measure(long)
        path = results.write(result, folder=folder)
    except TutorialError as error:
        return f"NOT MEASURED: {error}", None
    invalid = [f"INVALID {key}: {p}" for key, r in result.runs.items() for p in r.problems]
    text = "\n".join([bench.table(result), *invalid])
    print(f"{text}\n{path.name}, {time.monotonic() - began:.0f} s", flush=True)
    return text, path


def summary(tables: dict[str, str]) -> str:
    """A line for each goal: which benchmark, whether it was reached, and the figure."""
    rows = []
    for name, text in tables.items():
        for line in text.splitlines():
            for word in ("MISSED", "NOT MEASURED", "INVALID", "not told", "reached"):
                if word in line:
                    rows.append((word, name, line))
                    break
    if not rows:
        return "no goal is set for what was measured"
    width = max(len(name) for _, name, _ in rows)
    return "\n".join(f"{word:<12}  {name:<{width}}  {line}" for word, name, line in rows)


def main(arguments: list[str] | None = None) -> int:
    """Runs them. Returns the exit status: 1 if one couldn't be measured."""
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--long", action="store_true", help="figures to keep")
    parser.add_argument("--folder", type=Path, default=None, help="where the results go")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [bench for bench in BENCHES if not options.names or bench.name in options.names]
    folder = options.folder or settings.RESULTS
    about = sum(bench.long_s if options.long else bench.quick_s for bench in chosen)
    where = machine.describe()
    print(
        f"{len(chosen)} benchmarks, about {about / 60:.0f} minutes, on {where['processor_class']} "
        f"with {where['cores']} cores. Leave the machine alone meanwhile."
    )
    tables = {bench.name: run(bench, long=options.long, folder=folder) for bench in chosen}
    print(f"\n{summary({name: text for name, (text, _) in tables.items()})}")
    print(f"\nresults: {folder}")
    return int(any(path is None for _, path in tables.values()))


if __name__ == "__main__":
    sys.exit(main())
