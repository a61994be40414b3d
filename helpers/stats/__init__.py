"""Pure functions from the records of requests to figures, and how sure the figures are.

summary = stats.summarize(run.records, duration_s=run.duration_s)
"""

from helpers.stats.comparison import Ratio, ratio, ratio_of_rounds
from helpers.stats.confidence import (
    Interval,
    at_most,
    at_most_in_batches,
    enough_for,
    mean,
    quantile_ranks,
    rate_between_pauses,
)
from helpers.stats.digits import short
from helpers.stats.histogram import Histogram
from helpers.stats.models import Scalability, fit_scalability, knee, littles_law
from helpers.stats.records import CODES, RECORD, Records, code_name, within
from helpers.stats.summary import (
    QUANTILES,
    Summary,
    half_width,
    pooled,
    summarize,
)

__all__ = [
    "CODES",
    "QUANTILES",
    "RECORD",
    "Histogram",
    "Interval",
    "Ratio",
    "Records",
    "Scalability",
    "Summary",
    "at_most",
    "at_most_in_batches",
    "code_name",
    "enough_for",
    "fit_scalability",
    "half_width",
    "knee",
    "littles_law",
    "mean",
    "pooled",
    "quantile_ranks",
    "rate_between_pauses",
    "ratio",
    "ratio_of_rounds",
    "short",
    "summarize",
    "within",
]
