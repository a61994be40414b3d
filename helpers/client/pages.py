"""Asking a server for a page by HTTP, and why it didn't come, in words."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from helpers import proxies
from helpers.errors import ClusterError

_METRICS = "The server's flags need --rest_api_port and --monitoring_config_file."


def read(address: str, path: str, *, whose: str, timeout_s: float = 10.0) -> str:
    """A server's page of metrics.

    Args:
        address: `host:port` of its REST service.
        path: of the page, with the slash.
        whose: who is asked, for the error to name.
        timeout_s: seconds until the page has come.

    Raises:
        ClusterError: it didn't come; it says which of the reasons that was.
    """
    url = f"http://{address}{path}"
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            text: str = answer.read().decode()
            return text
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        cause, next_step = _reason(error, timeout_s)
        raise ClusterError(
            f"{whose} gives no metrics at {address or 'its REST port'}{path}",
            cause=proxies.words(url, cause),
            next_step=next_step,
        ) from error


def _reason(error: Exception, timeout_s: float) -> tuple[str, str]:
    """The cause and the next step."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers HTTP {error.code}", _METRICS
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer in {timeout_s:g} s", "See whether it hangs, or has too much to do."
    if isinstance(reason, ConnectionRefusedError):
        return "nothing listens there", f"See whether it still runs. {_METRICS}"
    if isinstance(reason, http.client.InvalidURL):
        return "that isn't an address", "Pass one like 127.0.0.1:8501: the REST port."
    if isinstance(reason, (http.client.HTTPException, ConnectionError, ValueError)):
        return (
            f"what listens there doesn't answer in HTTP ({reason})",
            "Pass the REST port, 8501 by default, not the one of gRPC.",
        )
    return str(getattr(reason, "strerror", None) or reason), "Check the address."
