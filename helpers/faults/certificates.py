"""Certificates for a lesson, made by the `openssl` command: an authority, and what it signs."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import SetupError

_NAMES = "subjectAltName=DNS:inception,DNS:localhost,IP:127.0.0.1"
_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
SERVER_NAME = "inception"  # what a server's certificate is for, whatever its address


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, as PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """Signs certificates: whoever trusts it, trusts what it signed.

    Its files stay in a folder of its own, as its private key does with any authority.

    Args:
        folder: where its files go.
        name: in its certificate.

    Raises:
        SetupError: there is no `openssl`, or it failed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        self._openssl("req", "-x509", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                      "-days", "2", "-subj", f"/CN={name}")  # fmt: skip

    @property
    def certificate(self) -> bytes:
        """What those who trust it have of it."""
        return (self._folder / f"{self._name}.pem").read_bytes()

    def sign(self, name: str, *, expired: bool = False) -> Pair:
        """A new key and a certificate for it, for a server or a client.

        Args:
            name: in the certificate. A server's is good for `SERVER_NAME` and this machine.
            expired: its time is over the moment it is made.

        Raises:
            SetupError: `openssl` failed.
        """
        (self._folder / "names").write_text(_NAMES)
        self._openssl("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                      "-subj", f"/CN={name}")  # fmt: skip
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem",
                      "-CA", f"{self._name}.pem", "-CAkey", f"{self._name}.key", "-CAcreateserial",
                      "-extfile", "names", "-days", "0" if expired else "1")  # fmt: skip
        key, certificate = (self._folder / f"{name}.{kind}" for kind in ("key", "pem"))
        return Pair(key.read_bytes(), certificate.read_bytes())

    def _openssl(self, *arguments: str) -> None:
        if shutil.which("openssl") is None:
            raise SetupError(
                "certificates can't be made",
                cause="there is no program openssl",
                next_step="Install it: apt-get install openssl, or brew install openssl.",
            )
        command = ["openssl", *arguments]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SetupError(
                f"`{' '.join(command[:3])} …` failed",
                cause=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "",
                next_step="Is openssl 1.1.1 or later, and can the folder be written?",
            )


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
