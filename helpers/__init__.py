"""Plain Python that the notebooks import: a room for each chapter, from the top floor down.

A room imports only from the floors below its own (`tests/unit/test_floors.py` checks that):

    floor  room       what is in it                                              first met in
    8      book       runs the notebooks by papermill and makes the pages        make tutorial
    7      lab        what every notebook's cells use: files, tables, pictures   00
    6      rollouts   further versions, labels, the canary's significance test   08
    6      faults     break it on purpose: drills, bad networks, overload        09
    5      clusters   where replicas run: this machine or a Kubernetes           02
    4      load       load in, records out: scenarios, searches, results         05
    3      export     Inception-v3 as a SavedModel, and what makes it faster     01
    2      photos     photographs as bytes, and the names of the classes         00
    2      client     a JPEG becomes a request, an answer becomes labels         02
    2      stats      intervals, percentiles, histograms, scalability            06
    2      planning   how many machines a load needs, and what they cost         07
    2      container  the image: built, looked into, run                         03
    2      child      a process of ours, spoken to line by line                  01
    1      machine    this machine and its class of processor                    00
    1      settings   names, ports and paths, spelled once                       01
    1      errors     the family of errors: what, why, what next                 02
    1      proxies    which requests go by the HTTP proxy of the environment      02
    1      progress   one line that is rewritten while something is waited for   01
    1      closing    what is closed when its `with` block is left               02

Two wings are programs of their own and import nothing else from here: `model_server`, the server
that stands in for `tensorflow_model_server`, and `generator`, the process that sends the load (its
start is part of what is measured, so it loads nothing that it doesn't need).

Importing any of it takes this machine out of the way of HTTP proxies, see `proxies`.
"""

from helpers import proxies

proxies.reach_directly(*proxies.THIS_MACHINE, *proxies.TEST_CLUSTER)
