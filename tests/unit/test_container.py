"""What the container helpers do before an engine is asked, and with what one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import container
from helpers.container import engine, images
from helpers.errors import SetupError


def test_lines_are_handed_on_whole_however_they_come() -> None:
    seen: list[str] = []
    lines = engine.BuilderOutput(seen.append)
    for piece in ("Step 1/2 : FR", "OM base\nSte", "p 2/2 : COPY", " a b\n"):
        lines.write(piece)
    assert seen == ["Step 1/2 : FROM base", "Step 2/2 : COPY a b"]


@pytest.mark.parametrize(
    "noise",
    [" ---> Using cache", " ---> 758a4d12d917", "Removing intermediate container 70f99f825e6f"],
)
def test_the_older_builders_identifiers_are_left_out(noise: str) -> None:
    seen: list[str] = []
    engine.BuilderOutput(seen.append).write(f"Step 1/1 : FROM base\n{noise}\n")
    assert seen == ["Step 1/1 : FROM base"]


def test_lines_that_progress_prints_dont_come_back_to_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import contextlib

    lines = engine.BuilderOutput(print)
    with contextlib.redirect_stdout(lines):
        print("Step 1/1 : FROM base")
    assert capsys.readouterr().out == "Step 1/1 : FROM base\n"


@pytest.mark.parametrize(
    ("made_by", "shown"),
    [
        ("/bin/sh -c #(nop)  USER 65532:65532", "USER 65532:65532"),
        ("COPY inception/1 /models/inception/1 # buildkit", "COPY inception/1 /models/inception/1"),
        (f"/bin/sh -c #(nop) COPY dir:{'0' * 64} in /models ", "COPY /models"),
        ("", "the base image"),
        ("RUN " + "x" * 200, "RUN " + "x" * 95 + "…"),
    ],
)
def test_a_layer_is_named_by_its_instruction(made_by: str, shown: str) -> None:
    assert images._instruction(made_by) == shown


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ("dial tcp: lookup registry: no such host", "Connect to the network"),
        ("manifest unknown: tag not found", "Check the base image's name"),
        ("write /var: no space left on device", "docker system prune"),
        ("something else", "Read the engine's lines"),
    ],
)
def test_what_the_engine_says_decides_the_next_step(words: str, step: str) -> None:
    assert step in images._how_to_mend(words, "base:1")


def test_without_the_cli_the_reason_comes_with_a_way_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "go on without" in container.why_no_engine()
    with pytest.raises(SetupError, match="there is no `docker` on PATH"):
        container.build(tmp_path)


def test_the_dockerfile_pins_its_base_and_names_nobody() -> None:
    lines = container.DOCKERFILE.read_text().splitlines()
    (base,) = (line for line in lines if line.startswith("ARG SERVING_IMAGE="))
    assert base.rpartition(":")[2] not in ("", "latest")
    assert "USER 65532:65532" in lines


def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a `docker` on PATH, and nothing else."""
    program = tmp_path / "docker"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho permission denied >&2; exit 1\n", "Add yourself to the group `docker`"),
        ("#!/bin/sh\necho no daemon >&2; exit 1\n", "no Docker engine answers: no daemon. Start"),
        ("#!/bin/sh\nexec sleep 30\n", "doesn't answer: `docker version` waited 0.5 s"),
        ("\x7fELF of another processor", "can't be run: Exec format error. Install Docker anew"),
    ],
)
def test_an_engine_that_cant_be_used_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.setattr(engine, "_ANSWERS_WITHIN_S", 0.5)
    docker(tmp_path, monkeypatch, script)
    assert words in container.why_no_engine()
