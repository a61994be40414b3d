"""All benchmarks of this machine, one after another: `make bench`.

Quick by default: about seven minutes, to see whether anything has changed for the worse. `--long`
takes about half an hour and gives figures to keep; `--set rounds=4` changes an option. Each
benchmark writes a file to benchmarks/results/; the table at the end says which goals were reached:
a goal is only reached, or missed, if the whole confidence interval says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import (
    cross_check,
    fast_form,
    faults,
    generator_limits,
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
        measure: runs it.
        table: the figures of its result, a line each, with the goals.
        options: of `measure`.
        longer: those that `--long` changes.
    """

    name: str
    quick_s: float
    long_s: float
    measure: Callable[..., Result]
    table: Callable[[Result], str]
    options: Mapping[str, Any] = field(default_factory=dict)
    longer: Mapping[str, Any] = field(default_factory=dict)


BENCHES = (
    Bench(
        "load-generator", 30, 150, load_generator.measure, load_generator.table,
        {"rate_per_s": 100, "seconds": 2, "rounds": 3}, {"seconds": 4, "rounds": 8},
    ),
    Bench(
        "generator-limits", 25, 90, generator_limits.measure, generator_limits.table,
        {"requests": 200_000, "seconds": 2}, {"requests": 1_000_000, "seconds": 5},
    ),
    Bench("faults", 45, 45, faults.measure, faults.table),
    Bench(
        "cross-check", 45, 240, cross_check.measure, cross_check.table,
        {"rate_per_s": 60, "seconds": 3, "rounds": 2}, {"seconds": 6, "rounds": 8},
    ),
    Bench(
        "serving-light", 60, 310, serving.measure, serving.table,
        {"network": "light", "concurrencies": [1, 64], "batch": 16, "seconds": 4, "rounds": 2},
        {"seconds": 10, "rounds": 6},
    ),
    Bench(
        "serving-inception_v3", 90, 500, serving.measure, serving.table,
        {"network": "inception_v3", "concurrencies": [64], "batch": 16, "seconds": 12, "rounds": 2},
        {"seconds": 30, "rounds": 6},
    ),
    Bench(
        "serving-parts", 30, 120, parts.measure, parts.table,
        {"concurrency": 64, "batch": 16, "seconds": 4, "rounds": 2}, {"seconds": 8, "rounds": 6},
    ),
    Bench(
        "fast-form", 90, 240, fast_form.measure, fast_form.table,
        {"batch": 16, "seconds": 6}, {"seconds": 30},
    ),
)  # fmt: skip


def run(
    bench: Bench, *, long: bool, folder: Path, changed: Mapping[str, Any] | None = None
) -> tuple[str, Path | None]:
    """Runs one benchmark. Returns its table, or why there is none, and its file."""
    began = time.monotonic()
    about = bench.long_s if long else bench.quick_s
    print(f"\n== {bench.name}: about {about:.0f} s", flush=True)
    options = {**bench.options, **(bench.longer if long else {}), **(changed or {})}
    try:
        result = bench.measure(**options)
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


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def main(arguments: list[str] | None = None) -> int:
    """Runs them. Returns the exit status: 1 if one couldn't be measured."""
    names = [bench.name for bench in BENCHES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--long", action="store_true", help="figures to keep")
    parser.add_argument("--folder", type=Path, default=None, help="where the results go")
    parser.add_argument(
        "--set", nargs="+", type=_option, default=[], metavar="OPTION=VALUE", help="of `measure`"
    )
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
    changed = dict(options.set)
    for bench in chosen:
        if strange := set(changed) - set(bench.options):
            known = ", ".join(bench.options) or "none"
            parser.error(f"{bench.name} has no {', '.join(sorted(strange))}; it has {known}")
    tables = {
        bench.name: run(bench, long=options.long, folder=folder, changed=changed)
        for bench in chosen
    }
    print(f"\n{summary({name: text for name, (text, _) in tables.items()})}")
    print(f"\nresults: {folder}")
    return int(any(path is None for _, path in tables.values()))


if __name__ == "__main__":
    sys.exit(main())
