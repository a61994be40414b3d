"""The `kubernetes` target: the same interface as `local`, on a real cluster.

`target` keeps the interface's promise. `connection` chooses a context that may be changed, `render`
makes resources of manifests, `rollout` judges whether they run, `timeline` says what happened and
when, `forward` reaches what has no address here, `inventory` finds and removes what was made, and
`problems` turns the API server's words into errors with a next step.
"""

from helpers.clusters.kubernetes.target import NAMESPACE, KubernetesCluster

__all__ = ["NAMESPACE", "KubernetesCluster"]
