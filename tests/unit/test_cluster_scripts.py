"""The test cluster's scripts, with a kubectl that only writes down what it is asked."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers import settings

SCRIPTS = settings.ROOT / "tests" / "cluster"
# Two Services wait: one is told of twice, since it changed before it got its address. The API
# server is busy at the first look at it; later it has its address. The other is gone.
KUBECTL = """#!/bin/bash
echo "$*" >>"$CALLS"
case "$*" in
  *--watch*) printf 'shop web\\nshop web\\nshop gone\\n'; sleep 60 ;;
  "get service -n shop gone "*) ;;
  "get service -n shop web "*)
    [ "$(grep -c "get service -n shop web" "$CALLS")" = 1 ] && exit 1
    grep -q patch "$CALLS" && printf 'Service[{"ip":"198.19.192.2"}]' || printf Service ;;
  "get services -A -o jsonpath"*) echo 198.19.192.1 ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path) -> list[str]:
    """What the load balancer asked of kubectl in its first seconds."""
    kubectl, written = tmp_path / "kubectl", tmp_path / "calls"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(written)}
    with subprocess.Popen(
        [SCRIPTS / "load-balancer"], env=environment, start_new_session=True
    ) as balancer:
        try:
            deadline = time.monotonic() + 20
            while not (written.exists() and "shop gone" in written.read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(2.5)  # more than two of the seconds in which it used to look again
        finally:
            os.killpg(balancer.pid, signal.SIGKILL)
    return written.read_text().splitlines()


def test_the_load_balancer_watches_once(calls: list[str]) -> None:
    assert [call for call in calls if "-A" in call and "jsonpath" not in call] == [
        call for call in calls if "--watch" in call
    ]
    assert sum("--watch" in call for call in calls) == 1


def test_the_load_balancer_gives_each_service_one_free_address(calls: list[str]) -> None:
    patches = [call for call in calls if call.startswith("patch")]
    assert len(patches) == 1
    assert "-n shop web" in patches[0]
    assert '"ip":"198.19.192.2"' in patches[0]


def test_a_proxy_is_not_on_the_way_to_the_cluster() -> None:
    script = f'. {SCRIPTS}/common && echo "$NO_PROXY" "$no_proxy"'
    environment = {"PATH": os.environ["PATH"], "no_proxy": "corp.example"}
    said = subprocess.run(
        ["bash", "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert said.stdout.split() == ["corp.example,localhost,127.0.0.1,198.18.0.0/15"] * 2
