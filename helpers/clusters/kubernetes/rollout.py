"""Whether a Deployment has got where it should be, and if it never will: why not."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from helpers import settings
from helpers.clusters import diagnosis
from helpers.clusters.interface import Pod, Pods
from helpers.errors import NotReadyError

# Reasons of a waiting container that don't pass by themselves, and what to do about each. Not
# ErrImagePull: that is tried again soon, and becomes ImagePullBackOff if it fails again.
STUCK = {
    "ImagePullBackOff": "The node can't get the image: build it and load or push it where the "
    "cluster looks (notebook 03), and compare its name with the Deployment's.",
    "ErrImageNeverPull": "The node doesn't have the image and may not pull it: load it there.",
    "InvalidImageName": "Correct the image's name in the Deployment.",
    "CreateContainerConfigError": "A ConfigMap or Secret that the pod names is missing, or its "
    "user isn't allowed.",
    "CreateContainerError": "The container's command, user or mounts don't fit the image.",
    "RunContainerError": "The container's command isn't in the image.",
    "CrashLoopBackOff": "The server ended by itself: read its log with `logs()`.",
}
_PATIENCE_S = 10  # for pods that fit nowhere: a scheduler that was just asked, a pod just going


@dataclass(frozen=True)
class Rollout:
    """Where a Deployment is.

    Args:
        wanted: replicas asked for.
        ready: replicas of the newest revision that are ready: at least that many, since an older
            one that isn't ready is counted as if it were.
        others: pods beside those: of an older revision, not ready, or on their way out.
        done: as many ready replicas as asked for, all up to date, and no other.
        stuck: why it will never be done by itself; empty while it may.
        next_step: what to do about it.
        old: replicas of older revisions, ready or not.
    """

    wanted: int
    ready: int
    others: int
    done: bool
    stuck: str = ""
    next_step: str = ""
    old: int = 0

    @property
    def so_far(self) -> str:
        """How many are ready, in words; *new* ones where older ones may be serving meanwhile."""
        kind = "new replicas" if self.old else "replicas"
        return f"{min(self.ready, self.wanted)} of {self.wanted} {kind} ready"

    @property
    def beside(self) -> str:
        """How many more pods there are, in words that go on from `so_far`; empty for none."""
        count = self.others + max(self.ready - self.wanted, 0)
        enough = self.ready >= self.wanted and not self.old
        return f", {count} {'leaving' if enough else 'coming or going'}" if count else ""


def table(pods: Sequence[Any]) -> Pods:
    """`V1Pod`s as the tutorial shows them."""
    return Pods(_pod(pod) for pod in sorted(pods, key=lambda p: p.metadata.name))


def judge(deployment: Any, pods: Sequence[Any], events: Sequence[Any] = ()) -> Rollout:
    """Where a Deployment is, from what the API server says.

    Args:
        deployment: a `V1Deployment`.
        pods: its `V1Pod`s.
        events: the namespace's, which say whether nodes are being added.
    """
    status, wanted = deployment.status, deployment.spec.replicas or 0
    seen = (status.observed_generation or 0) >= deployment.metadata.generation
    # The API counts the ready ones of all revisions together. Those of the old one go on being
    # ready while the new one can't start, so they are taken off.
    old = max((status.replicas or 0) - (status.updated_replicas or 0), 0)
    ready = max((status.ready_replicas or 0) - old, 0) if seen else 0
    counts = (status.replicas, status.updated_replicas, status.ready_replicas)
    done = seen and all((count or 0) == wanted for count in counts) and len(pods) == wanted
    others = max(len(pods) - ready, 0)
    if done:
        return Rollout(wanted, ready, 0, done=True)
    stuck, next_step = _failed_to_create(status) if seen else ("", "")
    # While the controller is still taking pods away, the one that is stuck may be among them.
    shrinking = not seen or (status.updated_replicas or 0) > wanted
    for pod in pods:
        if not (stuck or shrinking) and pod.metadata.deletion_timestamp is None:
            stuck, next_step = _stuck(pod, pods, events)
    if not stuck and seen:
        late = _condition(status.conditions, "Progressing")
        if late is not None and late.reason == "ProgressDeadlineExceeded":
            stuck, next_step = late.message, "Read the pods' logs and events."
    return Rollout(wanted, ready, others, done=False, stuck=stuck, next_step=next_step, old=old)


def failure(rollout: Rollout, name: str, log: str = "", *, probe: str = "") -> NotReadyError:
    """The error of a rollout that is stuck.

    Args:
        rollout: with why it is.
        name: of the Deployment.
        log: of the replica that isn't ready.
        probe: what a probe last said of it.
    """
    tail = " / ".join(diagnosis.telling_lines(log))
    told = "; ".join(filter(None, [rollout.stuck, probe]))
    cause = f"{told}; its log ends: {tail}" if tail else told
    what = f"{name} has {rollout.so_far}, and won't have more"
    return NotReadyError(what, cause=cause, next_step=rollout.next_step)


def _pod(pod: Any) -> Pod:
    statuses = pod.status.container_statuses or []
    ready = _condition(pod.status.conditions, "Ready")
    address = pod.status.pod_ip or ""
    status, reason = _status(pod)
    born = pod.metadata.creation_timestamp
    return Pod(
        name=pod.metadata.name,
        status=status,
        ready=ready is not None and ready.status == "True" and status != "Terminating",
        restarts=sum(s.restart_count for s in statuses),
        age_s=max(time.time() - born.timestamp(), 0.0) if born else 0.0,
        address=f"{address}:{settings.GRPC_PORT}" if address else "",
        rest_address=f"{address}:{settings.REST_PORT}" if address else "",
        node=pod.spec.node_name or "",
        reason=reason,
    )


def _status(pod: Any) -> tuple[str, str]:
    """The word that `kubectl get pods` has in its STATUS column, and the reason in full."""
    if pod.metadata.deletion_timestamp is not None:
        return "Terminating", ""
    for container in _containers(pod):
        waiting = container.state.waiting if container.state else None
        if waiting is not None and waiting.reason not in (None, "PodInitializing"):
            return waiting.reason, waiting.message or ""
        ended = container.state.terminated if container.state else None
        if ended is not None and ended.exit_code:
            return ended.reason or "Error", f"exit code {ended.exit_code}"
    scheduled = _condition(pod.status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return "Pending", scheduled.message or ""
    return pod.status.phase or "Unknown", ""


def _stuck(pod: Any, pods: Sequence[Any], events: Sequence[Any]) -> tuple[str, str]:
    name = pod.metadata.name
    for container in _containers(pod):
        waiting = container.state.waiting if container.state else None
        if waiting is not None and waiting.reason in STUCK:
            last = container.last_state.terminated if container.last_state else None
            how = f", after exit code {last.exit_code} ({last.reason})" if last else ""
            words = f": {waiting.message}" if waiting.message else ""
            return f"{name} is in {waiting.reason}{how}{words}", STUCK[waiting.reason]
    scheduled = _condition(pod.status.conditions, "PodScheduled")
    if scheduled is None or scheduled.status != "False" or scheduled.reason != "Unschedulable":
        return "", ""
    waited_s = time.time() - pod.metadata.creation_timestamp.timestamp()
    room_to_come = any(p.metadata.deletion_timestamp is not None for p in pods) or any(
        event.reason == "TriggeredScaleUp" and event.involved_object.name == name
        for event in events
    )
    if room_to_come or waited_s < _PATIENCE_S:
        return "", ""
    short = re.findall(r"Insufficient ([\w./-]+?)(?=[,.]?(?:\s|$))", scheduled.message or "")
    step = f"Add nodes that have {' and '.join(sorted(set(short)))}, or s" if short else "S"
    return (
        f"{name} fits on no node: {scheduled.message}",
        f"{step}cale to fewer replicas. `kubectl describe nodes` shows what is taken.",
    )


def _failed_to_create(status: Any) -> tuple[str, str]:
    """Pods that the API server refuses: over the quota, or against the security standard."""
    failed = _condition(status.conditions, "ReplicaFailure")
    if failed is None or failed.status != "True":
        return "", ""
    words = failed.message or failed.reason or ""
    if "exceeded quota" in words:
        return words, "Scale to fewer replicas, or ask whoever runs the cluster for more."
    if "violates PodSecurity" in words:
        return words, "Correct the fields that it names in the Deployment."
    return words, "The message is the API server's; correct what it names."


def _containers(pod: Any) -> list[Any]:
    return [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]


def _condition(conditions: Sequence[Any] | None, kind: str) -> Any | None:
    return next((c for c in conditions or () if c.type == kind), None)
