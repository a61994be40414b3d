"""What the cells of every notebook use: show a file, wait, claim, publish, `%%cluster`.

`preflight` looks at this machine; `tables` and `plots` show what was measured. Importing this
package in a kernel makes `%%cluster` and `%%engine` known there (see `recordings`).
"""

from helpers.lab import recordings
from helpers.lab.claims import claim
from helpers.lab.files import show_diff, show_file, tree
from helpers.lab.publishing import headline, publish
from helpers.lab.waiting import wait_until

__all__ = [
    "claim",
    "headline",
    "publish",
    "show_diff",
    "show_file",
    "tree",
    "wait_until",
]

recordings.register()
