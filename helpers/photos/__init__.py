"""Photographs as the bytes that a server is sent, and the names of ImageNet's classes.

`photo` reads the samples and photographs of your own; `labels` has the 1,000 names.
"""

from helpers.photos.photo import FOLDER, Photo, load, read, samples

__all__ = ["FOLDER", "Photo", "load", "read", "samples"]
