"""What each measure of the fast form brings: images per second in process over the plain form's.

    python -m benchmarks fast-form

All forms take turns batch by batch, so that the machine's drift hits them alike; each turn gives
one ratio, and the intervals come from the turns. All run with oneDNN's kernels, as `manifests/base`
has it, but for one plain form without them.
"""

from __future__ import annotations

from helpers import settings, stats
from helpers.export import export, speed
from helpers.load import results
from helpers.load.results import Figure, Result

# By class of processor, others have none: the figure and its goal. With AVX2 TensorFlow leaves
# oneDNN off, so there the goal is over the plain form as TensorFlow runs it by default.
GOALS = {"amx": ("fast_over_plain", 2.9), "avx2": ("fast_over_plain_without_onednn", 1.2)}


def measure(*, batch: int, seconds: float) -> Result:
    """Measures the forms of Inception-v3.

    Args:
        batch: photos that are classified together.
        seconds: for each form.
    """
    plain, fast = export(settings.MODELS), export(settings.MODELS_FAST, form="fast")
    measures = speed.measure(plain, fast, seconds=seconds, batch_size=batch)
    reference = measures.speeds[speed.PLAIN]
    figures: dict[str, Figure] = {}
    for name, found in measures.speeds.items():
        rates = [batch / took for took in found.batch_seconds]
        over = found.over(reference)
        figures[f"images_per_s: {name}"] = Figure(*stats.mean(rates), "images/s")
        figures[f"over_plain: {name}"] = Figure(over.value, over.interval)
        # In processor time: it stays meaningful while other programs run.
        figures[f"cpu_over_plain: {name}"] = Figure(
            found.images_per_cpu_s / reference.images_per_cpu_s
        )
    last = list(measures.speeds)[-1]
    figures["fast_over_plain"] = figures[f"over_plain: {last}"]
    figures["cpu_fast_over_plain"] = figures[f"cpu_over_plain: {last}"]
    # Over what TensorFlow's own defaults give where it leaves oneDNN off.
    over = measures.speeds[last].over(measures.speeds[speed.WITHOUT_ONEDNN])
    figures["fast_over_plain_without_onednn"] = Figure(over.value, over.interval)
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
    if processor in GOALS:
        name, goal = GOALS[processor]
        fast = result.figures[name]
        lines.append(
            f"goal on {processor}: {name} {fast.value:.2f} ({fast.interval}; "
            f"goal {goal} {results.verdict(fast, least=goal)})"
        )
    return "\n".join(lines)
