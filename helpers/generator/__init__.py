"""The process that sends the load: `python -m helpers.generator PLAN`. Started by `helpers.load`.

It imports neither gRPC nor NumPy, so that it starts in a tenth of a second.
"""
