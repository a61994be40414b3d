"""An environment for each peer: they disagree about the packages that they need.

    python -m benchmarks.peers.environments         makes those that aren't there
    python -m benchmarks.peers.environments --lock  pins anew what each `requirements.in` asks for

They are kept in the user's cache folder under a name that follows from what is in them. uv links
files from its own cache, so that six TensorFlows take the room of one.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from helpers import settings
from helpers.errors import SetupError

FOLDER = Path(__file__).parent
NAMES = ("ray_serve", "litserve", "bentoml", "mlserver", "triton", "openvino")

_PIN = re.compile(r"^([a-z-]+)(?:\[\w+\])?==(\S+)", re.MULTILINE)
_EVERYWHERE = ("--universal", "--python-version", "3.10")
# pytriton comes for Linux x86 only and needs NumPy 1, which ends before Python 3.13.
_COMPILED_FOR = {
    "triton": ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_35")
}


def location(name: str) -> Path:
    """Where a peer's environment is or will be; another place for other pins or another Python."""
    content = (FOLDER / name / "requirements.lock").read_bytes()
    content += f"{platform.python_version()} {platform.machine()}".encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    digest = hashlib.sha256(content).hexdigest()[:12]
    return cache / "inception-tutorial" / "peers" / f"{name}-{digest}"


def python(name: str) -> Path:
    """A peer's Python. Makes its environment first if it isn't there, in a minute or two.

    Raises:
        SetupError: the packages can't be installed here.
    """
    place = location(name)
    if not (place / ".ready").exists():
        print(f"peers: an environment for {name} in {place}: a minute or two", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        _uv(name, "venv", "--quiet", "--no-project", "--python", sys.executable, str(place))
        _uv(
            name, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode",
            "--python", str(place / "bin/python"), str(FOLDER / name / "requirements.lock"),
        )  # fmt: skip
        (place / ".ready").touch()
    return place / "bin/python"


def versions() -> dict[str, str]:
    """The version of each peer, as its `requirements.in` pins it."""
    pins = (_PIN.findall((FOLDER / name / "requirements.in").read_text()) for name in NAMES)
    return {package: version for found in pins for package, version in found}


def lock(name: str) -> None:
    """Writes a peer's lock from its `requirements.in`.

    Raises:
        SetupError: there are no versions that fit together.
    """
    folder = FOLDER / name
    _uv(
        name, "pip", "compile", "--quiet", *_COMPILED_FOR.get(name, _EVERYWHERE),
        "--generate-hashes", "--no-header", "--no-annotate",
        str(folder / "requirements.in"), "--output-file", str(folder / "requirements.lock"),
    )  # fmt: skip


def _uv(name: str, *words: str) -> None:
    uv = [sys.executable, str(settings.ROOT / "setup" / "uv.py")]
    done = subprocess.run([*uv, *words], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SetupError(
            f"The environment of {name} can't be made",
            cause=done.stderr.strip(),
            next_step="Leave it out with --only, or install what is missing and run it again.",
        )


if __name__ == "__main__":
    for each in NAMES:
        if "--lock" in sys.argv:
            lock(each)
        else:
            print(python(each))
