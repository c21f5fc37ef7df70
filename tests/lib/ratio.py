"""What something does to the latency of others: an open loop of wraps without it and with it, in turn."""
import json
import os
import statistics
import subprocess

import house
import tap

RUNS, RATE, CONNECTIONS, SECONDS = 5, 100, 20, 10


def measured(h):
    """One run of the load generator; every reply must be a wrap."""
    tokens = f"{h.state}/tokens-of-a-test"
    with open(tokens, "w", encoding="ascii") as f:
        f.write(h.token + "\n")
    done = subprocess.run([h.binary("ww-bench"), "--target", h.address, "--token-file", tokens, "--ca", h.ca, "--key", h.key, "--connections",
                           str(CONNECTIONS), "--rate", str(RATE), "--seconds", str(SECONDS), "--warmup", "1", "--quiet"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS + 300)
    tap.equal(done.returncode, 0, done.stderr[-2000:])
    result = json.loads(done.stdout)
    tap.equal(result["errors"], 0, "errors of the load")
    return result


def report(h, what, begin):
    """begin(run) starts it and gives back what ends it."""
    ratios, quiet, beside = [], [], []
    for run in range(RUNS):
        quiet.append(measured(h)["p99_us"])
        end = begin(run)
        beside.append(measured(h)["p99_us"])
        end()
        ratios.append(beside[-1] / quiet[-1])
    print(f"# {what}: p99 {statistics.median(beside):.0f} us beside it, {statistics.median(quiet):.0f} us without; "
          f"ratio median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} (N = {RUNS})")
