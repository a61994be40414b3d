"""What was broken and what that cost, and the table that says so: a row for each fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_GLUE = "\u00a0"  # a space at which no line is broken


@dataclass(frozen=True)
class Moment:
    """The replicas at a moment.

    Args:
        at_s: on the drill's clock.
        ready: how many are ready; None while the cluster can't be asked.
        all: how many there are, ready or not.
        restarts: how often their servers have been started again, all together.
    """

    at_s: float
    ready: int | None
    all: int
    restarts: int = 0


@dataclass(frozen=True)
class Fault:
    """What was broken, and what it cost.

    Args:
        name: in a few words.
        saved_by: what saved a client from it, by client; nothing for those that weren't saved.
        began_s: when it began, on the drill's clock.
        ended_s: when it was over for all clients and replicas.
        took_s: seconds until what was done was done: for a roll-out, until the cluster said so.
        requests: due meanwhile, by client.
        lost: those without an answer, by client.
        p90_ms: of the answered ones, by client; None of fewer than ten.
        disturbed_s: seconds from the beginning until the last lost or slow request ended, by
            client.
        ready_s: seconds until all replicas were ready again; 0: they were all the time.
        unready_s: seconds until the first replica was no longer ready; None: they all were.
        why: the codes of the lost requests.
    """

    name: str
    saved_by: Mapping[str, str]
    began_s: float
    ended_s: float
    took_s: float
    requests: Mapping[str, int]
    lost: Mapping[str, int]
    p90_ms: Mapping[str, float | None]
    disturbed_s: Mapping[str, float]
    ready_s: float
    unready_s: float | None = None
    why: Mapping[str, int] = field(default_factory=dict)

    def row(self) -> dict[tuple[str, str], str]:
        """The columns of the table by group, which is a client or the replicas, and title."""
        found = {}
        for client, lost in self.lost.items():
            p90 = self.p90_ms[client]
            found[client, "lost"] = f"{lost} of {self.requests[client]}"
            found[client, "p90"] = "too few" if p90 is None else f"{p90:,.0f} ms"
            found[client, "disturbed for"] = f"{self.disturbed_s[client]:.1f} s"
            found[client, "what saved it"] = self.saved_by.get(client, "")
        found["replicas", "all back after"] = f"{self.ready_s:.1f} s" if self.ready_s else "–"
        return {
            key: text if key[1] == "what saved it" else text.replace(" ", _GLUE)
            for key, text in found.items()
        }

    def __repr__(self) -> str:
        return str(table([self]).to_string())

    def _repr_html_(self) -> str:
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):
            return str(table([self])._repr_html_())


def table(faults: Sequence[Fault]) -> Any:
    """The faults as a data frame: a row for each, a group of columns for each client.

    What saved a client is a column of those clients only that any of the faults names one for.
    """
    import pandas as pd

    rows = [fault.row() for fault in faults]
    titles = list(dict.fromkeys(key for row in rows for key in row if key[0] != "replicas"))
    titles = [key for key in titles if key[1] != "what saved it" or any(r.get(key) for r in rows)]
    titles.append(("replicas", "all back after"))
    return pd.DataFrame(
        [[row.get(key, "") for key in titles] for row in rows],
        columns=pd.MultiIndex.from_tuples(titles),
        index=[fault.name for fault in faults],
    )
