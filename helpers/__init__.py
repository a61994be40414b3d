"""Plain Python that the notebooks import: small modules, each on a floor of its own.

A module imports only from the floors below it (`tests/unit/test_floors.py` checks that):

    1  errors, settings, lines, proxies
    2  pages, photos, labels, stats, processor, addresses, protos, generator, certificates
    3  export, client, load, container, machine, faulty_server
    4  clusters, traffic, releases, results, capacity, breakdown, sweep
    5  notebook, faults, canary, overload, versions, preflight, lessons, cleanup
    6  plots, tables, runner, site
    7  tutorial, open_lab

`helpers.model_server` is a wing of its own and imports nothing else from here.

Importing any of it takes this machine out of the way of HTTP proxies, see `proxies`.
"""

from helpers import proxies

proxies.reach_directly(*proxies.THIS_MACHINE, *proxies.TEST_CLUSTER)
