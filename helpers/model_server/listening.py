"""What the server listens on, looked at before anything is loaded: ports, socket, certificates.

A mistake shows at once, under the name of the flag or the field that holds it, and not after a
minute of loading as "can't listen".
"""

from __future__ import annotations

import concurrent.futures
import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc

from helpers.model_server import config
from helpers.model_server.flags import Flags
from helpers.model_server.status import Code, StatusError, invalid


def check(flags: Flags) -> grpc.ServerCredentials | None:
    """Look at everything. Returns the credentials of `--ssl_config_file`; None: no TLS.

    Raises:
        StatusError: what is wrong, and where.
    """
    for port in filter(None, (flags.port, flags.rest_api_port)):
        check_port(port)
    if flags.grpc_socket_path:
        _check_socket(flags.grpc_socket_path)
    return _credentials(flags.ssl_config_file) if flags.ssl_config_file else None


def check_port(port: int) -> None:
    """See whether a TCP port can be listened on.

    Raises:
        StatusError: something listens on the port, or it needs privileges.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  where the original listens
        except PermissionError as error:
            text = f"port {port} needs privileges. Choose one above 1023"
            raise StatusError(Code.PERMISSION_DENIED, text) from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StatusError(Code.UNAVAILABLE, f"port {port}: {error.strerror}") from error
            text = (
                f"port {port} is in use. Stop the program that listens on it, or choose another "
                "with --port or --rest_api_port"
            )
            raise StatusError(Code.ALREADY_EXISTS, text) from error


def _check_socket(path: str) -> None:
    if Path(path).is_socket():
        return  # an earlier server's; gRPC replaces it
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(path)
        Path(path).unlink()
    except OSError as error:
        raise invalid(
            f"--grpc_socket_path={path}: {error.strerror or error}. Name a new file of at most 107 "
            "characters in a directory that exists and that you may write to"
        ) from error


def _credentials(path: str) -> grpc.ServerCredentials:
    given = config.ssl(path)
    for field in ("server_key", "server_cert", "custom_ca"):
        _check_pem(given, field, path)
    if given.client_verify and not given.custom_ca:
        raise invalid(
            f"{path}: client_verify is true and custom_ca is empty: no client could be verified. "
            "Put the certificate of the authority that signs your clients' into custom_ca"
        )
    credentials = grpc.ssl_server_credentials(
        [(given.server_key.encode(), given.server_cert.encode())],
        root_certificates=given.custom_ca.encode() or None,
        require_client_auth=given.client_verify,
    )
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        trial = grpc.server(threads)
        try:
            trial.add_secure_port("127.0.0.1:0", credentials)  # any port: only the pair is new
        except RuntimeError as error:
            raise invalid(
                f"{path}: server_key is not the private key of server_cert, or a password protects "
                "it. Give the pair that was made together, the key without a password"
            ) from error
        finally:
            trial.stop(None)
    return credentials


def _check_pem(given: Any, field: str, path: str) -> None:
    """See whether a field holds PEM text of its kind; custom_ca may be empty."""
    text, kind = getattr(given, field), "PRIVATE KEY" if field == "server_key" else "CERTIFICATE"
    if not text and field == "custom_ca":
        return
    if f"{kind}-----" not in text:
        found = "is empty" if not text else f"holds {text[:60]!r}"
        raise invalid(
            f"{path}: {field} {found}. It takes the PEM text itself, from -----BEGIN to -----END, "
            "with \\n for each end of a line, and not the name of a file"
        )
    if kind == "CERTIFICATE":
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
        except ssl.SSLError as error:
            raise invalid(f"{path}: {field} holds no valid certificate: {error}") from error
