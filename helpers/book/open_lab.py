"""`make lab`: JupyterLab at a page of contents, on copies of the notebooks that are the reader's.

    python -m helpers.book.open_lab [OPTIONS OF JUPYTERLAB]

JupyterLab writes into a notebook that is only looked at, so it gets copies, in `lab/`: git ignores
them, the tests and `make tutorial` use the originals, and links between notebooks and to `../`
lead to the same files from there. A copy is made once. When its original changes later, it follows
only where nobody has touched it; otherwise a line says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

from helpers import settings
from helpers.book.command import check_typed
from helpers.errors import NotebookError

WORKSPACE = "tutorial"
_CONTENTS = "README.md"
_COPIED = ".copied.json"  # the hash of each original when it was copied
_SETTINGS = settings.ROOT / "setup" / "jupyterlab"
_NOTE = (
    "*These notebooks are your copies, in the folder `lab/`: run and change them as you like. To "
    "get one as it was, rename or delete yours, and run `make lab` again.*"
)


def copy(notebooks: Path = settings.NOTEBOOKS, lab: Path = settings.LAB) -> list[str]:
    """Copies the notebooks that aren't there yet, and makes the page of contents anew.

    Args:
        notebooks: the originals; the README is one folder above.
        lab: where the copies go.

    Returns:
        The names of those that the reader has changed and whose originals have changed since.
    """
    lab.mkdir(exist_ok=True)
    record = lab / _COPIED
    copied = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    behind = []
    for original in sorted(notebooks.glob("*.ipynb")):
        content, mine = original.read_bytes(), lab / original.name
        untouched = not mine.exists() or _hash(mine.read_bytes()) == copied.get(original.name)
        if untouched:
            mine.write_bytes(content)
            copied[original.name] = _hash(content)
        elif copied.get(original.name) != _hash(content):
            behind.append(original.name)
    record.write_text(json.dumps(copied, indent=1), encoding="utf-8")
    readme = notebooks.parent / _CONTENTS
    (lab / _CONTENTS).write_text(contents(readme.read_text(encoding="utf-8")), encoding="utf-8")
    return behind


def contents(readme: str) -> str:
    """The README as it reads from `lab/`: its links to notebooks lead to the copies."""

    def moved(link: re.Match[str]) -> str:
        target = link[1]
        if re.match(r"[a-z]+:|[#/]", target):
            return link[0]
        return f"]({target.removeprefix('notebooks/') if '.ipynb' in target else f'../{target}'})"

    title, _, rest = re.sub(r"\]\(([^)]+)\)", moved, readme).partition("\n")
    return f"{title}\n\n{_NOTE}\n{rest}"


def command(options: list[str], *, lab: Path = settings.LAB) -> list[str]:
    """JupyterLab's command: the repository is its root, so that all that is named can be opened.

    Args:
        options: more of them; the last of a name counts.
        lab: where the copies are.
    """
    page = f"/lab/workspaces/{WORKSPACE}/tree/{lab.name}/{_CONTENTS}"
    return [
        sys.executable, "-m", "jupyterlab",
        f"--ServerApp.root_dir={lab.parent}",
        f"--LabApp.default_url={page}",
        # Its own: the tabs of another project would be looked for here.
        f"--LabApp.workspaces_dir={lab / '.workspaces'}",
        f"--LabApp.app_settings_dir={_SETTINGS}",  # no pop-up about news; Markdown shown as a page
        "--LanguageServerManager.autodetect=False",  # or it lists twenty that aren't installed
        "--MappingKernelManager.transport_encryption=auto",  # or each kernel warns that it has none
        # In a container there is nobody else. It listens on loopback only, and asks for its token.
        *(["--allow-root"] if os.getuid() == 0 else []),
        *options,
    ]  # fmt: skip


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main(options: list[str]) -> None:
    """Makes the copies and becomes JupyterLab."""
    try:
        check_typed(os.environ, {"LAB"})
    except NotebookError as error:
        sys.exit(f"lab: {error}")
    for name in copy():
        print(
            f"lab: notebooks/{name} has changed since you copied it, and so has your lab/{name}. "
            "Rename yours to get the new one."
        )
    words = command(options)
    os.execv(words[0], words)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
