#!/usr/bin/python3
"""run.py [--quick] [--rows NAME,...] [--rounds N] [--json FILE] [--results DIR]: Wirewrap beside other servers on this machine, in one run.

The systems take turns, row by row and round by round, so that what the machine does meanwhile meets all of them; each figure is the
median of its rounds.  A run that fails is told, kept in the JSON, and does not take the others with it.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import callgrind  # noqa: E402
import plot      # noqa: E402
import report    # noqa: E402
import rows      # noqa: E402
import systems   # noqa: E402

TOP = systems.TOP


class Progress:
    """One line, written over itself on a terminal; elsewhere a line a run."""

    def __init__(self, estimate):
        self.began, self.estimate, self.terminal = time.monotonic(), max(1.0, estimate), sys.stderr.isatty()

    def tell(self, what):
        spent = time.monotonic() - self.began
        line = f"bench: {spent:4.0f} s of about {self.estimate:.0f}: {what}"
        print(f"\r\033[K{line}" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options, chosen):
        self.options = options
        self.loads = [r for r in rows.loads(options.quick) if r.name in chosen]
        self.others = [name for name in rows.OTHERS if name in chosen]
        self.rounds = 1 if options.quick else options.rounds
        self.results, self.failed, self.capacities = [], [], {}
        self.more = {}
        self.progress = Progress(self.estimate())

    def estimate(self):
        load = sum(r.one_run_s(s) * min(self.rounds, r.rounds_of(s)) for r in self.loads for s in r.who)
        return load + sum(rows.OTHERS[name][self.options.quick] for name in self.others) + (8 if self.loads else 0)

    def fail(self, row, system, why):
        self.failed.append({"name": row, "system": system, "why": str(why)})
        print(f"\nbench: {row}, {system}: {why}", file=sys.stderr, flush=True)

    # ---- loads ----

    def capacity(self, system, running, name):
        """Operations a second in a row of this very run; measured for it where that row was not asked for."""
        seen = [r["ops_per_s"] for r in self.results if r["name"] == name and r["system"] == system]
        if seen:
            return report.median(seen)
        if (name, system) not in self.capacities:
            self.progress.tell(f"what {system} can do in row {name}")
            row = next(r for r in rows.loads(True) if r.name == name)
            self.capacities[name, system] = systems.generator(running[system], row, [])["ops_per_s"]
        return self.capacities[name, system]

    def one(self, row, system, running, number):
        self.progress.tell(f"round {number + 1} of {min(self.rounds, row.rounds_of(system))}, {row.name}, {system}")
        try:
            rates = row.rates(lambda other, name: self.capacity(other, running, name))
            self.results.append(dict(systems.generator(running[system], row, rates), round=number))
        except (RuntimeError, OSError, subprocess.SubprocessError, ArithmeticError, LookupError, ValueError) as why:
            self.fail(row.name, system, why)

    def run_loads(self):
        if not self.loads:
            return
        connections = max(r.connections for r in self.loads)
        needed = {s for r in self.loads for s in r.who} | {r.rate[0] for r in self.loads if r.rate} | {r.background[0] for r in self.loads if r.background} | {"wirewrap"}
        with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
            running = start_all(folder, connections, needed)
            try:
                for number in range(self.rounds):
                    for row in self.loads:
                        for system in row.who:
                            if number < row.rounds_of(system):
                                self.one(row, system, running, number)
            finally:
                stop_all(running)

    # ---- the others ----

    def run_others(self):
        quick = ["--quick"] if self.options.quick else []
        commands = {"keys": ["bench/scale.py", "keys", *quick], "workers": ["bench/scale.py", "workers", *quick],
                    "idle": ["bench/idle_memory.py", "--json", "1000" if self.options.quick else "4000"],
                    "instructions": ["bench/instructions", "--json"]}
        for name in self.others:
            self.progress.tell(name)
            path, *arguments = commands[name]
            try:
                out = subprocess.run([f"{TOP}/{path}", *arguments], stdout=subprocess.PIPE, check=True, text=True,
                                     timeout=60 + 6 * rows.OTHERS[name][0])
                self.more[name] = json.loads(out.stdout)
            except (OSError, subprocess.SubprocessError, ValueError) as why:
                self.fail(name, "wirewrap", why)

    def run(self):
        print(f"bench: {len(self.loads) + len(self.others)} rows, {self.rounds} rounds, about {self.progress.estimate / 60:.0f} min "
              f"({self.progress.estimate:.0f} s)", file=sys.stderr, flush=True)
        self.run_loads()
        self.run_others()
        self.progress.end()
        return report.whole(self.results, self.more, self.failed, time.monotonic() - self.progress.began)


def start_all(folder, connections, needed):
    wirewrap = systems.Wirewrap(folder, connections)
    servers = [wirewrap, systems.EpollWrap(folder, connections), systems.Nginx(folder, connections, wirewrap),
               systems.Haproxy(folder, connections, wirewrap)]
    running = {}
    try:
        for s in servers:
            if s.name in needed:
                running[s.name] = s
                s.start()
    except BaseException:
        stop_all(running)
        raise
    return running


def stop_all(running):
    for s in reversed(running.values()):
        s.stop()


def arguments_read():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--quick", action="store_true", help="one short round of the main rows, under a minute")
    parser.add_argument("--json", metavar="FILE", help="where the result goes")
    parser.add_argument("--results", metavar="DIR", help="where result, table and plots go")
    parser.add_argument("--rows", metavar="NAME,...", help="only these rows: " + " ".join(rows.names()))
    parser.add_argument("--rounds", metavar="N", type=int, default=rows.ROUNDS, help=f"instead of {rows.ROUNDS}")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is at least 1")
    return options


def rows_chosen(options):
    if options.rows is None:
        return rows.QUICK if options.quick else rows.names()
    chosen = options.rows.split(",")
    unknown = [name for name in chosen if name not in rows.names()]
    if unknown:
        sys.exit(f"bench: no row is called {', '.join(unknown)}; there are {' '.join(rows.names())}")
    return chosen


def main():
    options = arguments_read()
    chosen = rows_chosen(options)
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:
        sys.exit("bench: needs root (network namespaces) and two cores")
    if {"keys", "workers", "instructions"} & set(chosen):
        callgrind.build("bench/sim-wraps")  # it is no part of what is measured, nor of the minute that --quick takes
    result = Bench(options, chosen).run()
    report.table(result)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
    if options.results:
        plot.save(result, options.results)
    sys.exit(1 if result["failed"] else 0)


main()
