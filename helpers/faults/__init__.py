"""Break a service on purpose, under load, and write down what that cost whom.

    rate = share_of_capacity(cluster)
    with Drill(cluster, {"plain": PLAIN, "resilient": Resilience()}, rate_per_s=rate) as drill:
        drill.fault("kill -9 of a server", lambda: actions.kill(cluster, cluster.pods()[0]))
    drill.table()

`actions` are the faults that a user of the cluster can bring about; `Wire` is a bad network between
a client and the replicas; `drill` keeps requests coming meanwhile and looks at the replicas. Over
several cells of a notebook it is started by `Drill(…).start()` and ended by `stop()`.
"""

from helpers.faults import actions
from helpers.faults.drill import Drill, share_of_capacity
from helpers.faults.fault import Fault, Moment, table
from helpers.faults.wire import Wire

__all__ = ["Drill", "Fault", "Moment", "Wire", "actions", "share_of_capacity", "table"]
