#!/usr/bin/python3
"""run.py [--quick] [--json FILE] [--rows NAME,...]: Wirewrap beside other servers on this machine, in one run.

The systems take turns, row by row, so that what the machine does meanwhile meets all of them; each figure is the median of its rounds.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import plot      # noqa: E402
import report    # noqa: E402
import systems   # noqa: E402

ROUNDS = 5
ALL = ["wirewrap", "epoll-wrap", "nginx-static", "haproxy-static"]


def row(name, arguments, who=ALL, rounds=None, seconds=None):
    return {"name": name, "arguments": arguments, "who": who, "rounds": rounds, "seconds": seconds}


def rows_closed(quick):
    counts = [64, 1000] if quick else [10, 64, 100, 1000, 10000]
    rows = [row(f"c{n}", ["--connections", str(n)]) for n in counts]
    rows.append(row("mixed64", ["--connections", "64", "--unwraps", "0.5", "--bad-tokens", "0.02"], ["wirewrap", "epoll-wrap"]))
    rows.append(row("handshakes", ["--connections", "32", "--handshakes"], ["wirewrap", "epoll-wrap", "nginx-static"]))
    if not quick:
        rows.append(row("c100000", ["--connections", "100000"], ["wirewrap", "nginx-static"], rounds=1))
    return rows


def rows_open(results):
    """At 70 % of nginx's capacity, both; at 70 % of our own; and established requests beside 1000 handshakes a second."""
    capacity = {s: report.median([r["ops_per_s"] for r in results if r["name"] == "c64" and r["system"] == s]) for s in ALL}
    theirs, ours = 0.7 * capacity["nginx-static"], 0.7 * capacity["wirewrap"]
    pair = ["wirewrap", "nginx-static"]
    return [row("open70", ["--connections", "64", "--rate", f"{theirs:.0f}"], pair),
            row("open70ours", ["--connections", "64", "--rate", f"{ours:.0f}"], ["wirewrap"]),
            row("beside", ["--connections", "64", "--rate", f"{theirs / 4:.0f}"], pair),
            row("beside_handshakes", ["--connections", "64", "--rate", f"{theirs / 4:.0f}", "--background", "1000"], pair)]


def measure(rows, running, options):
    results = []
    for r in rows:
        seconds = r["seconds"] or (1.0 if options.quick else 4.0)
        for _ in range(1 if options.quick else r["rounds"] or ROUNDS):
            for name in r["who"]:
                print(f"\r\033[K{r['name']}: {name}" if sys.stderr.isatty() else f"{r['name']}: {name}", file=sys.stderr, flush=True,
                      end="" if sys.stderr.isatty() else "\n")
                arguments = r["arguments"] + ["--seconds", str(seconds), "--warmup", "0.3" if options.quick else "1"]
                results.append(systems.generator(running[name], r["name"], arguments))
    return results


def instructions():
    """One wrap's, by room, from callgrind on the simulator."""
    out = subprocess.run([f"{systems.TOP}/bench/instructions", "--json"], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(out.stdout)


def arguments_read():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--quick", action="store_true", help="one short round of the main rows")
    parser.add_argument("--json", metavar="FILE", help="where the result goes")
    parser.add_argument("--results", metavar="DIR", help="where result and plots go, named after the commit")
    parser.add_argument("--rows", metavar="NAME,...", help="only these rows")
    return parser.parse_args()


def start_all(folder, connections):
    wirewrap = systems.Wirewrap(folder, connections)
    servers = [wirewrap, systems.EpollWrap(folder, connections), systems.Nginx(folder, connections, wirewrap),
               systems.Haproxy(folder, connections, wirewrap)]
    running = {}
    try:
        for s in servers:
            running[s.name] = s
            s.start()
    except BaseException:
        stop_all(running)
        raise
    return running


def stop_all(running):
    for s in reversed(running.values()):
        s.stop()


def run_all(options):
    started = time.monotonic()
    wanted = options.rows.split(",") if options.rows else None
    rows = rows_closed(options.quick)
    unknown = [name for name in wanted or [] if name not in [r["name"] for r in rows]]
    if unknown:
        sys.exit(f"bench: no row is called {', '.join(unknown)} here; there are {' '.join(r['name'] for r in rows)}")
    rows = [r for r in rows if wanted is None or r["name"] in wanted]
    connections = max([1] + [int(r["arguments"][1]) for r in rows])
    with tempfile.TemporaryDirectory(prefix="ww-bench-") as folder:
        running = start_all(folder, connections)
        try:
            results = measure(rows, running, options)
            if wanted is None:
                open_rows = rows_open(results)
                results += measure(open_rows[:1] if options.quick else open_rows, running, options)
        finally:
            stop_all(running)
    print("", file=sys.stderr)
    return report.whole(results, instructions() if wanted is None else None, time.monotonic() - started)


def main():
    options = arguments_read()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:
        sys.exit("bench: needs root (network namespaces) and two cores")
    result = run_all(options)
    report.table(result)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
            f.write("\n")
    if options.results:
        plot.save(result, options.results)


main()
