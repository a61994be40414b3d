"""Plain Python that the notebooks import: a room for each chapter, from the top floor down.

A room imports only from the floors below its own (`tests/unit/test_floors.py` checks that):

    1  errors, settings, lines, proxies
    2  pages, photos, labels, stats, processor, addresses, protos, generator, certificates
    3  export, client, load, container, machine, faulty_server
    4  clusters, traffic, releases, results, capacity, breakdown, sweep
    5  notebook, faults, canary, overload, versions, preflight, lessons, cleanup
    6  plots, tables, runner, site
    7  tutorial, open_lab

Two wings are programs of their own and import nothing else from here: `model_server`, the server
that stands in for `tensorflow_model_server`, and `generator`, the process that sends the load (its
start is part of what is measured, so it loads nothing that it doesn't need).

Importing any of it takes this machine out of the way of HTTP proxies, see `proxies`.
"""

from helpers import proxies

proxies.reach_directly(*proxies.THIS_MACHINE, *proxies.TEST_CLUSTER)
