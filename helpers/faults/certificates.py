"""Certificates for a lesson: an authority, what it signs, and the server's file that holds them.

They are made by `trustme`, which issues throw-away certificates for tests. A real service's come
from an authority that outlives it, such as cert-manager's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import trustme

SERVER_NAME = "inception"  # what a server's certificate is for, whatever its address
_NAMES = (SERVER_NAME, "localhost", "127.0.0.1")
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, as PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """Signs certificates: whoever trusts it, trusts what it signed.

    Its private key never leaves this object's memory.

    Args:
        name: in its certificate.
    """

    def __init__(self, name: str) -> None:
        self._authority = trustme.CA(organization_name=name)

    @property
    def certificate(self) -> bytes:
        """What those who trust it have of it."""
        return self._authority.cert_pem.bytes()

    def sign(self, name: str, *, expired: bool = False) -> Pair:
        """A new key and a certificate for it, good for a day, for a server or a client.

        Args:
            name: in the certificate. A server's is good for `SERVER_NAME` and this machine.
            expired: its time was over a minute ago.
        """
        now = datetime.now(timezone.utc)
        until = now - timedelta(minutes=1) if expired else now + _DAY
        issued = self._authority.issue_cert(
            *_NAMES, common_name=name, not_before=now - _DAY, not_after=until
        )
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        return Pair(issued.private_key_pem.bytes(), chain)


def ssl_config(server: Pair, clients: bytes | None = None) -> str:
    """TensorFlow Serving's `--ssl_config_file`, which holds the PEM texts themselves.

    Args:
        server: what the server shows.
        clients: the authority whose clients it lets in, and nobody else; None: it lets all in.
    """
    # A text proto's strings are quoted as JSON's are.
    lines = [
        f"server_key: {json.dumps(server.key.decode())}",
        f"server_cert: {json.dumps(server.certificate.decode())}",
    ]
    if clients is not None:
        lines += [f"custom_ca: {json.dumps(clients.decode())}", "client_verify: true"]
    return "\n".join(lines) + "\n"
