"""Which requests go by the HTTP proxy that the environment names. One rule, for every client:

- What this collection started is reached directly: servers on this machine, a cluster's load
  balancer and its pods.
- What the reader names elsewhere goes as their environment says, and an error on a way that leads
  through a proxy names the proxy.

gRPC's core, urllib, curl, kubectl and the Kubernetes client all read `no_proxy`, so that is where
the rule is written down, for this process and those that it starts. `import helpers` does it for
this machine, and a cluster for its addresses, so that a notebook's own clients need no word of it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Iterable

# Without `[::1]`, which urllib alone would need for such a URL: httpx, and so JupyterLab, takes it
# for a wrong port and fails.
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
# What tests/cluster/up gives to its cluster: RFC 2544's, which no network routes.
TEST_CLUSTER = ("198.18.0.0/15",)
_GRPC = "no_grpc_proxy"
LEAVE_OUT = "with its host in no_proxy it would be asked directly"


def reach_directly(*hosts: str) -> None:
    """From here on no proxy is on the way to these hosts.

    Args:
        hosts: names, IP addresses, or networks such as `198.18.0.0/15` (not for urllib).

    Source: gRPC's core reads no_grpc_proxy, else no_proxy; urllib no_proxy, else NO_PROXY; Go reads
    NO_PROXY, else no_proxy.
    """
    if sys.platform == "darwin" and not any(n.lower().endswith("_proxy") for n in os.environ):
        return  # urllib would no longer read the proxies from macOS's own settings
    either = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    lists = {"no_proxy": either, "NO_PROXY": os.environ.get("NO_PROXY", either)}
    if _GRPC in os.environ or either.strip() == "*":  # `*` means nothing to gRPC
        lists[_GRPC] = os.environ.get(_GRPC, "")
    for name, value in lists.items():
        entries = _entries(value)
        if entries != ["*"]:  # it is read only when it stands alone
            os.environ[name] = ",".join(dict.fromkeys([*entries, *hosts]))


def grpc_proxy(hosts: Iterable[str]) -> str:
    """The proxy by which gRPC sends requests for these hosts; empty: they go directly.

    Args:
        hosts: names or IP addresses of one target.
    """
    if os.environ.get("no_proxy", "").strip() == "*":
        return ""
    excepted = os.environ.get(_GRPC, os.environ.get("no_proxy", ""))
    proxies = (os.environ.get(name) for name in ("grpc_proxy", "https_proxy", "http_proxy"))
    proxy = next((proxy for proxy in proxies if proxy is not None), "")
    return _shown(proxy) if not all(_excepted(host, excepted) for host in hosts) else ""


def http_proxy(url: str) -> str:
    """The proxy by which urllib asks for a URL; empty: it is asked for directly."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    return _shown(proxy) if not proxy_bypass(parts.netloc.rpartition("@")[2]) else ""


def words(url: str, error: BaseException | str) -> str:
    """Why a URL could not be had, with the proxy if one was on the way."""
    proxy = http_proxy(url)
    return f"{error}, by way of the proxy {proxy} ({LEAVE_OUT})" if proxy else str(error)


def _excepted(host: str, excepted: str) -> bool:
    """Whether a host is on a list like no_proxy, or this machine, which always is."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if host == "localhost" or (ip is not None and ip.is_loopback):
        return True
    return any(
        entry == "*" or host.lower().endswith(entry.lower()) or (ip and _holds(entry, ip))
        for entry in _entries(excepted)
    )


def _holds(network: str, ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return ip in ipaddress.ip_network(network, strict=False)
    except ValueError:  # the entry is a name
        return False


def _entries(value: str) -> list[str]:
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def _shown(proxy: str) -> str:
    """Without the name and the password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", proxy)
