"""A patch of a manifest, merged as `kubectl patch` and kustomize do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge(resource: Any, patch: Any) -> Any:
    """A resource with a patch in it: Kubernetes' *strategic merge patch*, as far as it goes here.

    Mappings are merged field by field, and None removes a field. Lists of named things (containers,
    environment variables, volumes) are merged by `name`; any other list is replaced.

    Args:
        resource: a resource, or a part of one. It isn't changed.
        patch: what is to be different.
    """
    return _merged(resource, patch, remove=True)


def combine(*several: Mapping[str, Any]) -> dict[str, Any]:
    """One patch that does what several do, one after another; what one removes stays removed.

    `merge` won't do for two patches: to it, the first is a resource, from which the second's None
    removes a field that isn't there, and so the None itself is lost.
    """
    whole: Any = {}
    for patch in several:
        whole = _merged(whole, patch, remove=False)
    return dict(whole)


def _merged(resource: Any, patch: Any, *, remove: bool) -> Any:
    if isinstance(resource, Mapping) and isinstance(patch, Mapping):
        merged = dict(resource)
        for field, value in patch.items():
            if value is None and remove:
                merged.pop(field, None)
            else:
                merged[field] = _merged(merged.get(field), value, remove=remove)
        return merged
    if _named(resource) and _named(patch):
        there = {item["name"]: item for item in resource}
        for item in patch:
            there[item["name"]] = _merged(there.get(item["name"]), item, remove=remove)
        return list(there.values())
    # A field that wasn't there yet: what the patch removes inside of it goes, too.
    return _merged({}, patch, remove=remove) if isinstance(patch, Mapping) else patch


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(i, Mapping) and "name" in i for i in value)


def container(**fields: Any) -> dict[str, Any]:
    """A patch of the Deployment that changes only the server's container."""
    return pod(containers=[{"name": "server", **fields}])


def pod(**fields: Any) -> dict[str, Any]:
    """A patch of the Deployment that changes only its pods' `spec`."""
    return {"spec": {"template": {"spec": fields}}}
