"""The `kubernetes` target: replicas are pods of the cluster that a kubeconfig context names."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from kubernetes import client, watch

from helpers import settings
from helpers.closing import Closing
from helpers.clusters import diagnosis, metrics
from helpers.clusters.interface import BASE, Pod, Pods, Start
from helpers.clusters.kubernetes import connection, render, rollout, timeline
from helpers.clusters.kubernetes import kubeconfig as kubeconfig_
from helpers.clusters.kubernetes.applying import Applier
from helpers.clusters.kubernetes.inventory import Inventory
from helpers.clusters.kubernetes.problems import translated
from helpers.clusters.kubernetes.routes import Routes
from helpers.errors import ClusterError, NotReadyError
from helpers.progress import Line

NAMESPACE = "inception-tutorial"
_METRICS = "monitoring/prometheus/metrics"


class KubernetesCluster(Closing):
    """A namespace of a Kubernetes cluster, behind the interface that `local` has too.

    Everything that it makes carries its label and its field manager's name, and only what carries
    the label is ever deleted.

    Args:
        models: not used: the model is in the image.
        context: the kubeconfig context; None for the environment's `TUTORIAL_CONTEXT`.
        namespace: None for `TUTORIAL_NAMESPACE`, else `inception-tutorial`. It is made if it isn't
            there, with the Pod Security Standard *restricted*, and deleted only if made.
        kubeconfig: the file; None for `$KUBECONFIG` or `~/.kube/config`.
        overlay: a folder of `manifests/overlays/` that `apply` takes in the place of the base; None
            for `TUTORIAL_OVERLAY`, else what `contexts.txt` has for the context.
        confirmed: use the context although it isn't on the list in `contexts.txt`.

    Raises:
        SetupError: no context was named, it may not be used, or its credentials don't work.
        ClusterError: its API server doesn't answer.
    """

    target = "kubernetes"

    def __init__(
        self,
        models: Path = settings.MODELS,
        *,
        context: str | None = None,
        namespace: str | None = None,
        kubeconfig: str | Path | None = None,
        overlay: str | None = None,
        confirmed: bool = False,
    ) -> None:
        del models
        self._kubeconfig = file = str(kubeconfig) if kubeconfig else None
        self.context = connection.choose_context(context, kubeconfig=file, confirmed=confirmed)
        self.namespace = namespace or os.environ.get("TUTORIAL_NAMESPACE") or NAMESPACE
        overlay = overlay or os.environ.get("TUTORIAL_OVERLAY") or connection.overlay(self.context)
        self.manifests = settings.MANIFESTS / "overlays" / overlay if overlay else BASE
        self.api = connection.connect_api(self.context, kubeconfig=file)
        self._dynamic = connection.dynamic_client(self.api, self.context)
        self._core, self._apps = client.CoreV1Api(self.api), client.AppsV1Api(self.api)
        self.inventory = Inventory(self._dynamic, self.context, self.namespace)
        self._applier = Applier(self._dynamic, self._core, self.context, self.namespace)
        options = [f"--context={self.context}", f"--namespace={self.namespace}"]
        options += [f"--kubeconfig={file}"] if file else []
        self._routes = Routes(self._core, self.context, self.namespace, options)

    def apply(
        self,
        manifests: Path = BASE,
        *,
        replicas: int | None = None,
        args: Sequence[str] = (),
        patch: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the manifests so, by server-side apply. See `interface.Cluster.apply`."""
        folder = Path(self.manifests if manifests == BASE else manifests).resolve()
        rendered = render.render(folder)
        self._applier.ensure_namespace()
        wanted = render.prepare(
            rendered, namespace=self.namespace, replicas=replicas, args=args, patch=patch
        )
        for resource in wanted:
            self._applier.apply(resource, folder)
        self.inventory.prune(wanted)

    def apply_resource(self, resource: render.Resource, folder: Path = BASE) -> None:
        """Applies one resource beside the others; the next `apply` may prune it.

        Args:
            resource: as it would stand in a file.
            folder: the manifests that it came from, for errors to name the file.

        Raises:
            ManifestError: the API server refuses it.
            ClusterError: it can't be applied for another reason.
        """
        for prepared in render.prepare([resource], namespace=self.namespace):
            self._applier.apply(prepared, folder)

    def scale(self, replicas: int) -> None:
        """Asks for another number of replicas. See `interface.Cluster.scale`."""
        if replicas < 0:
            raise ClusterError(
                f"there can't be {replicas} replicas", next_step="Ask for 0 or more."
            )
        with translated(f"{render.DEPLOYMENT} can't be scaled", context=self.context):
            self._apps.patch_namespaced_deployment_scale(
                render.DEPLOYMENT,
                self.namespace,
                {"spec": {"replicas": replicas}},
                field_manager=render.MANAGER,
            )

    def wait_until_ready(self, timeout_s: float = 300) -> Pods:
        """Waits until the roll-out is complete. See `interface.Cluster.wait_until_ready`."""
        line, start = Line(), time.monotonic()
        try:
            while True:
                state = self.progress()
                if state.done:
                    if state.wanted:
                        self._routes.settle()
                    return self.pods()
                if state.stuck:
                    words, probe = self._last_words(), self._failed_probe()
                    raise rollout.failure(state, render.DEPLOYMENT, words, probe=probe)
                left_s = start + timeout_s - time.monotonic()
                waited_s = time.monotonic() - start
                line.show(f"{state.so_far}{state.beside} … {waited_s:.0f} s")
                if left_s <= 0:
                    raise self._late(state, timeout_s)
                self._await_change(min(left_s, 2.0))
        finally:
            line.end()

    def progress(self) -> rollout.Rollout:
        """Where the Deployment is now."""
        with translated(f"{render.DEPLOYMENT} can't be read", context=self.context):
            deployment = self._apps.read_namespaced_deployment(render.DEPLOYMENT, self.namespace)
            events = self._core.list_namespaced_event(
                self.namespace, field_selector="reason=TriggeredScaleUp"
            )
        return rollout.judge(deployment, self._pods(), events.items)

    def pods(self) -> Pods:
        """The replicas as they are now."""
        return rollout.table(self._pods())

    @cached_property
    def limitations(self) -> Mapping[str, str]:
        """What this cluster, or our role in it, doesn't allow: a sentence for each feature."""
        from helpers.clusters.kubernetes import abilities

        return abilities.limitations(self)

    @property
    def load_balancer(self) -> str:
        """`host:port` of the Service's gRPC port; a forwarded port where it has no address."""
        return self._routes.service(settings.GRPC_PORT)

    @property
    def rest_load_balancer(self) -> str:
        """`host:port` of the Service's REST port."""
        return self._routes.service(settings.REST_PORT)

    def addresses(self) -> list[str]:
        """The ready replicas' gRPC addresses: their own where this machine reaches them."""
        return self._routes.pods([pod for pod in self.pods() if pod.ready])

    def request_counts(self) -> dict[str, int]:
        """Requests answered by each ready replica. See `interface.Cluster.request_counts`.

        Asked through the API server, so that no pod has to be reachable from here.
        """
        counts = {}
        for pod in self.pods():
            if pod.ready:
                with translated(f"{pod.name} gives no metrics", context=self.context):
                    text = self._core.connect_get_namespaced_pod_proxy_with_path(
                        f"{pod.name}:{settings.REST_PORT}",
                        self.namespace,
                        _METRICS,
                        _preload_content=False,
                    ).data.decode()
                counts[pod.name] = metrics.count(text)
        return counts

    def logs(self, pod: str | Pod) -> str:
        """What a replica has written so far; of one that crashed, its last words."""
        name = pod.name if isinstance(pod, Pod) else pod
        with translated(f"the log of {name} can't be read", context=self.context):
            text = self._log(name)
            return text or self._log(name, previous=True)

    def events(self) -> list[timeline.Event]:
        """What the namespace's events say, oldest first."""
        with translated("the events can't be read", context=self.context):
            found = self._core.list_namespaced_event(self.namespace)
        return timeline.events(found.items)

    def starts(self) -> list[Start]:
        """How each ready replica came up."""
        events = self.events()
        starts = (timeline.start_of(pod, events) for pod in self._pods())
        return [start for start in starts if start is not None]

    def kubeconfig(self) -> Path:
        """Lets plain `kubectl` here, as in `!kubectl get pods`, use this context and namespace.

        Returns:
            The file that says so, which is now the first of `$KUBECONFIG`.

        Raises:
            SetupError: there is no kubectl.
        """
        render.kubectl()  # a sentence now, or `command not found` under each line
        return kubeconfig_.make_current(self.context, self.namespace, kubeconfig=self._kubeconfig)

    def delete(self) -> None:
        """Removes all that carries our label, and the namespace if it was made here."""
        self._routes.close()
        self.inventory.delete()

    def leftovers(self) -> list[str]:
        """What carries our label and is still there, a line each."""
        return self.inventory.lines()

    def close(self) -> None:
        """Ends the connection and the forwarded ports; the replicas go on. May be called again."""
        self._routes.close()
        self.api.close()

    def _pods(self) -> list[Any]:
        with translated("the pods can't be listed", context=self.context):
            found = self._core.list_namespaced_pod(
                self.namespace, label_selector=f"app.kubernetes.io/name={render.DEPLOYMENT}"
            )
        return list(found.items)

    def _await_change(self, timeout_s: float) -> None:
        """Until a pod changes, or the time is over."""
        watched = watch.Watch()
        with translated("the pods can't be watched", context=self.context):
            first = self._core.list_namespaced_pod(self.namespace, limit=1)
            stream = watched.stream(
                self._core.list_namespaced_pod,
                self.namespace,
                resource_version=first.metadata.resource_version,
                timeout_seconds=max(int(timeout_s), 1),
                _request_timeout=timeout_s + 10,
            )
            for _ in stream:
                watched.stop()

    def _late(self, state: rollout.Rollout, timeout_s: float) -> NotReadyError:
        reasons = [f"{p.name} is {p.status} {p.reason}".strip() for p in self.pods() if not p.ready]
        reasons += filter(None, [self._failed_probe()])
        tail = " / ".join(diagnosis.telling_lines(self._last_words()))
        return NotReadyError(
            f"{render.DEPLOYMENT} had {state.so_far} after {timeout_s:g} s",
            cause="; ".join(reasons) + (f"; its log ends: {tail}" if tail else ""),
            next_step="Read `logs()` and `events()`; allow more time (timeout_s) if it only starts "
            "slowly.",
        )

    def _last_words(self) -> str:
        """The log of a replica that isn't ready; of one that crashed, from before it did."""
        for pod in self._pods():
            statuses = pod.status.container_statuses or []
            if statuses and not statuses[0].ready and pod.metadata.deletion_timestamp is None:
                return self._log(pod.metadata.name, previous=bool(statuses[0].restart_count))
        return ""

    def _failed_probe(self) -> str:
        """What a probe last said of a replica that isn't ready."""
        unready = {f"Pod/{pod.name}" for pod in self.pods() if not pod.ready}
        said = [e for e in self.events() if e.reason == "Unhealthy" and e.about in unready]
        return said[-1].message if said else ""

    def _log(self, name: str, *, previous: bool = False) -> str:
        try:
            answer = self._core.read_namespaced_pod_log(
                name,
                self.namespace,
                previous=previous,
                _preload_content=False,  # the client would turn JSON and quotes into Python's
            )
        except client.ApiException as error:
            if error.status == 400:  # the container hasn't started, or not twice
                return ""
            raise
        return str(answer.data.decode(errors="replace"))
