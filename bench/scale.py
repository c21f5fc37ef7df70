#!/usr/bin/python3
"""bench/scale.py keys|workers [--quick]: what a wrap costs where there are many keys, or several workers: JSON on stdout.

The whole worker in the simulator (bench/sim_wraps.c).  Instructions by callgrind inside worker_turn, libraries included, once caches are filled;
they are the same in every run.  Time: the processor's, natively, around worker_turn, in rounds that take turns; the median
of each, and report.py compares round by round: a core that is twice as fast for some seconds is so for both sides of a ratio.  Keys
are drawn uniformly, so that each wrap's key is a cold one where there are many.
"""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import callgrind  # noqa: E402

PROGRAM = f"{callgrind.BUILD}/bench/sim-wraps"
COUNTED = 300
COUNTS = {"keys": ([1000, 10000, 100000, 1000000], [1000, 100000]), "workers": ([1, 2, 4], [1, 2])}
TIMED, ROUNDS = 20000, 15
TIMED_QUICK, ROUNDS_QUICK = 5000, 3


def arguments(what, n, wraps):
    return [PROGRAM, str(wraps), *(["1000", str(n)] if what == "workers" else [str(n), "1"])]


def instructions(what, n):
    with tempfile.TemporaryDirectory() as folder:
        total = sum(callgrind.count(arguments(what, n, COUNTED), f"{folder}/out", toggle=callgrind.TURN).values())
    return round(total / COUNTED / (n if what == "workers" else 1))


def nanoseconds(what, n, wraps):
    out = subprocess.run(arguments(what, n, wraps), check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(re.search(r"([\d.]+) ns each", out)[1])


def main():
    what, quick = sys.argv[1], "--quick" in sys.argv[2:]
    callgrind.build("bench/sim-wraps")
    counts = COUNTS[what][quick]
    points = [{what: n, "instructions": instructions(what, n)} for n in counts]
    times = {n: [] for n in counts}
    for _ in range(ROUNDS_QUICK if quick else ROUNDS):
        for n in counts:
            times[n].append(nanoseconds(what, n, TIMED_QUICK if quick else TIMED))
    for p in points:
        p["ns"], p["ns_all"] = statistics.median(times[p[what]]), times[p[what]]
    print(json.dumps({"points": points}))


main()
