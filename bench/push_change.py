#!/usr/bin/python3
"""bench/push_change.py [KEYS] [CHANGES]: how long one change takes from the request until every worker has acked it, among KEYS keys (default
1000), by the admin socket of a ./dev up of its own.  The policy of one key after the other is set; the making of the keys is timed as well."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def connect(state):
    s = socket.socket(socket.AF_UNIX)
    s.connect(f"{state}/admin.sock")
    return s.makefile("rw")


def call(stream, **request):
    at = time.perf_counter()
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    reply = json.loads(stream.readline())
    if not reply["ok"]:
        sys.exit(f"refused: {reply['error']}")
    return time.perf_counter() - at, reply


def percentiles(what, took):
    took.sort()
    print(f"{what}: p50 {took[len(took) // 2] * 1e3:.2f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.2f} ms, n {len(took)}", flush=True)


def run(state, keys, changes):
    stream = connect(state)
    percentiles(f"{keys} keys made, each acked by the dataplane",
                [call(stream, command="key create", path=f"v0/bench/key{i}")[0] for i in range(keys)])
    took = []
    for i in range(changes):
        text = json.dumps({"callers": [f"caller{i}@example.test"], "reasons": "all"})
        seconds, reply = call(stream, command="policy set", path=f"v0/bench/key{i * 7919 % keys}", text=text)
        if not reply["acked"]:
            sys.exit("a change was not acked")
        took.append(seconds)
    percentiles(f"one policy among {keys} keys, from request to ack", took)


def main():
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    changes = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    with tempfile.TemporaryDirectory(prefix="ww-push-") as state:
        subprocess.run([f"{TOP}/dev", "up", "--state", state], check=True, stdout=subprocess.DEVNULL)
        try:
            run(state, keys, changes)
        finally:
            subprocess.run([f"{TOP}/dev", "down", "--state", state], check=True, stdout=subprocess.DEVNULL)


main()
