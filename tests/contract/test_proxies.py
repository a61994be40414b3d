"""Who is reached directly, and by which errors a proxy is named, where the environment has one."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from small_servers import Quiet, served

from helpers import proxies, settings
from helpers.client import Classifier, addresses
from helpers.errors import ClusterError, ServerUnavailableError
from helpers.load import request_time
from helpers.load.faulty_server import faulty_server

ELSEWHERE = "192.0.2.2:18500"  # RFC 5737: nobody's
VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy", "all_proxy")
Patch = pytest.MonkeyPatch


class Page(Quiet):
    """Answers everybody; as a proxy it refuses to open a connection."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page")

    def do_CONNECT(self) -> None:  # noqa: N802
        self.send_error(403)


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with served(Page) as address:
        yield address


@pytest.fixture(autouse=True)
def bare(monkeypatch: Patch) -> None:
    """An environment that names no proxy and no exception, as before `import helpers`."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def dead(monkeypatch: Patch) -> str:
    """A proxy that isn't there, for everything."""
    proxy = "http://127.0.0.1:9"
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
    return proxy


BY_HAND = """
import sys
from urllib.request import urlopen
import grpc
from helpers.client import protos
from helpers.client import Classifier
served, page = sys.argv[1:]
with grpc.insecure_channel(served) as channel:
    request = protos.get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "inception"
    call = channel.unary_unary(protos.GET_MODEL_STATUS, None, None)
    call(request.SerializeToString(), timeout=10)
with Classifier(served) as classifier:
    classifier.status()
with Classifier([served, served], balancing="round_robin") as classifier:
    classifier.status()
urlopen(f"http://{page}", timeout=10).read()
urlopen(f"http://{page}".replace("127.0.0.1", "localhost"), timeout=10).read()
"""


@pytest.mark.parametrize("already", [{}, {"no_proxy": "*"}, {"no_grpc_proxy": "corp.example"}])
@pytest.mark.usefixtures("dead")
def test_clients_by_hand_reach_this_machine(page: str, already: dict[str, str]) -> None:
    """As in the notebooks' cells: plain grpc and plain urllib, after an import from helpers."""
    with faulty_server() as served:
        subprocess.run(
            [sys.executable, "-c", BY_HAND, served, page],
            cwd=settings.ROOT, env=os.environ | already, check=True, timeout=100,
        )  # fmt: skip


def test_what_was_excepted_stays_excepted(monkeypatch: Patch) -> None:
    monkeypatch.setenv("NO_PROXY", "corp.example, 10.0.0.0/8")
    proxies.reach_directly("127.0.0.1")
    proxies.reach_directly("127.0.0.1", "::1")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    assert os.environ["no_proxy"] == "corp.example,10.0.0.0/8,127.0.0.1,::1"


def test_httpx_can_read_what_is_excepted() -> None:
    """It is JupyterLab's, and many a reader's; it raises at an entry that it can't read."""
    script = "import helpers, httpx; httpx.Client().close()"
    subprocess.run([sys.executable, "-c", script], cwd=settings.ROOT, check=True, timeout=100)


@pytest.mark.parametrize(
    ("target", "excepted", "direct"),
    [
        ("192.0.2.2:8500", "", False),
        ("192.0.2.2:8500", "192.0.2.0/24", True),
        ("dns:///a.corp.example:8500", ".corp.example", True),
        ("a.corp.example:8500", "other.example", False),
        ("a.corp.example:8500", "*", True),
        ("10.127.0.1:8500", "", False),  # holds "127.", and isn't this machine
        ("127.3.0.1:8500", "", True),
        ("ipv6:[::1]:8500", "", True),
        ("localhost:8500", "", True),
        ("unix:/tmp/socket", "", True),
        ("ipv4:192.0.2.2:8500,192.0.2.3:8500", "", True),
    ],
)
def test_a_target_goes_by_the_proxy_or_directly(
    monkeypatch: Patch, dead: str, target: str, excepted: str, direct: bool
) -> None:
    monkeypatch.setenv("no_proxy", excepted)
    assert ("" if direct else dead) == proxies.grpc_proxy(addresses.hosts(target))


@pytest.mark.usefixtures("dead")
def test_a_dead_proxy_is_named_in_grpcs_error() -> None:
    with (
        Classifier(ELSEWHERE, timeout_s=5) as classifier,
        pytest.raises(ServerUnavailableError, match=r"by way of the proxy http://127\.0\.0\.1:9"),
    ):
        classifier.status()


def test_a_proxy_that_refuses_is_named_without_its_password(page: str, monkeypatch: Patch) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:secret@{page}")
    with (
        Classifier(ELSEWHERE, timeout_s=5) as classifier,
        pytest.raises(ServerUnavailableError, match=f"proxy http://{page}.* 403") as raised,
    ):
        classifier.status()
    assert "secret" not in str(raised.value)


@pytest.mark.usefixtures("dead")
def test_a_dead_proxy_is_named_in_urllibs_error() -> None:
    with pytest.raises(ClusterError, match=r"by way of the proxy http://127\.0\.0\.1:9"):
        request_time.times(ELSEWHERE)


@pytest.mark.usefixtures("dead")
def test_a_host_that_is_reached_directly_from_now_on_is_asked_itself() -> None:
    proxies.reach_directly("198.51.100.7")
    assert proxies.grpc_proxy(["198.51.100.7"]) == ""
    assert proxies.http_proxy("http://198.51.100.7:8501/v1") == ""
    assert proxies.http_proxy("http://198.51.100.8:8501/v1") != ""
