"""uv, with the package mirror, certificates and proxy that pip knows of: run in place of `uv`.

    .venv/bin/python setup/uv.py pip install …

uv comes by pip, so pip reached an index: by its environment (PIP_INDEX_URL and its like) or its
configuration files, which uv reads none of. What they say becomes uv's own settings here, in the
only place that does so. A setting that uv has already been given (UV_…, SSL_CERT_FILE) stays.
Runs on any Python that has pip, with the standard library alone.
"""

import ast
import os
import ssl
import subprocess
import sys
from pathlib import Path

# pip's option, uv's variable, and what stands between several values there (None: only one).
VARIABLES = [
    ("index-url", "UV_DEFAULT_INDEX", None),
    ("extra-index-url", "UV_EXTRA_INDEX_URL", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("cert", "SSL_CERT_FILE", None),
    ("client-cert", "SSL_CLIENT_CERT", None),
    ("default-timeout", "UV_HTTP_TIMEOUT", None),
    ("timeout", "UV_HTTP_TIMEOUT", None),
    ("proxy", "HTTP_PROXY", None),
    ("proxy", "HTTPS_PROXY", None),
]


def pips(listing):
    """pip's options for `pip install`, from what `pip config list` prints.

    Later sections win: the files' [global], then their [install], then the environment.
    """
    options = {}
    for section in ("global.", "install.", ":env:."):
        for line in listing.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                options[name[len(section) :]] = ast.literal_eval(value)
    return options


def uvs(options, environment):
    """The variables and the arguments that say the same to uv.

    Args:
        options: pip's, by name, as strings.
        environment: what uv gets already.
    """
    given = {}
    for option, variable, between in VARIABLES:
        values = options.get(option, "").split()
        if option == "find-links":  # pip passes over a folder that isn't there, uv ends
            values = [v if "://" in v else str(Path(v).expanduser()) for v in values]
            values = [v for v in values if "://" in v or Path(v).exists()]
        if values and variable not in environment:
            given[variable] = values[0] if between is None else between.join(values)
    if "UV_INDEX_URL" in environment:  # the older name of UV_DEFAULT_INDEX
        given.pop("UV_DEFAULT_INDEX", None)
    if "UV_EXTRA_INDEX_URL" in given:
        # pip takes a version from whichever index has it; what is installed is held by hashes.
        given.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    bundle = environment.get("REQUESTS_CA_BUNDLE") or environment.get("CURL_CA_BUNDLE")
    if not {"SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS"} & {*given, *environment}:
        if bundle:
            given["SSL_CERT_FILE"] = bundle
        elif sys.platform == "darwin" or ssl.create_default_context().cert_store_stats()["x509_ca"]:
            given["UV_SYSTEM_CERTS"] = "true"  # as pip does: a company's authority is there
    no_index = options.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return given, ["--no-index"] if no_index else []


def main(words):
    """Runs the uv that is beside this Python."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    variables, arguments = uvs(pips(listed.stdout), os.environ)
    if words[0] != "pip":
        arguments = []
    command = [str(Path(sys.executable).with_name("uv")), *words[:2], *arguments, *words[2:]]
    os.execve(command[0], command, {**os.environ, **variables})  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
