"""Foreign exceptions of a cluster, turned into the tutorial's errors with the next step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError

from helpers.errors import ClusterError, ManifestError, SetupError

_CLEAN_UP = "Notebook 14 removes what is left, once the cluster answers again."


@contextmanager
def translated(doing: str, *, context: str = "", manifest: str = "") -> Iterator[None]:
    """Turns what the cluster's client raises inside into the tutorial's errors.

    Args:
        doing: what fails, as a clause: `Deployment inception can't be applied`.
        context: the kubeconfig context, for the next step.
        manifest: where the resource came from, when it came from a file.

    Raises:
        ManifestError: the API server refused the manifest as such.
        SetupError: the credentials don't work.
        ClusterError: anything else that the API server or the network said.
    """
    try:
        yield
    except (ApiException, DynamicApiError) as error:
        raise _refusal(error, doing, context, manifest) from error
    except ResourceNotFoundError as error:
        raise ManifestError(
            doing,
            cause=f"the cluster doesn't know this kind of resource: {error}",
            next_step="Install what defines it (such as the Prometheus operator for a "
            f"ServiceMonitor), or correct apiVersion and kind{_in(manifest)}.",
        ) from error
    except ConfigException as error:
        raise SetupError(
            doing,
            cause=str(error),
            next_step="Check the kubeconfig: `kubectl config get-contexts`.",
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(getattr(error, "reason", error), urllib3.exceptions.ProxyError):
            raise ClusterError(
                doing,
                cause=f"the HTTP proxy on the way to it doesn't pass requests on ({_root(error)})",
                next_step="Has the API server a direct way? Then put its host into no_proxy and "
                "restart this program. The proxy is the one in https_proxy, or proxy-url in the "
                "kubeconfig.",
            ) from error
        raise ClusterError(
            doing,
            cause=f"the cluster doesn't answer ({_root(error)})",
            next_step=f"See whether it is there: `kubectl --context {context} get nodes`. "
            f"{_CLEAN_UP}",
        ) from error


def message(error: ApiException | DynamicApiError) -> str:
    """The API server's own words."""
    body = error.body.decode() if isinstance(error.body, bytes) else (error.body or "")
    try:
        status: dict[str, Any] = json.loads(body)
        return str(status.get("message") or error.reason)
    except (ValueError, AttributeError):
        return body.strip() or str(error.reason)


def conflicting_managers(error: ApiException | DynamicApiError) -> set[str]:
    """Who else holds the fields of a conflict in a server-side apply."""
    return set(re.findall(r'conflicts? with "([^"]+)"', message(error)))


def _refusal(
    error: ApiException | DynamicApiError, doing: str, context: str, manifest: str
) -> ClusterError | SetupError:
    words, code = message(error), error.status
    if words.startswith("SSLError"):
        return _untrusted(words, doing, context)
    if words.startswith("<"):
        return SetupError(
            doing,
            cause=f"what answers there is no Kubernetes API server: it sends a page (HTTP {code})",
            next_step="Check `server` in the kubeconfig, and whether a proxy answers in its place.",
        )
    if code == 401:
        return SetupError(
            doing,
            cause=f"the credentials of context {context} are not valid, or no longer ({words})",
            next_step="Log in again (GKE: `gcloud container clusters get-credentials …`), then "
            "restart this notebook's kernel.",
        )
    if "because it is being terminated" in words:
        return ClusterError(
            doing,
            cause=words,
            next_step="Wait until the namespace is gone (`kubectl get namespaces`), or choose "
            "another: connect(…, namespace=…).",
        )
    if "exceeded quota" in words:
        return ClusterError(
            doing,
            cause=words,
            next_step="Scale to fewer replicas, or ask whoever runs the cluster for more.",
        )
    if "violates PodSecurity" in words:
        return ManifestError(
            doing,
            cause=words,
            next_step=f"Correct the fields it names{_in(manifest)}, or use a namespace with "
            "another Pod Security Standard.",
        )
    if code == 403:
        return ClusterError(
            doing,
            cause=words,
            next_step="Ask whoever runs the cluster for that right (the role in manifests/overlays/"
            "workshop/namespace/role.yaml has what the notebooks need), or choose a namespace "
            "where you have it.",
        )
    if code in (400, 422) or "failed to create typed patch object" in words:
        return ManifestError(
            doing, cause=_field(words), next_step=f"Correct that field{_in(manifest)}."
        )
    if code == 409:
        others = ", ".join(sorted(conflicting_managers(error))) or "somebody else"
        return ClusterError(
            doing,
            cause=f"{others} changed the same fields: {words}",
            next_step="Undo that change, or delete() and apply again.",
        )
    return ClusterError(
        doing,
        cause=f"{words} (HTTP {code})" if code else words,
        next_step=f"See what the cluster says: `kubectl --context {context} get events -A`. "
        f"{_CLEAN_UP}",
    )


def _untrusted(words: str, doing: str, context: str) -> SetupError:
    """The error for a connection that TLS ended before a word was said."""
    if "CERTIFICATE_VERIFY_FAILED" in words:
        cause = "the API server's certificate isn't signed by the authority in the kubeconfig"
    elif "WRONG_VERSION" in words or "RECORD_LAYER" in words:
        cause = "what answers there doesn't speak TLS"
    else:
        cause = "a certificate or key in the kubeconfig is damaged"
    return SetupError(
        doing,
        cause=f"{cause} ({words.splitlines()[-1]})",
        next_step=f"Get the kubeconfig of context {context} anew: a cluster that was made again "
        "has new certificates.",
    )


def _field(words: str) -> str:
    """The field and what is wrong with it, out of the API server's sentence."""
    found = re.search(r"(\.[\w.\[\]\"=-]+): (field not declared in schema)", words)
    return f"{found[1].lstrip('.')}: there is no such field ({words})" if found else words


def _in(manifest: str) -> str:
    return f" in {manifest}" if manifest else ""


def _root(error: BaseException) -> str:
    """The innermost reason of a failed connection, without addresses of Python objects."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _root(reason)
    return re.sub(r"^<[^>]+>: |^.*object at 0x[0-9a-f]+>: ", "", str(error)) or type(error).__name__
