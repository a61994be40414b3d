"""One figure a function: data in, a `Picture` with its alternative text out, for a cell to end on.

Nothing here measures or computes; what is drawn is what the run returned. Colours are told apart
without hue (Okabe and Ito's palette), and a line has a marker as well as a colour.
"""

from helpers.plots.clusters import autoscaling, starts
from helpers.plots.loads import closed_loop, open_loop
from helpers.plots.pictures import contact_sheet, prediction, preprocessing
from helpers.plots.speed import comparison, measures, requests_per_replica, scaling

__all__ = [
    "autoscaling",
    "closed_loop",
    "comparison",
    "contact_sheet",
    "measures",
    "open_loop",
    "prediction",
    "preprocessing",
    "requests_per_replica",
    "scaling",
    "starts",
]
