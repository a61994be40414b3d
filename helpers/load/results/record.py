"""What is kept of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from helpers import machine
from helpers.load import Run
from helpers.stats import Interval, Summary, pooled

SCHEMA = 2  # raised when a reader of the last one would misread a file


@dataclass(frozen=True)
class Figure:
    """A number that a benchmark was made for.

    Attributes:
        value: the number.
        interval: its 95 % confidence interval, as far as there is one.
        unit: such as `images/s`; empty for a ratio.
    """

    value: float
    interval: Interval = field(default_factory=lambda: Interval(None, None))
    unit: str = ""

    @classmethod
    def exact(cls, value: float, unit: str = "") -> Figure:
        """A number that was counted: measured again under the same conditions it is the same."""
        return cls(value, Interval(value, value), unit)


@dataclass(frozen=True)
class RecordedRun:
    """A run as a file keeps it: its figures and its histogram, not its records.

    Attributes:
        settings: what was asked for.
        problems: why the run is invalid; empty if it is valid.
        notes: what a reader of the figures has to know, though they hold.
        generators: what each generator process used, as plain data.
        lateness_ms: how late the generators sent, `p50`, `p99` and `max`; None in a closed loop.
        details: for each failure's code, the first message that it came with.
        summary: the figures.
    """

    settings: Mapping[str, Any]
    problems: tuple[str, ...]
    generators: tuple[Mapping[str, Any], ...]
    details: Mapping[str, str]
    summary: Summary
    lateness_ms: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run) -> RecordedRun:
        """What is kept of a run."""
        return cls(
            settings=dict(run.settings),
            problems=run.problems,
            generators=tuple(asdict(g) for g in run.generators),
            details=dict(run.details),
            summary=run.summary(),
            lateness_ms=run.lateness_ms,
            notes=run.notes,
        )


@dataclass(frozen=True)
class Result:
    """A benchmark that was run once.

    Attributes:
        name: which benchmark, such as `serving-light`.
        taken_at: when it ended, UTC, ISO 8601.
        machine: system, architecture, class of the processor, cores, memory.
        versions: Python's and the packages' that decide about figures.
        git: the revision measured, and whether there were changes on top of it.
        runs: the runs it consists of, by name.
        figures: the numbers it was made for, by name.
        path: the file that it was read from; None before it is in one.
    """

    name: str
    taken_at: str
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    git: Mapping[str, Any]
    runs: Mapping[str, RecordedRun]
    figures: Mapping[str, Figure]
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def now(
        cls, name: str, *, runs: Mapping[str, Run], figures: Mapping[str, Figure] | None = None
    ) -> Result:
        """A result of runs that have just ended on this machine.

        Raises:
            NoRequestsError: a run has no finished request.
        """
        return cls(
            name=name,
            taken_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine=machine.describe(),
            versions=machine.versions(),
            git=git_revision(),
            runs={key: RecordedRun.of(run) for key, run in runs.items()},
            figures=dict(figures or {}),
        )

    def rounds(self) -> dict[str, list[Summary]]:
        """The runs' figures, those of `NAME, round 1`, `NAME, round 2`, … together under NAME."""
        found: dict[str, list[Summary]] = {}
        for key, run in self.runs.items():
            found.setdefault(key.partition(", round ")[0], []).append(run.summary)
        return found

    def by(self, *settings: str) -> dict[Any, Summary]:
        """The runs' figures by what was varied, in its order; runs of the same value are pooled.

        Args:
            settings: names of settings, such as `concurrency`. The keys are the values: of one
                setting, or tuples of several. Runs without these settings are left out.
        """
        found: dict[Any, list[Summary]] = {}
        for run in self.runs.values():
            values = tuple(run.settings.get(name) for name in settings)
            if None not in values:
                found.setdefault(values if len(values) > 1 else values[0], []).append(run.summary)
        return {value: pooled(found[value]) for value in sorted(found)}

    def nested(self) -> dict[str, dict[str, float]]:
        """The values of figures that are named `WHAT: PART`, by what and part."""
        found: dict[str, dict[str, float]] = {}
        for name, figure in self.figures.items():
            what, colon, part = name.partition(": ")
            if colon:
                found.setdefault(what, {})[part] = figure.value
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data that fits the schema."""
        runs = {k: {**vars(r), "summary": r.summary.to_json()} for k, r in self.runs.items()}
        figures = {k: {**vars(f), "interval": _pair(f.interval)} for k, f in self.figures.items()}
        fields = {name: value for name, value in vars(self).items() if name != "path"}
        return {"schema": SCHEMA, **fields, "runs": runs, "figures": figures}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Result:
        """What `to_json` gave."""
        runs = {
            key: RecordedRun(
                **{
                    **run,
                    "problems": tuple(run["problems"]),
                    "notes": tuple(run.get("notes", ())),
                    "generators": tuple(run["generators"]),
                    "summary": Summary.from_json(run["summary"]),
                }
            )
            for key, run in data["runs"].items()
        }
        figures = {
            key: Figure(f["value"], Interval(*f["interval"]), f["unit"])
            for key, f in data["figures"].items()
        }
        fields = {name: value for name, value in data.items() if name != "schema"}
        return cls(**{**fields, "runs": runs, "figures": figures})


def git_revision() -> dict[str, Any]:
    """The revision of this tree, and whether files differ from it; None where git can't tell."""
    revision, changed = machine.git("rev-parse", "HEAD"), machine.git("status", "--porcelain")
    return {"revision": revision or None, "changed": None if changed is None else bool(changed)}


def _pair(interval: Interval) -> list[float | None]:
    return [interval.low, interval.high]
