"""What the cells of every notebook use: show a file, wait for a condition, publish a figure.

`preflight` looks at this machine, `tables` and `plots` show what was measured.
"""

from helpers.lab.notebook import publish, published, show_file, track, tree, wait_until

__all__ = ["publish", "published", "show_file", "track", "tree", "wait_until"]
