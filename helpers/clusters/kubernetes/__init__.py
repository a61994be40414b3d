"""The `kubernetes` target: the same interface as `local`, on a real cluster.

`target` keeps the interface's promise. `connection` chooses a context that may be changed, `render`
makes resources of manifests, `applying` makes them so, `rollout` judges whether they run,
`timeline` says what happened and when, `routes` and `forward` reach them from here, `inventory`
finds and removes what was made, and `problems` turns the API server's words into errors with a next
step. Beside the interface: `loadtest` (load from inside the cluster), `autoscaling` (what an
autoscaler does, over time) and `gpus` (nodes that aren't there).
"""

from helpers.clusters.kubernetes.target import NAMESPACE, KubernetesCluster

__all__ = ["NAMESPACE", "KubernetesCluster"]
