"""Where servers are: `host:port`, one or several, and gRPC's names for them."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

from helpers.errors import ServerUnavailableError


def target(address: str | Sequence[str]) -> str:
    """The gRPC name of one server or of several.

    Args:
        address: `host:port`; or several, which become one name with several addresses, as a
            headless Service has; or a name with a scheme, such as `dns:///host:port`, which is
            left alone.

    Raises:
        ServerUnavailableError: an address isn't `host:port`, or its host has no IP address.
    """
    addresses = [address] if isinstance(address, str) else list(address)
    if not addresses:
        raise ServerUnavailableError(
            "There is no address to send requests to",
            next_step="Pass `host:port`, or the addresses of the replicas that are ready.",
        )
    if len(addresses) == 1:
        return addresses[0] if ":/" in addresses[0] else _checked(addresses[0])
    resolved = [resolve_all(a)[0] for a in addresses]
    scheme = "ipv6" if any(ip.version == 6 for ip, _ in resolved) else "ipv4"
    return f"{scheme}:" + ",".join(
        f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}" for ip, port in resolved
    )


def split(address: str) -> tuple[str, int]:
    """`host:port` as a pair; raises ServerUnavailableError if it isn't one."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ServerUnavailableError(
            f"{address!r} is not the address of a server",
            cause="it isn't of the form host:port",
            next_step="Pass one like 127.0.0.1:8500: the gRPC port, not the REST port.",
        )
    return host.strip("[]"), int(port)


def hosts(target: str) -> list[str]:
    """The host in a gRPC name; none for several addresses or a socket's path.

    No HTTP proxy can be asked for those.
    """
    if "," in target or target.startswith(("unix:", "vsock:")):
        return []
    return [re.sub(r"^.*/|^ipv[46]:|:\d+$", "", target).strip("[]")]


def resolve_all(
    address: str,
) -> list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """All IP addresses of `host:port`: a headless Service has one for each replica.

    Raises:
        ServerUnavailableError: it isn't `host:port`, or its host has no IP address.
    """
    host, port = split(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise ServerUnavailableError(
            f"{address} can't be reached",
            cause=f"{host} can't be the name of a host ({error})",
            next_step="Check the name, or pass an IP address.",
        ) from error
    except OSError as error:
        words = error.strerror or str(error)
        nobody = getattr(error, "errno", None) == socket.EAI_AGAIN
        raise ServerUnavailableError(
            f"{address} can't be reached",
            cause=f"no name server answers who {host} is ({words})"
            if nobody
            else f"{host} has no IP address ({words})",
            next_step="Check the network (a VPN, perhaps), or pass an IP address."
            if nobody
            else "Check the name, or pass an IP address.",
        ) from error
    return [(ipaddress.ip_address(a), port) for a in dict.fromkeys(f[4][0] for f in found)]


def _checked(address: str) -> str:
    split(address)
    return address
