#!/usr/bin/python3
"""run.py --build DIR [--long] [NAME...]: runs the tests that meson knows in DIR and counts their cases.

A NAME is a group (unit, sim, ...) or a program, or the beginning of one.  unit, sim and layering run side by side; whatever makes
network namespaces runs alone.  A case is a TAP line.  A program that dies, hangs, prints no case or fewer than it planned counts as
failed.  The last line is "N passed, N failed, N skipped"; the exit status is 0 if nothing failed and something passed.

What has a kernel for a peer has that kernel's clock in it (its retransmissions, its keep-alives), and a machine may stand still for longer
than those wait.  So a program of wire, virtio or e2e that failed runs once more, and is UNSTABLE, aloud, if it passes then; what a
sanitizer found, and whatever fails after the third program of a run, gets no second try.  What is UNSTABLE is a defect to be mended.
"""
import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import time

GROUPS = ["unit", "sim", "layering", "callgrind", "wire", "virtio", "e2e", "long"]
SIDE_BY_SIDE = {"unit", "sim", "layering"}
KERNEL_PEERS = {"wire", "virtio", "e2e"}
SECOND_TRIES = 3
SANITIZER = re.compile(r"(Address|Leak|Thread|Memory)Sanitizer|runtime error:")
PATIENCE = 10  # times meson's timeout: it ends what hangs, and decides nothing on a machine that is busy
TERM_GRACE = 30  # seconds for a test to remove its namespaces
CASE = re.compile(r"^\s*(?P<not>not )?ok\b(?:\s+\d+)?(?:\s+-)?\s*(?P<name>[^#]*?)\s*(?:#\s*(?P<word>\w+)\b\s*(?P<reason>.*))?$")
PLAN = re.compile(r"^\s*1\.\.(\d+)\s*(?:#\s*[Ss][Kk][Ii][Pp]\S*\s*(.*))?$")


class Outcome:
    """What one test program said."""

    def __init__(self, test, output, status, seconds):
        self.test, self.output, self.seconds = test, output, seconds
        self.passed, self.failed, self.skipped = [], [], []
        self.unstable = []  # what had failed at the first try
        planned, plan_seen, plan_skip = 0, False, None
        for line in output.splitlines():
            plan = PLAN.match(line)
            if plan:
                plan_seen, planned, plan_skip = True, planned + int(plan[1]), plan[2] or plan_skip
                continue
            case = CASE.match(line)
            if case:
                self.count(case)
        cases = len(self.passed) + len(self.failed) + len(self.skipped)
        if plan_seen and planned == 0 and plan_skip:
            self.skipped.append(("the whole program", plan_skip))
        elif cases == 0:
            self.failed.append(f"printed no test case ({status})")
        elif plan_seen and cases != planned:
            self.failed.append(f"planned {planned} cases, printed {cases} ({status})")
        elif status != "ended with 0" and not self.failed:
            self.failed.append(status)

    def count(self, case):
        word = (case["word"] or "").lower()
        name = case["name"] or case["reason"] or "a case without a name"
        if word == "skip":
            self.skipped.append((name, case["reason"] or "no reason given"))
        elif case["not"]:
            self.failed.append(name)
        else:
            self.passed.append(name)


def run_one(test):
    env = dict(os.environ, **test["env"])
    started = time.monotonic()
    process = subprocess.Popen(test["cmd"], env=env, cwd=test["workdir"] or test["build"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    timeout = test["timeout"] * PATIENCE if test["timeout"] > 0 else None
    try:
        output, _ = process.communicate(timeout=timeout)
        status = f"ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        output = end(process)
        status = f"did not end within {timeout} s"
    return Outcome(test, output.decode(errors="replace"), status, time.monotonic() - started)


def end(process):
    """Only the process group that this test made: first a chance to clean up, then the end."""
    process.terminate()
    try:
        return process.communicate(timeout=TERM_GRACE)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def group_of(test):
    suites = [s.rsplit(":", 1)[-1] for s in test["suite"]]
    return next((g for g in GROUPS if g in suites), "unit")


def tests_wanted(build, names, with_long):
    listed = json.loads(subprocess.check_output(["meson", "introspect", "--tests", build]))
    for t in listed:
        t["group"], t["build"] = group_of(t), build
    if names:
        unknown = [n for n in names if n not in GROUPS and not any(t["name"].startswith(n) for t in listed)]
        if unknown:
            sys.exit(f"run.py: no group and no program is called {', '.join(unknown)}; groups: {' '.join(GROUPS)}")
        return [t for t in listed if t["group"] in names or any(t["name"].startswith(n) for n in names)]
    return [t for t in listed if with_long or t["group"] != "long"]


def report(outcome, logs, alone):
    if alone:
        print(f"  {outcome.test['name']:32} {len(outcome.passed):4} passed  {outcome.seconds:6.1f} s")
    with open(f"{logs}/{outcome.test['group']}-{outcome.test['name']}.log", "w") as f:
        f.write(outcome.output)
    if outcome.failed:
        print(f"--- {outcome.test['group']}/{outcome.test['name']}: " + "; ".join(outcome.failed))
        print("\n".join(outcome.output.splitlines()[-60:]))
    sys.stdout.flush()


def deserves_second_try(outcome, others):
    return (bool(outcome.failed) and outcome.test["group"] in KERNEL_PEERS and not SANITIZER.search(outcome.output)
            and sum(bool(o.failed or o.unstable) for o in others) < SECOND_TRIES)


def second_try(first):
    second = run_one(first.test)
    if not second.failed:
        second.unstable = first.failed
    return second


def run_group(group, tests, logs, earlier):
    at_once = max(2, os.cpu_count() or 1) if group in SIDE_BY_SIDE else 1
    started = time.monotonic()
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for outcome in pool.map(run_one, sorted(tests, key=lambda t: -t["timeout"])):
            report(outcome, logs, at_once == 1)
            if deserves_second_try(outcome, earlier + outcomes):
                outcome = second_try(outcome)
                report(outcome, logs, at_once == 1)
            outcomes.append(outcome)
    count = lambda what: sum(len(getattr(o, what)) for o in outcomes)
    print(f"{group:9} {len(tests):3} programs  {count('passed'):5} passed  {count('failed'):3} failed  {count('skipped'):3} skipped"
          f"  {time.monotonic() - started:6.1f} s", flush=True)
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    logs = f"{options.build}/test-logs"
    os.makedirs(logs, exist_ok=True)
    tests = tests_wanted(options.build, options.names, options.long)
    outcomes = []
    for group in GROUPS:
        members = [t for t in tests if t["group"] == group]
        if members:
            outcomes += run_group(group, members, logs, outcomes)
    for o in outcomes:
        for name, reason in o.skipped:
            print(f"skipped   {o.test['group']}/{o.test['name']}: {name}: {reason}")
    for o in outcomes:
        for name in o.unstable:
            print(f"UNSTABLE  {o.test['group']}/{o.test['name']}: {name}: passed at the second try")
    for o in outcomes:
        for name in o.failed:
            print(f"FAILED    {o.test['group']}/{o.test['name']}: {name}")
    passed, failed, skipped = (sum(len(getattr(o, w)) for o in outcomes) for w in ("passed", "failed", "skipped"))
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(0 if failed == 0 and passed > 0 else 1)


if __name__ == "__main__":
    main()
