"""What each measure of the fast form brings: images a second in process over the plain form's.

    python -m benchmarks.fast_form --seconds 20

All forms take turns batch by batch, so that the machine's drift hits them alike; each turn gives
one ratio, and the intervals come from the turns.
"""

from __future__ import annotations

import argparse

from helpers import settings, stats
from helpers.export import export, speed
from helpers.load import results
from helpers.load.results import Figure, Result

GOALS = {"amx": 2.9, "avx2": 1.2}  # by class of processor; others have none


def measure(*, batch: int, seconds: float) -> Result:
    """Measures the forms of Inception-v3.

    Args:
        batch: photos that are classified together.
        seconds: for each form.
    """
    plain, fast = export(settings.MODELS), export(settings.MODELS_FAST, form="fast")
    speeds = speed.measure(plain, fast, seconds=seconds, batch_size=batch).speeds
    figures: dict[str, Figure] = {}
    for name, found in speeds.items():
        turns = list(zip(speeds[speed.PLAIN].batch_seconds, found.batch_seconds, strict=False))
        rates = [batch / took for took in found.batch_seconds]
        figures[f"images_per_s: {name}"] = Figure(*stats.mean(rates), "images/s")
        figures[f"over_plain: {name}"] = Figure(*stats.mean([p / f for p, f in turns]))
        # In processor time: it stays meaningful while other programs run.
        figures[f"cpu_over_plain: {name}"] = Figure(
            found.images_per_cpu_s / speeds[speed.PLAIN].images_per_cpu_s
        )
    last = list(speeds)[-1]
    figures["fast_over_plain"] = figures[f"over_plain: {last}"]
    figures["cpu_fast_over_plain"] = figures[f"cpu_over_plain: {last}"]
    return Result.now("fast-form", runs={}, figures=figures)


def table(result: Result) -> str:
    """The figures of a result, a line for each form, and the goal."""
    lines = []
    for key, ratio in result.figures.items():
        if key.startswith("over_plain: "):
            name = key.removeprefix("over_plain: ")
            rate = result.figures[f"images_per_s: {name}"].value
            in_cpu = result.figures[f"cpu_over_plain: {name}"].value
            lines.append(
                f"{name}: {rate:.2f} images/s, {ratio.value:.2f} of plain ({ratio.interval}), "
                f"in processor time {in_cpu:.2f}"
            )
    processor = result.machine["processor_class"]
    if goal := GOALS.get(processor):
        fast = result.figures["fast_over_plain"]
        lines.append(
            f"goal on {processor}: {fast.value:.2f} of plain ({fast.interval}; "
            f"goal {goal} {results.verdict(fast, least=goal)})"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the result, prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=speed.BATCH_SIZE)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    result = measure(batch=options.batch, seconds=options.seconds)
    path = results.write(result)
    print(table(result))
    print(path)


if __name__ == "__main__":
    main()
