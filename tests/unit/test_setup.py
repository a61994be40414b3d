"""The first command on other machines: fakes for Python and uv, and mirrors of our own."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from small_servers import Quiet, served

from helpers import settings
from helpers.faults import certificates

TOOLS = ("bash", "dirname", "mktemp", "rm", "mkdir", "cat", "chmod", "env")

# A Python of a version, which does what the set-up asks for: `-m venv` makes an environment of the
# same kind, `-m pip` puts a uv there, and all its calls are written down.
PYTHON = """#!{bash}
echo "{name} $*" >>{calls}
case "$*" in
  --version) echo "Python {version}" ;;
  *version_info*) {suits} ;;
  *ensurepip*) {ensurepip} ;;
  "-m venv "*) mkdir -p "$3/bin" && cat "$0" >"$3/bin/python" && chmod +x "$3/bin/python" ;;
  *"uv.py python find"*) {found} ;;
  *"uv.py python install"*) {fetches} ;;
esac
"""


class Machine:
    """A PATH that has these fakes and a few tools, and a copy of the set-up's scripts."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.calls = folder / "a clone", folder / "bin", folder / "calls"
        shutil.copytree(settings.ROOT / "setup", self.root / "setup")
        self.bin.mkdir()
        self.calls.touch()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)

    def python(
        self, name: str, version: str, *, pip: bool = True, offline: bool = False, at: str = ""
    ) -> Path:
        """Puts a Python on PATH, or elsewhere."""
        minor = int(version.split(".")[1])
        path = Path(at or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fetched = self.root / ".python" / "python3.12"
        script = PYTHON.format(
            bash=shutil.which("bash"), name=name, calls=self.calls, version=version,
            suits="exit 0" if 10 <= minor < 14 else "exit 1",
            ensurepip="exit 0" if pip else "exit 1",
            found=f"[ -e '{fetched}' ] && echo '{fetched}'",
            fetches="exit 1" if offline else f"cp -r '{self.root}/spare' '{self.root}/.python'",
        )  # fmt: skip
        path.write_text(script)
        path.chmod(0o755)
        return path

    def setup(self, *python: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(self.root / "setup" / "environment"), ".venv", "0.13.9", *python]
        return subprocess.run(
            command, env={"PATH": str(self.bin)}, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    (machine.bin / "cp").symlink_to(shutil.which("cp") or "cp")
    return machine


def test_the_first_python_that_will_do_makes_the_environment(machine: Machine) -> None:
    machine.python("python3", "3.14.1")
    machine.python("python3.11", "3.11.9")
    done = machine.setup()
    assert (done.returncode, done.stderr) == (0, "")
    calls = machine.calls.read_text()
    assert "python3.11 -m venv .venv" in calls
    assert "setup/uv.py pip sync" in calls
    assert "uv.py python" not in calls


def test_only_a_newer_python_on_path_fetches_one_that_will_do(machine: Machine) -> None:
    machine.python("python3", "3.14.1")
    machine.python("python3.12", "3.12.9", at=str(machine.root / "spare"))
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert "PATH has only Python 3.14.1: fetching 3.12 with uv" in done.stderr
    assert "python3.12 -m venv .venv" in machine.calls.read_text()
    assert not list(machine.root.glob("tmp*"))


def test_where_none_can_be_fetched_it_says_what_to_install(machine: Machine) -> None:
    machine.python("python3", "3.14.1", offline=True)
    done = machine.setup()
    assert done.returncode == 1
    assert "uv couldn't fetch Python 3.12" in done.stderr
    assert "dnf install python3.12" in done.stderr
    assert not (machine.root / ".venv").exists()


@pytest.mark.parametrize(
    ("pythons", "named", "words"),
    [
        ({}, (), "there is no Python with venv on PATH. Install Python 3.12"),
        ({"python3": "3.12.1"}, (), "apt-get install python3-venv"),
        ({"python3": "3.12.1"}, ("python3.14",), "python3.14 isn't Python 3.10 to 3.13"),
    ],
)
def test_a_machine_that_lacks_something_says_what(
    machine: Machine, pythons: dict[str, str], named: tuple[str, ...], words: str
) -> None:
    for name, version in pythons.items():
        machine.python(name, version, pip=False)
    done = machine.setup(*named)
    assert done.returncode == 1
    assert words in done.stderr


def test_an_environment_of_another_python_is_not_built_upon(machine: Machine) -> None:
    machine.python("python3", "3.12.1")
    machine.python("python", "3.14.1", at=str(machine.root / ".venv" / "bin"))
    assert "Remove .venv, then run it again" in machine.setup().stderr


def test_a_windows_clones_scripts_start(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    crlf = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run([*crlf, "clone", "--quiet", str(settings.ROOT), str(clone)], check=True)
    # What isn't committed yet counts, too.
    shutil.copy(settings.ROOT / ".gitattributes", clone)
    subprocess.run([*crlf, "rm", "--quiet", "-r", "--cached", "."], cwd=clone, check=True)
    subprocess.run([*crlf, "reset", "--quiet", "--hard"], cwd=clone, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--eol"], cwd=clone, check=True, capture_output=True, text=True
    )
    assert [line for line in listed.stdout.splitlines() if "w/crlf" in line] == []
    subprocess.run(["bash", "-n", str(clone / "tests" / "cluster" / "up")], check=True)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package index of one small wheel, as files: `simple/` for pip's protocol, `wheels/`."""
    root = tmp_path_factory.mktemp("index")
    (root / "wheels").mkdir()
    name = "only_on_the_mirror-1.0-py3-none-any.whl"
    info = "only_on_the_mirror-1.0.dist-info"
    with zipfile.ZipFile(root / "wheels" / name, "w") as wheel:
        wheel.writestr("only_on_the_mirror.py", "")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: only-on-the-mirror\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    page = root / "simple" / "only-on-the-mirror" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="/wheels/{name}">{name}</a>')
    (root / "empty").mkdir()
    return root


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> certificates.Authority:
    return certificates.Authority("company")


@pytest.fixture(scope="module")
def http(index: Path) -> Iterator[str]:
    with served(partial(Quiet, directory=str(index))) as address:
        yield f"http://{address}"


@pytest.fixture(scope="module")
def https(
    index: Path, authority: certificates.Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    pair, both = authority.sign("server"), tmp_path_factory.mktemp("pair") / "both.pem"
    both.write_bytes(pair.key + pair.certificate)
    with served(partial(Quiet, directory=str(index)), both) as address:
        yield f"https://{address}"


INSTALL = (sys.executable, "setup/uv.py", "pip", "install", "--no-cache", "--target")
WAYS = {
    "PIP_INDEX_URL": {"PIP_INDEX_URL": "{http}/simple"},
    "PIP_EXTRA_INDEX_URL": {
        "PIP_INDEX_URL": "{http}/empty",
        "PIP_EXTRA_INDEX_URL": "{http}/simple",
    },
    "PIP_FIND_LINKS": {"PIP_FIND_LINKS": "{index}/wheels /not/there", "PIP_NO_INDEX": "1"},
    "PIP_CERT": {"PIP_INDEX_URL": "{https}/simple", "PIP_CERT": "{authority}"},
    "REQUESTS_CA_BUNDLE": {"PIP_INDEX_URL": "{https}/simple", "REQUESTS_CA_BUNDLE": "{authority}"},
    "PIP_TRUSTED_HOST": {"PIP_INDEX_URL": "{https}/simple", "PIP_TRUSTED_HOST": "127.0.0.1"},
    "pip.conf": {"PIP_CONFIG_FILE": "[global]\nindex-url = {http}/simple\n"},
    "pip.conf for install": {
        "PIP_CONFIG_FILE": "[install]\nno-index = true\n"
        "find-links =\n  /not/there\n  {index}/wheels\n"
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_uv_installs_from_where_pip_does(
    index: Path, authority: certificates.Authority, http: str, https: str, tmp_path: Path, way: str
) -> None:
    (tmp_path / "authority.pem").write_bytes(authority.certificate)
    places = {"index": index, "http": http, "https": https, "authority": tmp_path / "authority.pem"}
    pips = {name: value.format(**places) for name, value in WAYS[way].items()}
    if "PIP_CONFIG_FILE" in pips:
        (tmp_path / "pip.conf").write_text(pips["PIP_CONFIG_FILE"])
        pips["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
    bare = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_", "CURL_"))
    }
    done = subprocess.run(
        [*INSTALL, str(tmp_path), "only-on-the-mirror==1.0"],
        cwd=settings.ROOT, env=bare | {"PIP_CONFIG_FILE": os.devnull} | pips,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "only_on_the_mirror.py").exists()


def test_what_uv_was_told_itself_stays(index: Path, http: str, tmp_path: Path) -> None:
    command = [*INSTALL, str(tmp_path), "only-on-the-mirror"]
    wrong = {"PIP_INDEX_URL": f"{http}/empty", "UV_DEFAULT_INDEX": f"{http}/simple"}
    subprocess.run(command, cwd=settings.ROOT, env=os.environ | wrong, check=True)
    assert (tmp_path / "only_on_the_mirror.py").exists()


def recipe(*words: str, **environment: str) -> str:
    """What make would run."""
    command = ["make", "--dry-run", "--always-make", *words]
    env = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(
        command, cwd=settings.ROOT, env=env, check=True, capture_output=True, text=True
    ).stdout


def test_options_of_make_lab_reach_jupyterlab() -> None:
    said = recipe("lab", "LAB=--no-browser --port 9999")
    assert ".venv/bin/python -m helpers.book.open_lab --no-browser --port 9999\n" in said


def test_an_activated_conda_environment_of_ours_is_used(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    (packages / "inception_serving_tutorial-0.1.0.dist-info").mkdir(parents=True)
    said = recipe("lab", CONDA_PREFIX=str(tmp_path))
    assert f"{tmp_path}/bin/python -m helpers.book.open_lab" in said
    assert "no .venv is made" in said
    assert "setup/environment" not in said


def test_another_conda_environment_is_not(tmp_path: Path) -> None:
    said = recipe("lab", CONDA_PREFIX=str(tmp_path))
    assert "setup/environment .venv" in said
    assert ".venv/bin/python -m helpers.book.open_lab" in said


SESSION = """
import os, pwd, sys
from pathlib import Path
from helpers import photos
from helpers.lab import plots, preflight
from helpers.clusters import connect
from helpers.export import runtime
named = os.getuid() in [user.pw_uid for user in pwd.getpwall()]
with connect("local", logs=Path(sys.argv[1])) as cluster:
    print(named, cluster)
"""


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_a_read_only_home_is_enough(tmp_path: Path, named: bool) -> None:
    """As in a container, which may also run under a number that has no name."""
    nameless = [
        "setpriv", "--reuid=54321", "--regid=54321", "--clear-groups",
        # It may read this environment, wherever that is.
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
    ]  # fmt: skip
    if not named and (os.geteuid() != 0 or not shutil.which("setpriv")):
        pytest.skip("only root, with util-linux's setpriv, may run a program as nobody's number")
    done = subprocess.run(
        [*([] if named else nameless), sys.executable, "-c", SESSION, str(tmp_path / "logs")],
        env={"PATH": os.environ["PATH"], "HOME": "/proc", "PYTHONPATH": str(settings.ROOT)},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{named} local cluster behind")
