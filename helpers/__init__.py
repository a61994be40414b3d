"""Plain Python that the notebooks import: small modules, each on a floor of its own.

A module imports only from the floors below it (`tests/unit/test_floors.py` checks that):

    1  errors, settings, lines, progress
    2  photos, labels, stats, processor, addresses, protos, generator, certificates
    3  export, client, load, container, machine, faulty_server
    4  clusters, traffic, releases, results, capacity, breakdown, sweep
    5  notebook, faults, canary, overload, versions, preflight, lessons, cleanup
    6  plots, tables, runner, site
    7  tutorial

`helpers.model_server` is a wing of its own and imports nothing else from here.
"""
