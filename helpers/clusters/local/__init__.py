"""The `local` target: the same interface as a cluster's, kept by processes of this machine.

`target` starts a `supervisor` process, which it reaches through `supervisor_client`. The supervisor
starts each `replica` (so that it dies with its parent: `die_with_parent`), asks its `probes` and
forwards connections (`proxy`). `requirements` says what the machine must have for that.
"""

from helpers.clusters.local.target import LocalCluster

__all__ = ["LocalCluster"]
