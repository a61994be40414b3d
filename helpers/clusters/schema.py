"""Kubernetes manifests checked field by field, without an API server.

The schema is the one in the `kubernetes` package, which is generated from the API's own. A field
that doesn't exist is refused, as `kubectl apply` would: silently dropped, an edit has no effect.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from helpers import settings
from helpers.errors import ManifestError

# Quantities may be written without quotes (`cpu: 1`), unlike every other string.
_QUANTITIES = {"limits", "requests", "sizeLimit", "divisor", "capacity"}
_SCALARS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}
_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a string"}


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


def shown(path: Path) -> str:
    """A path as messages name it: from the repository's root where it is inside."""
    return str(path.relative_to(settings.ROOT) if path.is_relative_to(settings.ROOT) else path)


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
    for field, expected in (("kind", model.removeprefix("V1")), ("apiVersion", None)):
        if field not in resource or (expected and resource[field] != expected):
            raise wrong(path, field, f"is {resource.get(field)!r}", f"Write `{field}: {expected}`.")
    _check(resource, model, path, "")


def wrong(path: Path, field: str, cause: str, next_step: str) -> ManifestError:
    """The error for a field of a file."""
    return ManifestError(f"{shown(path)}: {field}", cause=cause, next_step=next_step)


def _check(value: Any, kind: str, path: Path, where: str) -> None:
    if value is None or kind in ("object", "datetime"):
        return
    if inner := re.fullmatch(r"(?:list|List)\[(.+)\]", kind):
        _expect(isinstance(value, list), path, where, value, "a list: lines that start with `- `")
        for index, item in enumerate(value):
            _check(item, inner[1], path, f"{where}[{index}]")
    elif inner := re.fullmatch(r"(?:dict[\[(]|Dict\[)str, *(.+)[\])]", kind):
        _expect(isinstance(value, dict), path, where, value, "fields with values")
        for key, item in value.items():
            quantity = where.rpartition(".")[2] in _QUANTITIES and isinstance(item, (int, float))
            if not quantity:
                _check(item, inner[1], path, f"{where}.{key}")
    elif kind == "str":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and where.rpartition(".")[2] in _QUANTITIES):
            fix = f', so quote it: "{str(value).lower()}"' if not _nested(value) else ""
            _expect(isinstance(value, str), path, where, value, _WORDS["str"] + fix)
    elif kind in _SCALARS:
        right = isinstance(value, _SCALARS[kind]) and (kind == "bool") == isinstance(value, bool)
        _expect(right, path, where, value, _WORDS[kind])
    else:
        _check_fields(value, kind, path, where)


def _check_fields(value: Any, kind: str, path: Path, where: str) -> None:
    """Checks the fields of an object: their names, those that are required, their values."""
    from kubernetes import client  # half a second, so only when there is something to check

    model = getattr(client, kind)
    _expect(isinstance(value, dict), path, where, value, "fields with values")
    fields = {field: name for name, field in model.attribute_map.items()}
    prefix = f"{where}." if where else ""
    for field in value:
        if field not in fields:
            near = difflib.get_close_matches(str(field), list(fields), n=1)
            hint = (
                f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(fields))}."
            )
            raise wrong(path, f"{prefix}{field}", "Kubernetes knows no such field here", hint)
    try:
        # Validates that what is required is there; of the values, only that they aren't None.
        model(**{fields[field]: item for field, item in value.items()})
    except ValueError as error:
        missing = re.search(r"`(\w+)`, must not be `None`", str(error))
        field = model.attribute_map.get(missing[1], missing[1]) if missing else where
        raise wrong(path, f"{prefix}{field}", "it is required", "Add it.") from error
    for field, item in value.items():
        _check(item, model.openapi_types[fields[field]], path, f"{prefix}{field}")


def _nested(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _expect(right: bool, path: Path, where: str, value: Any, words: str) -> None:
    if not right:
        found = "fields with values" if isinstance(value, dict) else repr(value)
        raise wrong(path, where, f"it is {found}", f"It has to be {words}.")
