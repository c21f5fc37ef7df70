"""TAP for tests in Python: a case is a function named as a claim, marked @case; run() prints a line for each and exits."""
import os
import signal
import sys
import traceback


collected = []


class Skip(Exception):
    """Raised by a case that cannot run here; its text says why."""


def case(function):
    collected.append(function)
    return function


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def equal(got, wanted, text=""):
    if got != wanted:
        raise AssertionError(f"{text}: got {got!r}, wanted {wanted!r}")


def run(before=None, after=None):
    """before() once; after() once, also when before() fails or the runner is told to end."""
    cases = collected
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"1..{len(cases)}", flush=True)
    failed = 0
    try:
        if before:
            before()
        for number, function in enumerate(cases, 1):
            failed += not one(number, function)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print("Bail out!  the test could not be set up", flush=True)
        failed += 1
    finally:
        if after:
            after()
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # threads that still wait for a slow peer are not waited for


def one(number, function):
    name = function.__name__
    try:
        function()
    except Skip as why:
        print(f"ok {number} - {name} # SKIP {why}", flush=True)
        return True
    except Exception:
        print(f"not ok {number} - {name}")
        for line in traceback.format_exc().splitlines():
            print(f"# {line}")
        sys.stdout.flush()
        return False
    print(f"ok {number} - {name}", flush=True)
    return True
