"""One load generator of the Job: a closed loop against the replicas; its figures end its log."""

import json
import os
import time

from helpers import load, photos

address, start_at = os.environ["ADDRESS"], float(os.environ["START_AT"])
late_s = time.time() - start_at if start_at else 0.0
if late_s < 0:
    time.sleep(-late_s)  # the one place for it: all generators begin at the same moment
run = load.closed_loop(
    address,
    photos.samples(),
    concurrency=int(os.environ["CONCURRENCY"]),
    duration_s=float(os.environ["SECONDS"]),
    warmup_s=float(os.environ["WARMUP_SECONDS"]),
    timeout_s=60,
)
result = {
    "generator": int(os.environ["JOB_COMPLETION_INDEX"]),
    "late_s": max(late_s, 0.0),
    "problems": list(run.problems),
    "details": dict(run.details),
    "summary": run.summary().to_json(),
}
print(json.dumps(result), flush=True)
