"""Why a replica didn't become ready, in words that end with the next step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.clusters import arguments
from helpers.errors import NotReadyError
from helpers.settings import shown

_LINES, _LONGEST = 5, 300
_EXPORT = "Run notebook 01, which exports the model there"

# What a server says in its log, and what to do about it.
_KNOWN = (
    (
        r"address already in use|could not bind|failed to bind|unable to bind",
        "Another program listens on the port that the flags name: end it, or choose another.",
    ),
    (r"no space left on device", "Free some space on the disk, then apply again."),
    (
        r"unknown (?:command line )?(?:flag|argument|option)|unrecognized arguments|"
        r"failed to parse|invalid flag",
        "Correct the flag in the container's args, or in the args that apply() was given.",
    ),
    (
        r"memoryerror|resource exhausted: oom|std::bad_alloc|out of memory|SIGKILL",
        "It may have run out of memory: scale to fewer replicas, or close other programs.",
    ),
    (
        r"data_loss|read less bytes|can't parse .*saved_model|checksum does not match",
        "The model's files are damaged: remove that version and run notebook 01 again.",
    ),
    (
        r"can't read (?:/|\.)|failed to open|batching_parameters_file|monitoring_config_file",
        "Correct the file that the flag names; /etc/serving is the folder serving/.",
    ),
    (
        r"^startup probe .*: (?:no (?:connection|answer) in|Connect call failed)",
        "If it is only slow, give it longer: the startupProbe's failureThreshold times its "
        "periodSeconds.",
    ),
    (
        r"no module named",
        "Run `make setup`, and start Python or Jupyter from the environment that it makes.",
    ),
)
# Not worth a line in an error: what every start writes (glog's and TensorFlow's information, that
# there is no GPU), Python's call stack, our own marks.
_NOISE = re.compile(
    r"^\s*$|^---\s|^WARNING:|^\s{2,}\S|^Traceback|cuda|cuInit"
    r"|^(?:\d{4}-\d\d-\d\d [\d:.,]+:? )?(?:I(?:\d{4})?|INFO|DEBUG)\b"
)
_MARKS = re.compile(r"^---\s.*$", re.MULTILINE)  # lines of ours in a replica's log
_NO_LOG = "Apply it again, and look at what else this machine was doing."
_WORTH = re.compile(r"error|fail|fatal|could not|cannot|can't|unknown|no versions|not found", re.I)


def model_problem(flags: Sequence[str], models: Path) -> tuple[str, str]:
    """What is wrong with the directory that the flags name as the model's.

    The server itself only waits for it to come right, as long as it takes.

    Args:
        flags: the container's.
        models: the directory that the container sees as `/models`.

    Returns:
        The cause and the next step; both empty when the newest version is whole, or when a
        configuration file names the models.
    """
    base = arguments.value(flags, "model_base_path")
    if not base or arguments.value(flags, "model_config_file"):
        return "", ""
    path = Path(arguments.on_this_machine(base, models=models))
    where = f"the model directory {shown(path)}"
    if not path.exists():
        return f"{where} doesn't exist", f"{_EXPORT}, or name another: connect(…, models=…)."
    if not path.is_dir():
        return f"{where} is a file", f"{_EXPORT}, or name another: connect(…, models=…)."
    inside = sorted(entry.name for entry in path.iterdir())
    if not inside:
        return f"{where} is empty", f"{_EXPORT}."
    versions = sorted((int(name), name) for name in inside if re.fullmatch(r"\d+", name))
    if not versions:
        return (
            f"{where} has no version in it: its folders have to be named as numbers, such as 1, "
            f"and it holds {', '.join(inside[:4])}",
            f"Move the model into {shown(path / '1')}, or run notebook 01.",
        )
    newest = path / versions[-1][1]
    parts = ["saved_model.pb", "variables/variables.index"]
    if (newest / "model.tflite").exists() or (newest / "saved_model.pbtxt").exists():
        return "", ""
    missing = [part for part in parts if not (newest / part).exists()]
    begun = any((newest / "variables").glob("*"))
    if missing == parts[1:] and not begun and not _has_variables(newest / parts[0]):
        return "", ""  # the fast form is one: its weights are constants, `variables` is empty
    if missing:
        return (
            f"version {newest.name} in {where} is only half there: {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing",
            f"Wait until it is copied, or remove {shown(newest)} and run notebook 01 again.",
        )
    return "", ""


def _has_variables(graph: Path) -> bool:
    """Whether a saved_model.pb has the operations that hold a variable, of TensorFlow 2 or 1."""
    data = graph.read_bytes()
    return any(operation in data for operation in (b"VarHandleOp", b"VariableV2"))


def telling_lines(log: str) -> list[str]:
    """The last few lines of a log that say what went wrong, or failing that the last few."""
    lines = [line.rstrip()[:_LONGEST] for line in log.splitlines()]
    kept = [line for line in lines if not _NOISE.search(line)]
    worth = [line for line in kept if _WORTH.search(line)]
    return (worth or kept)[-_LINES:]


def next_step(log: str, log_path: Path) -> str:
    """What to do about a server that ended, from what its log says."""
    step = _mended_by(log)
    return (
        f"{step} The whole log: {shown(log_path)}" if step else f"Read its log: {shown(log_path)}"
    )


def _mended_by(said: str) -> str:
    return next((step for what, step in _KNOWN if re.search(what, said, re.I | re.M)), "")


def failure(pod: dict[str, Any]) -> NotReadyError:
    """The error of a replica that ended before it was ready.

    Args:
        pod: as the supervisor tells it.
    """
    log_path = Path(pod["log"])
    log = log_path.read_text(encoding="utf-8", errors="replace")
    lines = telling_lines(log)
    step = next_step(f"{log}\n{pod['failed']}", log_path)
    if lines:
        said = "\n    ".join(["; its log ends:", *lines])
    elif _MARKS.sub("", log).strip():
        said = ", and its log doesn't say why"
    else:  # nobody is sent to read nothing
        said, step = ", and it wrote no log", _mended_by(pod["failed"]) or _NO_LOG
    return NotReadyError(
        f"{pod['name']} is not ready", cause=f"{pod['failed']}{said}", next_step=step
    )


def so_far(pods: Sequence[dict[str, Any]], wanted: int) -> str:
    """How many replicas are ready, in words: `4 of 4 replicas ready, 2 leaving`.

    Args:
        pods: as the supervisor tells them.
        wanted: how many should be.
    """
    good = sum(pod["ready"] and pod["current"] for pod in pods)
    old = sum(not pod["current"] for pod in pods)
    ending = sum(pod["status"] == "Terminating" and pod["current"] for pod in pods)
    leaving = ending + max(good - wanted, 0)
    words = f"{min(good, wanted)} of {wanted} {'new replicas' if old else 'replicas'} ready"
    return words + f", {old} old" * bool(old) + f", {leaving} leaving" * bool(leaving)


def late(
    pods: Sequence[dict[str, Any]], good: int, wanted: int, timeout_s: float, *, logs: Path
) -> NotReadyError:
    """The error of replicas that are not ready in time.

    Args:
        pods: as the supervisor tells them.
        good: how many are ready and up to date.
        wanted: how many should be.
        timeout_s: how long that was waited for.
        logs: the directory with their logs.
    """
    waiting = [pod for pod in pods if not (pod["ready"] and pod["current"])]
    causes = (f"{pod['name']}: {pod['reason'] or pod['status']}" for pod in waiting)
    first = shown(Path(waiting[0]["log"])) if waiting else shown(logs)
    return NotReadyError(
        f"{good} of {wanted} replicas were ready after {timeout_s:g} s",
        cause="; ".join(causes),
        next_step=f"Allow more time (timeout_s), or read the log: {first}",
    )
