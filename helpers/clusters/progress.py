"""The line of progress, where the clusters' modules import it from."""

from helpers.progress import Line

__all__ = ["Line"]
