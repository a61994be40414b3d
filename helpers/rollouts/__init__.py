"""Roll out another version of a model: make one, serve it, and judge whether it is worse.

`releases` makes versions, sound and broken ones; `versions` says which of them the replicas serve
and which label is whose; `canary` compares a new version with the old by a test of significance.
"""

from helpers.rollouts import canary, releases, versions

__all__ = ["canary", "releases", "versions"]
