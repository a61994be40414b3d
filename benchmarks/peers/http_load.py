"""The closed loop of `helpers.load` over HTTP/1.1: the same run comes out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helpers import settings, stats
from helpers.errors import LoadError, ServerUnavailableError
from helpers.load import Generator, Run

_LEAD_S = 0.05  # from the word to start until the warm-up begins
_SPARE_S = 30.0


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A POST as it goes over the wire."""
    fields = {"Host": "127.0.0.1", **headers, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def closed_loop(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    concurrency: int,
    duration_s: float,
    warmup_s: float = 0.0,
    timeout_s: float = 60.0,
) -> Run:
    """Keeps `concurrency` requests on their way, one photo in each.

    Args:
        address: IP address and port.
        requests: whole requests, as `request` makes them, sent in turns.
        concurrency: requests without an answer at any time; each has a connection.
        duration_s: seconds to measure.
        warmup_s: seconds of the same load before.
        timeout_s: after which a request has failed.

    Raises:
        ServerUnavailableError: nobody listens there.
        LoadError: the generator failed or hung.
    """
    with TemporaryDirectory(prefix="peers-") as folder:
        plan: dict[str, Any] = {
            "address": address,
            "requests": [_written(Path(folder, f"request-{i}"), r) for i, r in enumerate(requests)],
            "concurrency": concurrency,
            "duration_s": duration_s,
            "warmup_s": warmup_s,
            "timeout_s": timeout_s,
            "records": str(Path(folder, "records")),
        }
        end = _generate(_written(Path(folder, "plan.json"), json.dumps(plan).encode()), plan)
        records = np.fromfile(plan["records"], stats.RECORD)
    settings_ = {
        "scenario": "closed_loop",
        "addresses": [f"{address[0]}:{address[1]}"],
        "concurrency": concurrency,
        "requests": None,
        "duration_s": duration_s,
        "warmup_s": warmup_s,
        "processes": 1,
        "channels": concurrency,
        "timeout_s": timeout_s,
        "photos": len(requests),
        "photos_per_request": 1,
        "planned": None,
    }
    details = {stats.code_name(int(code)): text for code, text in end.pop("details").items()}
    return Run(
        settings=settings_,
        records=records[np.argsort(records["due_s"], kind="stable")],
        duration_s=duration_s,
        generators=(Generator(**end),),
        details=details,
    )


def _written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def _generate(plan_file: str, plan: dict[str, Any]) -> dict[str, Any]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.generator", plan_file],
        cwd=settings.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if line.startswith("{"):
                raise ServerUnavailableError(
                    "No load can be put on {}:{}".format(*plan["address"]),
                    cause=json.loads(line)["error"],
                    next_step="Is the server running and ready, and is this its HTTP port?",
                    code="UNAVAILABLE",
                )
            zero = time.monotonic() + _LEAD_S + plan["warmup_s"]
            most_s = plan["warmup_s"] + plan["duration_s"] + 2 * plan["timeout_s"] + _SPARE_S
            out, errors = process.communicate(f"start {zero!r}\n", timeout=most_s)
            if process.returncode:
                raise _failed(errors.strip().rpartition("\n")[2])
            end: dict[str, Any] = json.loads(out)
            return end
        except subprocess.TimeoutExpired as error:
            raise _failed("it did not answer in time") from error
        finally:
            process.kill()


def _failed(why: str) -> LoadError:
    return LoadError(
        "A load generator failed",
        cause=why or "it ended without a word",
        next_step="Run it again; if it fails again, report it with this message.",
    )
