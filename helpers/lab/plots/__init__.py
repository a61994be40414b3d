"""One figure a function: data in, a `Picture` with its alternative text out, for a cell to end on.

Nothing here measures or computes; what is drawn is what the run returned. Colours are told apart
without hue (Okabe and Ito's palette), and a line has a marker as well as a colour.
"""

from helpers.lab.plots.clusters import autoscaling, predicted, starts
from helpers.lab.plots.doors import doors
from helpers.lab.plots.layers import layers
from helpers.lab.plots.loads import (
    batching,
    latency_against_load,
    percentiles,
    time_of_a_request,
)
from helpers.lab.plots.objects import objects
from helpers.lab.plots.overview import overview
from helpers.lab.plots.pictures import contact_sheet, prediction, preprocessing
from helpers.lab.plots.speed import measures, requests_per_replica, scalability, scaling
from helpers.lab.plots.timeline import goodput, hang, roll_outs, timeline

__all__ = [
    "autoscaling",
    "batching",
    "contact_sheet",
    "doors",
    "goodput",
    "hang",
    "latency_against_load",
    "layers",
    "measures",
    "objects",
    "overview",
    "percentiles",
    "predicted",
    "prediction",
    "preprocessing",
    "requests_per_replica",
    "roll_outs",
    "scalability",
    "scaling",
    "starts",
    "time_of_a_request",
    "timeline",
]
