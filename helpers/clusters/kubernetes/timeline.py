"""What happened to a pod and when, from its events and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from helpers.clusters.interface import Start


@dataclass(frozen=True)
class Event:
    """Something that the cluster reported.

    Args:
        at: when it was last seen.
        kind: `Normal` or `Warning`.
        reason: in a word: `Scheduled`, `Pulled`, `FailedScheduling`.
        about: kind and name of what it is about: `Pod/inception-…`.
        message: in words.
        count: how often it was seen.
    """

    at: datetime
    kind: str
    reason: str
    about: str
    message: str
    count: int = 1


def events(found: Sequence[Any]) -> list[Event]:
    """Events in the order in which they were last seen.

    Args:
        found: `CoreV1Event`s.
    """
    listed = [
        Event(
            at=event.last_timestamp or event.event_time or event.metadata.creation_timestamp,
            kind=event.type or "Normal",
            reason=event.reason or "",
            about=f"{event.involved_object.kind}/{event.involved_object.name}",
            message=(event.message or "").strip(),
            count=event.count or 1,
        )
        for event in found
    ]
    return sorted(listed, key=lambda event: event.at)


def start_of(pod: Any, found: Sequence[Event]) -> Start | None:
    """How a pod came up; None while it isn't ready. Kubernetes' clocks tick in whole seconds.

    Args:
        pod: a `V1Pod`.
        found: the namespace's events.
    """
    at = {c.type: c.last_transition_time for c in pod.status.conditions or () if c.status == "True"}
    statuses = pod.status.container_statuses or []
    running = statuses[0].state.running if statuses and statuses[0].state else None
    if "Ready" not in at or running is None:
        return None
    born = pod.metadata.creation_timestamp

    def since(moment: datetime) -> float:
        return max((moment - born).total_seconds(), 0.0)

    about = f"Pod/{pod.metadata.name}"
    pulled = [e.at for e in found if e.about == about and e.reason == "Pulled"]
    return Start(
        pod=pod.metadata.name,
        scheduled_s=since(at["PodScheduled"]),
        pulled_s=since(pulled[-1]) if pulled else since(running.started_at),
        started_s=since(running.started_at),
        ready_s=since(at["Ready"]),
    )
