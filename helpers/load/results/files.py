"""Results as files: checked against the schema, written whole or not at all."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from helpers import settings
from helpers.errors import ResultError
from helpers.load import Run
from helpers.load.results.record import SCHEMA, Figure, Result

_SCHEMA_FILE = Path(__file__).with_name("schema.json")
_AGAIN = "Measure again: `make bench` writes new results."


def write(result: Result, *, folder: Path = settings.RESULTS) -> Path:
    """Writes a result to a file of its own. A reader never sees half of it.

    Args:
        result: what to write.
        folder: where; made if it isn't there.

    Returns:
        The file, named after the benchmark, the processor's class and the time.

    Raises:
        ResultError: the result doesn't fit the schema, or can't be written.
    """
    data = json.loads(_text(result))
    _check(data, f"The result of {result.name}")
    stamp = result.taken_at[:19].replace(":", "").replace("-", "")
    path = folder / f"{result.name}-{result.machine['processor_class']}-{stamp}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=folder, prefix=".", suffix=".part", delete=False) as part:
            try:
                part.write(_text(result))
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).chmod(0o644)
                Path(part.name).replace(path)
            except BaseException:
                Path(part.name).unlink()
                raise
    except OSError as error:
        raise ResultError(
            f"{path} can't be written",
            cause=error.strerror or str(error),
            next_step="Make room there, or pass another folder.",
        ) from error
    return path


def keep(
    name: str,
    *,
    runs: Mapping[str, Run],
    figures: Mapping[str, Figure] | None = None,
    folder: Path = settings.RESULTS,
) -> Result:
    """Writes a result and reads it again: what is shown is what is in the file.

    Args:
        name: which benchmark.
        runs: the runs it consists of, by name.
        figures: the numbers it was made for, by name.
        folder: where; made if it isn't there.

    Raises:
        ResultError: as `write` and `read`.
        NoRequestsError: a run has no finished request.
    """
    return read(write(Result.now(name, runs=runs, figures=figures), folder=folder))


def read(path: Path) -> Result:
    """Reads a recorded result.

    Raises:
        ResultError: the file isn't there, is cut off, is of another schema, or isn't a result.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(
            f"{path} can't be read",
            cause=error.strerror or str(error),
            next_step=f"Results are in {settings.RESULTS}; `make bench` writes them.",
        ) from error
    except ValueError as error:
        raise ResultError(
            f"{path} is not a whole JSON file", cause=str(error), next_step=_AGAIN
        ) from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise ResultError(
            f"{path} is of another schema",
            cause=f"its schema is {found!r}, and this is the reader of {SCHEMA}",
            next_step="Read it with the git revision that wrote it, or measure again.",
        )
    _check(data, str(path))
    return replace(Result.from_json(data), path=path)


def _text(result: Result) -> str:
    # Not a number and infinity are not JSON: a result that has one is wrong before it is written.
    text = json.dumps(result.to_json(), indent=1, allow_nan=False)
    # A histogram's thousand buckets on one line, not on a thousand.
    return re.sub(r"\[[-+\d.,\seEnul]*\]", lambda m: " ".join(m[0].split()), text) + "\n"


@functools.cache
def _validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(_SCHEMA_FILE.read_text()))


def _check(data: Any, what: str) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(data))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the top"
        raise ResultError(
            f"{what} doesn't fit the schema", cause=f"{where}: {error.message}", next_step=_AGAIN
        )
