"""One load generator of the Job: closed loops against the replicas; its figures end its log."""

import json
import os
import time

from helpers import load, settings, stats

# Their bytes are all that is needed; `helpers.photos` would want a library for pictures, too.
folder = settings.ROOT / "helpers" / "photos" / "samples"
photos = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
addresses, start_at = os.environ["ADDRESS"].split(","), float(os.environ["START_AT"])
late_s = time.time() - start_at if start_at else 0.0
if late_s < 0:
    time.sleep(-late_s)  # the one place for it: all generators begin at the same moment
runs = [
    # Each round looks the addresses up again, and so finds the replicas that came in the meantime.
    load.closed_loop(
        addresses,
        photos,
        channels=int(os.environ["CHANNELS"]),
        concurrency=int(os.environ["CONCURRENCY"]),
        duration_s=float(os.environ["SECONDS"]),
        warmup_s=0 if again else float(os.environ["WARMUP_SECONDS"]),
        timeout_s=60,
    )
    for again in range(int(os.environ["ROUNDS"]))
]
result = {
    "generator": int(os.environ["JOB_COMPLETION_INDEX"]),
    "late_s": max(late_s, 0.0),
    "problems": [problem for run in runs for problem in run.problems],
    "details": {code: words for run in runs for code, words in run.details.items()},
    "summary": stats.pooled([run.summary() for run in runs]).to_json(),
}
print(json.dumps(result), flush=True)
