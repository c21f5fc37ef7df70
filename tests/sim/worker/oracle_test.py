#!/usr/bin/python3
"""oracle_test.py PROGRAM...: runs tests of this folder with a capture of each rig, and the oracle over what the worker sent there."""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
sys.path[:0] = [f"{ROOT}/tests/lib", f"{ROOT}/tests/wire/oracle"]
import oracle
import tap

WORKER = "02:00:00:00:00:01"  # port 0 of the simulated wire
folder = tempfile.mkdtemp(prefix="wirewrap-captures.")


def claim(program):
    name = os.path.basename(program)

    def case():
        captures = f"{folder}/{name}"
        os.mkdir(captures)
        done = subprocess.run([program], env=dict(os.environ, WW_CAPTURES=captures), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=1000)
        tap.equal(done.returncode, 0, done.stdout[-2000:])
        files = sorted(glob.glob(f"{captures}/*.pcap"))
        segments, connections, found = 0, 0, []
        for path in files:
            seen = oracle.judge(path, [WORKER], far=True)
            segments, connections = segments + seen.segments, connections + len(seen.connections)
            found += [f"{os.path.basename(path)}: {rule}: frame {number}: {text}" for rule, number, text in seen.found]
        print(f"# {len(files)} captures, {segments} segments on {connections} connections")
        tap.equal(found[:10], [], f"{len(found)} breaches")
        tap.check(files and segments > 200, f"{segments} segments in {len(files)} captures")
        shutil.rmtree(captures)

    case.__name__ = f"what_the_worker_sends_in_{name}_breaks_no_rule_of_tcp"
    tap.case(case)


for argument in sys.argv[1:]:
    claim(argument)
tap.run(after=lambda: shutil.rmtree(folder, ignore_errors=True))
