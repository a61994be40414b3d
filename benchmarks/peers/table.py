"""What the rounds came to: figures, and the table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from helpers import stats
from helpers.load.results import Figure, RecordedRun, Result

IN_PROCESS, FAST = "in process", "in process, fast form"
OPENVINO = "in process, OpenVINO"
TOLERANCE = 1e-4  # of the best score: some write fewer digits than others
_OURS = "ours, "
_DISTURBED_CORES = 0.4


def with_figures(result: Result) -> Result:
    """The result with the means over its rounds among its figures."""
    figures = dict(result.figures)
    alone = {n: _turns(result, n) for n in (IN_PROCESS, FAST, OPENVINO) if _turns(result, n)}
    for name, rates in alone.items():
        figures[name] = Figure(*stats.mean(list(rates.values())), "images/s")
    for name, runs in servers(result).items():
        rates = {number: run.summary.throughput_per_s for number, run in runs.items()}
        figures[f"{name}: images/s"] = Figure(*stats.mean(list(rates.values())), "images/s")
        if IN_PROCESS in alone:
            figures[f"{name}: of in process"] = _ratio(rates, alone[IN_PROCESS])
        for key, unit in [("cpu_ms", "ms"), ("start_s", "s"), ("memory_mib", "MiB")]:
            values = [run.settings[key] for run in runs.values()]
            figures[f"{name}: {key}"] = Figure(*stats.mean(values), unit)
    if FAST in alone and OPENVINO in alone:
        figures["fast form over OpenVINO"] = _ratio(alone[FAST], alone[OPENVINO])
    return replace(result, figures=figures)


def servers(result: Result) -> dict[str, dict[int, RecordedRun]]:
    """The runs of each server, by the number of their round."""
    found: dict[str, dict[int, RecordedRun]] = {}
    for key, run in result.runs.items():
        name, _, number = key.partition(", round ")
        found.setdefault(name, {})[int(number)] = run
    return found


def markdown(result: Result) -> str:
    """The table: servers by images a second, then the model without one."""
    figures, machine = result.figures, result.machine
    rows = []
    for name, turns in servers(result).items():
        runs = list(turns.values())
        pooled = stats.pooled([run.summary for run in runs])
        share = figures.get(f"{name}: of in process")
        rows.append(
            (
                pooled.throughput_per_s,
                [
                    f"**{name}**" if name.startswith(_OURS) else name,
                    f"{pooled.throughput_per_s:.4g}",
                    f"{share.value:.2f}" if share else "",
                    _ms(pooled.p50_ms),
                    _ms(pooled.p99_ms),
                    *(
                        f"{figures[f'{name}: {key}'].value:{form}}"
                        for key, form in [("cpu_ms", ".3g"), ("start_s", ".1f")]
                    ),
                    f"{figures[f'{name}: memory_mib'].value:.0f}",
                    f"{runs[0].settings['lines']}",
                    _same(runs),
                    _set_up(result, runs[0]),
                ],
            )
        )
    lines = [_row(row) for _, row in sorted(rows, key=lambda row: -row[0])]
    for name in (IN_PROCESS, FAST, OPENVINO):
        if name in figures:
            rate, base = figures[name].value, figures[IN_PROCESS].value
            lines.append(_row([f"*{name}*", f"{rate:.4g}", f"{rate / base:.2f}", *[""] * 8]))
    for key in figures:
        if key.endswith(", failed"):
            lines.append(_row([key.removesuffix(", failed"), "doesn't start here", *[""] * 9]))
    return "\n".join(
        [
            f"{_about(result)}, {result.taken_at[:10]}, {machine['cores']} cores "
            f"({machine['processor_class']}), {machine['memory_gib']} GiB.",
            "",
            _row(_HEAD),
            _row(["---", *["---:"] * 8, "---", "---"]),
            *lines,
            "",
            *_problems(result),
        ]
    )


_HEAD = [
    "", "images/s", "of in process", "p50 ms", "p99 ms", "CPU ms a request", "start s",
    "memory MiB", "lines", "answers", "version and settings",
]  # fmt: skip


def _about(result: Result) -> str:
    run = next(iter(result.runs.values()))
    rounds = max(len(runs) for runs in servers(result).values())
    network = result.name.removeprefix("peers-").replace("-", "_")
    return (
        f"`{network}`, {run.settings['concurrency']} requests at a time, one photo each, "
        f"{rounds} rounds of {run.summary.duration_s:g} s"
    )


def _problems(result: Result) -> list[str]:
    """What takes away from the figures: failures, and runs in which the generator was short."""
    found = []
    for key, run in result.runs.items():
        failed = ", ".join(f"{n} {code}" for code, n in run.summary.failures.items())
        found += [f"- {key}: {text}" for text in [failed, *run.problems, _disturbed(run)] if text]
    return found


def _disturbed(run: RecordedRun) -> str:
    """What other programs took away; nothing if it was little, the generator's part included."""
    seconds = run.settings["duration_s"] + run.settings["warmup_s"]
    share = run.settings.get("others_cpu_s", 0.0) / seconds
    return f"other programs took {share:.1f} cores" if share > _DISTURBED_CORES else ""


def _turns(result: Result, name: str) -> dict[int, float]:
    """The images a second of a model without a server, by the number of its round."""
    start = f"{name}, round "
    numbers = {key: key.removeprefix(start) for key in result.figures if key.startswith(start)}
    return {int(n): result.figures[key].value for key, n in numbers.items() if n.isdecimal()}


def _ratio(rates: Mapping[int, float], base: Mapping[int, float]) -> Figure:
    """The mean of each round's ratio: what a round's machine was like is in both."""
    return Figure(*stats.mean([rates[n] / base[n] for n in sorted(rates.keys() & base.keys())]))


def _set_up(result: Result, run: RecordedRun) -> str:
    """What was measured; results of before say nothing of it."""
    package = run.settings.get("package", "")
    known = [result.versions.get(package, ""), run.settings.get("server_settings", "")]
    return "; ".join(filter(None, [f"{package} {known[0]}".strip(), known[1]]))


def _same(runs: Sequence[RecordedRun]) -> str:
    others = max(run.settings["other_labels"] for run in runs)
    worst = max(run.settings["worst_score"] for run in runs)
    if others:
        return f"{others} photos differ"
    return "same" if worst <= TOLERANCE else f"same labels, scores {worst:.1%} off"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ms(value: float | None) -> str:
    return "too few" if value is None else f"{value:.4g}"
