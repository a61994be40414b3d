"""The same model behind other servers, measured side by side: `python -m benchmarks.peers`.

    environments   an environment of its own for each, from pinned packages
    servers        how each is started, asked and read
    http_load      the closed loop of `helpers.load`, over HTTP/1.1
    http1          its process: that of `helpers.load`, with other connections
    rounds         the servers taking turns
    table          what came out, as Markdown

A folder a peer holds its server and its requirements.
"""
