#!/usr/bin/python3
"""supervise.py DIR: keeps the processes of one `./dev up` alive until it is told to stop.

Reads DIR/processes.json, a list of {"name", "argv"} in starting order, and DIR/env.static, the part of DIR/env that does not change.
A process that ends is started again within 2 s, and DIR/env is replaced (atomic rename) with the new pid.  SIGTERM ends all of them in
reverse order.  Children are known by pid alone, and die with their supervisor.
"""
import ctypes
import json
import os
import signal
import subprocess
import sys
import time

DELAY_FIRST, DELAY_MAX = 0.1, 1.5  # before a restart; grows while a process dies young
OLD_AGE = 5.0                      # a process this old has started well
# Between SIGTERM and SIGKILL, for what hangs: locked memory takes its time to be wiped, a sanitizer looks for leaks, others have the cores.
GRACE = 60.0
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Child:
    def __init__(self, folder, name, argv):
        self.folder, self.name, self.argv = folder, name, argv
        self.process, self.delay, self.started, self.due = None, DELAY_FIRST, 0.0, 0.0

    def start(self):
        with open(f"{self.folder}/{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=prepare_child)
        self.started = time.monotonic()
        say(f"{self.name} runs as {self.process.pid}")

    def died(self, now):
        say(f"{self.name} ({self.process.pid}) ended with {self.process.returncode} after {now - self.started:.1f} s")
        self.delay = DELAY_FIRST if now - self.started > OLD_AGE else min(2 * self.delay, DELAY_MAX)
        self.process, self.due = None, now + self.delay

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            say(f"{self.name} did not end within {GRACE} s: killed")
            self.process.kill()
            self.process.wait()
        say(f"{self.name} stopped with {self.process.returncode}")


def prepare_child():
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def write_env(folder, children):
    try:
        with open(f"{folder}/env.static") as f:
            fixed = f.read()
    except FileNotFoundError:
        return
    pids = "".join(f"WW_PID_{c.name.upper()}={c.process.pid if c.process else ''}\n" for c in children)
    with open(f"{folder}/env.new", "w") as f:
        f.write(fixed + pids)
    os.rename(f"{folder}/env.new", f"{folder}/env")


def main():
    folder = sys.argv[1]
    with open(f"{folder}/processes.json") as f:
        children = [Child(folder, p["name"], p["argv"]) for p in json.load(f)]
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    write_pid(folder)
    stopping = False
    while not stopping:
        now = time.monotonic()
        changed = False
        for c in children:
            if c.process is not None and c.process.poll() is not None:
                c.died(now)
            if c.process is None and c.due <= now:
                c.start()
                changed = True
        due = [c.due - now for c in children if c.process is None]
        if changed:
            write_env(folder, children)
        got = signal.sigtimedwait(awaited, max(0.01, min(due, default=60.0)))
        if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
            stopping = True
        elif got is not None and got.si_signo == signal.SIGUSR1:  # env.static was written
            write_env(folder, children)
    for c in reversed(children):
        c.stop()


def write_pid(folder):
    """The pid with the start time of the process, so that nobody takes a later process of that number for this one."""
    pid = os.getpid()
    with open(f"/proc/{pid}/stat") as f:
        started = f.read().rsplit(")", 1)[1].split()[19]
    with open(f"{folder}/supervisor.pid.new", "w") as f:
        f.write(f"{pid} {started}\n")
    os.rename(f"{folder}/supervisor.pid.new", f"{folder}/supervisor.pid")


if __name__ == "__main__":
    main()
