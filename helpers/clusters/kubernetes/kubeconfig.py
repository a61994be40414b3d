"""What a kubeconfig has, and what is wrong with it: each cause in a sentence of its own.

The Kubernetes client reads it as well, but wants a valid current context before it lists the
others, and goes on without credentials when the program that fetches them is missing.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from helpers import settings
from helpers.errors import SetupError

FOLDER = settings.BUILD / "kubeconfig"
_NO_KUBECONFIG = "there is no kubeconfig to connect with"
_ANEW = "Get it anew from whoever runs the cluster, or set KUBECONFIG to another."


def location(kubeconfig: str | None) -> str:
    """The file, or several between colons: as named, else `$KUBECONFIG`, else `~/.kube/config`."""
    return kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"


def contexts(files: str) -> list[str]:
    """The names of the contexts, whether one of them is the current one or not.

    Args:
        files: as `location` gives them; those that aren't there are passed over, as by kubectl.

    Raises:
        SetupError: none is there, or one can't be read.
    """
    return [entry["name"] for entry in _entries(files, "contexts")]


def check(files: str, context: str) -> None:
    """Raises SetupError when what a context of `contexts` names can't work.

    Args:
        files: as `location` gives them.
        context: its name.
    """
    chosen = _part(files, "context", context, context)
    cluster, user = (
        _part(files, kind, str(chosen.get(kind, "")), context) for kind in ("cluster", "user")
    )
    server = str(cluster.get("server", ""))
    if not server.startswith(("https://", "http://")):
        raise SetupError(
            f"context {context!r} of the kubeconfig can't be used",
            cause=f"its cluster's server is {server!r}",
            next_step="Write it as a URL: `server: https://HOST:PORT`.",
        )
    login = (user.get("exec") or {}).get("command")
    relative = login and os.sep in login and not Path(login).is_absolute()  # to the file
    if login and not relative and not shutil.which(login):
        raise SetupError(
            f"context {context!r} of the kubeconfig can't be used",
            cause=f"the program that fetches its credentials, {login}, isn't on PATH",
            next_step=user["exec"].get("installHint")
            or f"Install {login}, and start this program again from where it is on PATH.",
        )


def make_current(context: str, namespace: str, *, kubeconfig: str | None) -> Path:
    """Makes a context and a namespace the current ones for programs that this process starts.

    The file that it writes says only which two are current, and holds no credentials. It is put
    before the reader's own files in `$KUBECONFIG`, where the first that says something counts.
    Those files, and so the reader's shells, stay as they are.

    Args:
        context: one that the kubeconfig has.
        namespace: in that cluster.
        kubeconfig: as for `location`.

    Returns:
        The file, in build/kubeconfig.

    Raises:
        SetupError: there is no such context.
    """
    path = FOLDER / (re.sub(r"[^\w.-]+", "-", f"{context}-{namespace}") + ".yaml")
    files = [Path(file).expanduser() for file in location(kubeconfig).split(os.pathsep) if file]
    own = os.pathsep.join(str(file) for file in files if file.parent != FOLDER)
    part = {**_part(own, "context", context, context), "namespace": namespace}
    current = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": part}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(current), encoding="utf-8")
    os.environ["KUBECONFIG"] = os.pathsep.join([str(path), own])
    return path


def _part(files: str, kind: str, name: str, context: str) -> dict[str, Any]:
    """The context, cluster or user of a name, which a context asks for."""
    entries = _entries(files, f"{kind}s")
    part = next((entry.get(kind) for entry in entries if entry["name"] == name), None)
    if not isinstance(part, dict):
        raise SetupError(
            f"context {context!r} of the kubeconfig can't be used",
            cause=f"its {kind} {name!r} isn't there, or is empty",
            next_step=_ANEW,
        )
    return part


def _entries(files: str, kind: str) -> list[dict[str, Any]]:
    """The entries of a list, from all files, the first of a name first."""
    paths = [Path(file).expanduser() for file in files.split(os.pathsep) if file]
    there = [path for path in paths if path.exists()]
    if not there:
        raise SetupError(
            _NO_KUBECONFIG,
            cause=f"{files} doesn't exist",
            next_step="Make a cluster (`make cluster-up` prints its kubeconfig's path), and set "
            "KUBECONFIG to that path before `make lab`.",
        )
    return [entry for path in there for entry in _read(path, kind)]


def _read(path: Path, kind: str) -> list[dict[str, Any]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(
            f"the kubeconfig {path} can't be read",
            cause=error.strerror or str(error),
            next_step="Change its permissions, or set KUBECONFIG to another file.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise SetupError(
            f"the kubeconfig {path} isn't YAML",
            cause=f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else str(error),
            next_step=_ANEW,
        ) from error
    entries = (content.get(kind) or []) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and "name" in entry for entry in entries
    ):
        raise SetupError(
            f"{path} is not a kubeconfig",
            cause="it is empty" if content is None else f"it holds no list of {kind} with names",
            next_step=_ANEW,
        )
    return entries
