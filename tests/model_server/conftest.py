"""One server for all tests that don't need flags of their own, over tiny models."""

from __future__ import annotations

import fcntl
import hashlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from PIL import Image
from running import ROOT, Server, config_file, serving

MAKE_MODELS = Path(__file__).with_name("make_models.py")


@pytest.fixture(scope="session")
def models() -> Path:
    """The tiny models, made once: this takes 15 s and depends on nothing but the script."""
    made_by = MAKE_MODELS.read_bytes() + version("tensorflow").encode()
    directory = ROOT / "build" / "test-models" / hashlib.sha256(made_by).hexdigest()[:12]
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may run the tests
        if not directory.exists():
            unfinished = Path(tempfile.mkdtemp(dir=directory.parent))
            subprocess.run(
                [sys.executable, str(MAKE_MODELS), str(unfinished)], check=True, capture_output=True
            )
            unfinished.rename(directory)
    return directory


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """All models, batches of up to 8, metrics and health; nothing in it may be changed."""
    directory = tmp_path_factory.mktemp("server")
    config = config_file(
        directory / "models.config",
        {
            name: models / name
            for name in ("photos", "identities", "slow", "half", "keras", "examples")
        },
        half="model_version_policy { all {} } version_labels { key: 'stable' value: 1 } "
        "version_labels { key: 'canary' value: 3 }",
    )
    batching = directory / "batching.config"
    batching.write_text("max_batch_size { value: 8 } num_batch_threads { value: 2 }")
    monitoring = directory / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with serving(
        directory / "log",
        f"--model_config_file={config}",
        "--enable_batching",
        f"--batching_parameters_file={batching}",
        f"--monitoring_config_file={monitoring}",
        "--enable_grpc_healthcheck_service=true",
        "--rest_api_enable_cors_support",
        "--request_log",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A JPEG that is mostly red."""
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (200, 100, 50)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def listed(models: Path, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server over a file that it reads every second, and the file."""
    file = config_file(tmp_path / "models.config", {"half": models / "half"})
    with serving(
        tmp_path / "log", f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1",
        "--max_num_load_retries=0", "--enable_grpc_healthcheck_service",
    ) as running:  # fmt: skip
        yield running, file
