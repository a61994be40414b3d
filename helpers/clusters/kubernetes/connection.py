"""A connection to one kubeconfig context: a named one, and one that the tutorial may change."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kubernetes import client, config, dynamic

from helpers.clusters.kubernetes import kubeconfig as kubeconfig_
from helpers.clusters.kubernetes.problems import translated
from helpers.errors import SetupError

ALLOWED = Path(__file__).with_name("contexts.txt")
_CALL_S = 30  # for one call of the API


def allowed_contexts() -> dict[str, str]:
    """The patterns in `contexts.txt`, which the reader edits, each with its overlay or nothing."""
    lines = (line.split("#")[0].split() for line in ALLOWED.read_text().splitlines())
    return {words[0]: " ".join(words[1:]) for words in lines if words}


def overlay(context: str) -> str:
    """The overlay that `contexts.txt` has for a context; empty for the base as it is."""
    fitting = (o for pattern, o in allowed_contexts().items() if fnmatchcase(context, pattern))
    return next(fitting, "")


def choose_context(context: str | None, *, kubeconfig: str | None, confirmed: bool) -> str:
    """The context to use, if it may be.

    Args:
        context: its name; None for the environment's `TUTORIAL_CONTEXT`. The kubeconfig's current
            context is never taken: it is whatever was used last, which may be production.
        kubeconfig: the file; None for `$KUBECONFIG` or `~/.kube/config`.
        confirmed: use it although it isn't on the list in `contexts.txt`.

    Raises:
        SetupError: no context was named, there is none of that name, it isn't on the list, or the
            kubeconfig is missing or damaged.
    """
    name = context or os.environ.get("TUTORIAL_CONTEXT", "")
    files = kubeconfig_.location(kubeconfig)
    known = kubeconfig_.contexts(files)
    listed = ", ".join(known) or "none"
    if not name:
        raise SetupError(
            "no context was named",
            cause=f"the kubeconfig has {listed}; the current one is never taken by itself, since "
            "it may be a production cluster",
            next_step='Name it: connect("kubernetes", context=…), or set TUTORIAL_CONTEXT before '
            "`make lab`.",
        )
    if name not in known:
        raise SetupError(
            f"the kubeconfig has no context {name!r}",
            cause=f"it has {listed}",
            next_step="Name one of these, or set KUBECONFIG to the file that has yours before "
            "`make lab`.",
        )
    if not confirmed and not any(fnmatchcase(name, pattern) for pattern in allowed_contexts()):
        raise SetupError(
            f"context {name!r} looks like a production cluster",
            cause="it isn't on the list in helpers/clusters/kubernetes/contexts.txt",
            next_step="Add it to that file if the tutorial may change things there, or pass "
            "confirmed=True once.",
        )
    kubeconfig_.check(files, name)
    return name


class _ApiClient(client.ApiClient):
    """A client none of whose calls waits for ever, whether it names a time-out or not."""

    def call_api(self, *args: Any, _request_timeout: float | None = None, **options: Any) -> Any:
        return super().call_api(*args, _request_timeout=_request_timeout or _CALL_S, **options)


def connect_api(context: str, *, kubeconfig: str | None) -> client.ApiClient:
    """A client of the context's API server, which has answered.

    Raises:
        SetupError: the credentials don't work.
        ClusterError: nothing answers.
    """
    with translated(f"the cluster of context {context} can't be reached", context=context):
        files = kubeconfig_.location(kubeconfig)
        api = config.new_client_from_config(files, context=context, persist_config=False)
        # Three tries with no pause would only hide which one failed.
        api.configuration.retries = False
        api = _ApiClient(api.configuration)
        client.VersionApi(api).get_code(_request_timeout=15)
        client.CoreV1Api(api).get_api_resources(_request_timeout=15)  # needs valid credentials
    return api


def dynamic_client(api: client.ApiClient, context: str) -> dynamic.DynamicClient:
    """A client for resources of any kind; asks the API server which kinds there are."""
    with translated(f"the cluster of context {context} doesn't say what it has", context=context):
        return dynamic.DynamicClient(api)
