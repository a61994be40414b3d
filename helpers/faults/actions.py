"""Faults of replicas: killed, frozen, slowed down."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import psutil
from PIL import Image

from helpers.client import Classifier
from helpers.clusters import Cluster, Pod
from helpers.errors import ClusterError, DeadlineError, ServerUnavailableError

if TYPE_CHECKING:
    from helpers.clusters.kubernetes import KubernetesCluster

_MOST_BOMBS = 10  # requests at most
_LOOK_S = 0.01  # between two looks at a server's memory
_PERIOD_S = 1.0  # of a slowed replica's stopping and going on


def kill(cluster: Cluster, pod: Pod) -> None:
    """Ends a replica's server at once (SIGKILL): it can't say goodbye to anybody.

    Raises:
        ClusterError: it can't be reached.
    """
    _signal(cluster, pod, "KILL")


def kill_all(cluster: Cluster) -> None:
    """The same for all replicas at the same moment, as a bad configuration or a power cut does.

    Raises:
        ClusterError: one can't be reached.
    """
    pods = cluster.pods()
    with ThreadPoolExecutor(len(pods) or 1) as pool:
        list(pool.map(lambda pod: kill(cluster, pod), pods))


def freeze(cluster: Cluster, pod: Pod) -> None:
    """Stops a replica's server where it is (SIGSTOP): its connections stay, nothing answers.

    Raises:
        ClusterError: it can't be reached.
    """
    _signal(cluster, pod, "STOP")


@contextmanager
def slowed(cluster: Cluster, pod: Pod, *, share: float = 0.1) -> Iterator[None]:
    """Leaves a replica's server a share of the time, as a noisy neighbour does.

    Args:
        cluster: where it runs.
        pod: one of `cluster.pods()`.
        share: of the time in which it runs; otherwise it is stopped.

    Raises:
        ClusterError: it can't be reached.
    """
    run_s, stop_s = share * _PERIOD_S, (1 - share) * _PERIOD_S
    if cluster.target == "kubernetes":
        # One shell in the pod does it all: a call of the API for each stop would take too long.
        loop = f"while kill -STOP -1; sleep {stop_s:.3f}; kill -CONT -1; do sleep {run_s:.3f}; done"
        inside(cluster, pod, f"(trap '' HUP; {loop}) >/dev/null 2>&1 & echo $! >/tmp/slowed")
        try:
            yield
        finally:
            inside(cluster, pod, "kill -KILL $(cat /tmp/slowed); kill -CONT -1; true")
        return
    ended = threading.Event()

    def stop_and_go() -> None:
        try:
            while not ended.is_set():
                _own(pod, signal.SIGSTOP)
                ended.wait(stop_s)
                _own(pod, signal.SIGCONT)
                ended.wait(run_s)
        except ClusterError:
            return  # it was restarted meanwhile, by its liveness probe

    _own(pod, signal.SIGCONT)
    thread = threading.Thread(target=stop_and_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def exhaust_memory(cluster: Cluster, pod: Pod) -> None:
    """Has a replica's own server take more memory than its limit allows, on `kubernetes`.

    Not a program beside it, which the kernel might end in its place: large photos, many at a time.

    Raises:
        ClusterError: the replica has no address.
    """
    if not pod.address:
        raise ClusterError(f"{pod.name} has no address", next_step="Wait until it is ready.")
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(buffer, "JPEG", quality=30)  # 432 MB as float32
    photo = buffer.getvalue()
    with Classifier(pod.address, max_attempts=1) as classifier:
        for _ in range(_MOST_BOMBS):
            try:
                classifier.classify([photo] * 8, timeout_s=30)
            except (ServerUnavailableError, DeadlineError):
                return  # it was ended


def memory_taken(cluster: Cluster, pod: Pod, action: Callable[[], Any]) -> int:
    """How much more memory a replica's server holds at its highest while something is done.

    Args:
        cluster: where it runs.
        pod: one of `cluster.pods()`.
        action: what is done meanwhile; its errors pass.

    Returns:
        Bytes of resident memory; on `kubernetes` over the most that it had ever held before.

    Raises:
        ClusterError: it can't be asked.
    """
    before = most = _memory(cluster, pod)
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(action)
        while not wait([doing], timeout=_LOOK_S).done:
            most = max(most, _memory(cluster, pod))
        doing.result()
    return max(most, _memory(cluster, pod)) - before


def _memory(cluster: Cluster, pod: Pod) -> int:
    if cluster.target == "kubernetes":
        # The most that a process of this user has held, which in the pod is the server.
        lines = inside(cluster, pod, "grep -h VmHWM /proc/[0-9]*/status 2>/dev/null; true")
        return max((1024 * int(line.split()[1]) for line in lines.splitlines()), default=0)
    try:
        return int(psutil.Process(pod.pid).memory_info().rss)
    except psutil.Error as error:
        raise ClusterError(
            f"the memory of {pod.name} can't be read",
            cause=str(error),
            next_step="See which replicas run: `pods()`.",
        ) from error


def inside(cluster: Cluster, pod: Pod, script: str) -> str:
    """What a shell in a replica's container says to a script, on `kubernetes`: errors, too.

    Raises:
        ClusterError: there is no shell, or no such pod.
    """
    from helpers.clusters.kubernetes import execution

    run: Sequence[str] = ["sh", "-c", script]
    return execution.run(cast("KubernetesCluster", cluster), pod.name, run).strip()


def _signal(cluster: Cluster, pod: Pod, name: str) -> None:
    if cluster.target == "kubernetes":
        # To all that this user may signal but the shell itself: in the pod that is the server.
        inside(cluster, pod, f"kill -s {name} -- -1")
    else:
        _own(pod, signal.Signals[f"SIG{name}"])


def _own(pod: Pod, number: signal.Signals) -> None:
    try:
        if pod.pid is None:
            raise ProcessLookupError("it has no process")
        os.kill(pod.pid, number)
    except OSError as error:
        raise ClusterError(
            f"{pod.name} can't be sent {number.name}",
            cause=str(error),
            next_step="See which replicas run: `pods()`.",
        ) from error
