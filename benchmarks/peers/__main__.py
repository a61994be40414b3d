"""Measures the peers, writes the result, prints the table.

    python -m benchmarks.peers --network light --rounds 3 --seconds 8

With --minutes it stops before that time is over; called again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse

from benchmarks.peers import table
from benchmarks.peers.rounds import NAMES, Turns
from helpers.load import results


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--network", choices=sorted(NAMES), default="light")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each gets (3)")
    parser.add_argument("--seconds", type=float, default=10, help="of each turn (10)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of these, such as LitServe")
    parser.add_argument("--minutes", type=float, default=600, help="stop before, go on next time")
    options = parser.parse_args()
    every = NAMES[options.network]
    names = [name for name in every if name in options.only] if options.only else every
    if options.only and len(names) < len(options.only):
        parser.error(f"--only knows {', '.join(every)}")
    turns = Turns(options.network, options.rounds, options.seconds, names)
    result = turns.take(minutes=options.minutes)
    left = len(list(turns.missing(result)))
    if left:
        print(f"{left} turns to go: run it again")
        return
    result = table.with_figures(result)
    path = results.write(result)
    turns.file.unlink(missing_ok=True)
    print(table.markdown(result))
    print(path)


if __name__ == "__main__":
    main()
