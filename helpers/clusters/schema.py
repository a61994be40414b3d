"""Kubernetes manifests checked field by field, without an API server.

The schema is the one in the `kubernetes` package, which is generated from the API's own. A field
that doesn't exist is refused, as `kubectl apply` would: silently dropped, an edit has no effect.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from helpers.errors import ManifestError
from helpers.settings import shown

# Quantities may be written without quotes (`cpu: 1`), unlike every other string.
_QUANTITIES = {"limits", "requests", "sizeLimit", "divisor", "capacity"}


class _Loader(yaml.SafeLoader):
    """Safe, and refuses a key that is written twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key.value} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> dict[str, Any]:
    """The one resource in a file.

    Raises:
        ManifestError: the file is missing, isn't YAML, or doesn't hold one resource.
    """
    try:
        # yaml's safe loader with one more check
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_Loader))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ManifestError(
            f"{shown(path)} can't be read",
            cause=reason,
            next_step=f"Bring it back with `git checkout -- {shown(path)}`, or name the directory "
            "that holds your manifests.",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ManifestError(
            f"{shown(path)}{line} isn't YAML that can be used",
            cause=getattr(error, "problem", None) or str(error),
            next_step="Correct that line; indentation is made of spaces, never of tabs.",
        ) from error
    documents = [document for document in documents if document is not None]
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ManifestError(
            f"{shown(path)} doesn't hold one resource",
            cause=f"it holds {len(documents)} documents",
            next_step="Write one resource a file, starting with apiVersion, kind and metadata.",
        )
    return documents[0]


def check(resource: dict[str, Any], path: Path, model: str) -> None:
    """Checks a resource against the API's schema.

    Args:
        resource: what the file holds.
        path: the file, for messages.
        model: the schema's name in `kubernetes.client`, such as `V1Deployment`.

    Raises:
        ManifestError: names the file, the field and what may stand there.
    """
    from pydantic import ValidationError

    client = _api()

    kind = model.removeprefix("V1")
    if resource.get("kind") != kind:
        raise wrong(path, "kind", f"it is {resource.get('kind')!r}", f"Write `kind: {kind}`.")
    try:
        known = getattr(client, model).model_validate(resource)
    except ValidationError as error:
        found = [each for each in error.errors() if not _is_quantity(each)]
        if found:
            # A field that is written wrong is often missing too: the first is what to correct.
            first = min(found, key=lambda each: each["type"] != "extra_forbidden")
            raise _in_words(first, path, model) from error
        return
    extra = _unknown(resource, known.model_dump(by_alias=True, exclude_unset=True), ())
    if extra:  # the Python client's own spelling, period_seconds, which the API doesn't know
        raise _in_words({"type": "extra_forbidden", "loc": extra}, path, model)


def wrong(path: Path, field: str, cause: str, next_step: str) -> ManifestError:
    """The error for a field of a file."""
    return ManifestError(f"{shown(path)}: {field}", cause=cause, next_step=next_step)


def _api() -> Any:
    """`kubernetes.client`, imported when there is something to check: it takes half a second.

    It would take 2 s more where `kubernetes_validate` is installed: `kubernetes` imports that for
    an option of its dynamic client, and it brings a grammar that is compiled at each import.
    """
    optional = "kubernetes_validate"
    if optional in sys.modules:
        return importlib.import_module("kubernetes.client")
    sys.modules[optional] = None  # type: ignore[assignment]  # "not installed", while importing
    try:
        return importlib.import_module("kubernetes.client")
    finally:
        del sys.modules[optional]


def _in_words(error: Any, path: Path, model: str) -> ManifestError:
    """The error of a field, from how pydantic describes it."""
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error["loc"]).lstrip(".")
    if error["type"] == "extra_forbidden":
        known = _fields(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
        return wrong(path, where, "Kubernetes knows no such field here", hint)
    if error["type"] == "missing":
        return wrong(path, where, "it is required", "Add it.")
    value = error["input"]
    shown_value = "a list or has fields" if isinstance(value, (dict, list)) else repr(value)
    expected = error["msg"].removeprefix("Input should be ")
    hint = f"It has to be {expected}"
    if error["type"] == "string_type" and not isinstance(value, (dict, list)):
        hint += f', so quote it: "{str(value).lower()}"'
    return wrong(path, where, f"it is {shown_value}", f"{hint}.")


def _is_quantity(error: Any) -> bool:
    """Whether it is about a number where the API takes a quantity: it may do without quotes."""
    number = isinstance(error["input"], (int, float)) and not isinstance(error["input"], bool)
    return number and error["type"] == "string_type" and bool(_QUANTITIES & {*error["loc"][-2:]})


def _unknown(value: Any, known: Any, where: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where a field is that got lost on the way through the schema; empty when none did."""
    if isinstance(value, dict) and isinstance(known, dict):
        for field, inner in value.items():
            if field not in known and inner is not None:
                return (*where, field)
            if deeper := _unknown(inner, known.get(field), (*where, field)):
                return deeper
    if isinstance(value, list) and isinstance(known, list):
        for index, (inner, other) in enumerate(zip(value, known, strict=True)):
            if deeper := _unknown(inner, other, (*where, index)):
                return deeper
    return ()


def _fields(model: str, loc: tuple[str | int, ...]) -> list[str]:
    """The fields that the schema has at a place of a resource."""
    client = _api()
    for part in loc:
        if isinstance(part, str):
            schema = getattr(client, model)
            ours = {field: name for name, field in schema.attribute_map.items()}
            model = re.sub(r"^List\[(.+)\]$", r"\1", schema.openapi_types[ours[part]])
    return sorted(getattr(client, model).attribute_map.values())
