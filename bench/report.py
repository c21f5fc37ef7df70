#!/usr/bin/python3
"""From single runs to medians, ratios, one JSON object and one table.

report.py FILE prints the table of a saved result, --markdown as docs/PERFORMANCE.md has it; --into DOC writes it there, between the two
lines that name it (docs/PERFORMANCE.md: "figures begin", "figures end").
"""
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIGURES = ["ops_per_s", "server_cpu_us_per_op", "p50_us", "p99_us", "p999_us"]
CLEAN = ["clean_p50_us", "clean_p99_us", "clean_p999_us"]
BEGIN, END = "<!-- figures begin: bench/report.py writes what is between -->", "<!-- figures end -->"
# A tail is the server's only where the generator was in time, did what it was asked, and enough of the time was without hiccups of a core.
LATE_MAX, LEFT_OUT_MAX, HANDSHAKES_MIN = 0.01, 0.7, 0.9
# Below that the machine did other things.
ON_CORE_MIN = 0.95
# nginx at 64 connections on the machine for which the wraps a second were set as an aim.
REFERENCE_NGINX_US = 12.4
# What is aimed at: ratio, the side of it that is right, the bound.
AIMS = [("nginx_static_over_wirewrap_cpu_c10", ">=", 2.5), ("nginx_static_over_wirewrap_cpu_c100", ">=", 2.5),
        ("nginx_static_over_wirewrap_cpu_c1000", ">=", 3.0), ("nginx_static_over_wirewrap_cpu_c10000", ">=", 2.5),
        ("nginx_static_over_wirewrap_cpu_c100000", ">=", 2.5), ("wirewrap_ops_per_s_c64", ">=", 200000),
        ("wirewrap_over_nginx_static_p999_open70", "<=", 1 / 3), ("wirewrap_over_nginx_static_handshake_cpu", "<=", 0.9),
        ("wirewrap_over_nginx_static_p999_beside_handshakes", "<=", 1 / 3), ("wirewrap_p999_beside_handshakes_over_bound", "<=", 1), ("keys_1000000_over_1000_instructions", "<=", 1.2),
        ("keys_1000000_over_1000_time", "<=", 1.3), ("workers_2_over_1_instructions", "<=", 1.02),
        ("wirewrap_kib_per_idle_connection", "<=", 18)]


def median(values):
    values = sorted(values)
    n = len(values)
    if n == 0:
        return 0.0
    return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) / 2


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty", "--abbrev=12"], stdout=subprocess.PIPE, text=True,
                            check=False).stdout.strip()
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "commit": commit or "unknown", "load": os.getloadavg()[0]}


def medians(results):
    """One entry for each row and system: the median of each figure, and how far the rounds lay apart."""
    groups = {}
    for r in results:
        groups.setdefault((r["name"], r["system"]), []).append(r)
    out = []
    for (name, system), rounds in groups.items():
        entry = {"name": name, "system": system, "rounds": len(rounds), "errors": sum(r["errors"] for r in rounds)}
        for key, value in rounds[0].items():
            if key not in entry and isinstance(value, (int, float)) and not isinstance(value, bool):
                entry[key] = median([r.get(key, 0) for r in rounds])
        for key in FIGURES + [k for k in CLEAN if k in rounds[0]]:
            values = [r[key] for r in rounds]
            entry[key + "_spread"] = [min(values), max(values)]
        for key in ("retransmits", "drops"):  # a sick run must not hide in a median
            entry[key] = max(r[key] for r in rounds)
        entry["trouble"] = {k: max(r["trouble"].get(k, 0) for r in rounds) for k in sorted({k for r in rounds for k in r["trouble"]})}
        out.append(entry)
    return out


def doubtful(e):
    """Why the tails of an open loop are not read as the server's; empty where they are."""
    out = []
    if e.get("clean_late", 0) > LATE_MAX:
        out.append("GENERATOR BEHIND")
    if e.get("left_out", 0) > LEFT_OUT_MAX:
        out.append("TOO MANY HICCUPS")
    if e.get("background_done", 0) < HANDSHAKES_MIN * e.get("background_rate", 0) * e.get("seconds", 0):
        out.append("TOO FEW HANDSHAKES")
    return out


def ratios_of_tails(at, out):
    """Without what was sent around hiccups; "raw" are those with everything."""
    for row in ["open70", "beside", "beside_handshakes"]:
        ours, theirs = at.get((row, "wirewrap")), at.get((row, "nginx-static"))
        if not ours or not theirs:
            continue
        out[f"wirewrap_over_nginx_static_p999_{row}_raw"] = round(ours["p999_us"] / max(1, theirs["p999_us"]), 3)
        if not doubtful(ours) and not doubtful(theirs):
            out[f"wirewrap_over_nginx_static_p999_{row}"] = round(ours["clean_p999_us"] / max(1, theirs["clean_p999_us"]), 3)
    alone, beside = at.get(("beside", "wirewrap")), at.get(("beside_handshakes", "wirewrap"))
    if alone and beside and not doubtful(alone) and not doubtful(beside) and beside.get("handshake_us"):
        # All steps of one handshake on the average: the longest that was seen holds the host's hiccups, this hardly does.
        bound = alone["clean_p999_us"] + 2 * beside["handshake_us"]
        out["wirewrap_p999_us_beside"] = round(alone["clean_p999_us"], 1)
        out["wirewrap_p999_us_beside_handshakes"] = round(beside["clean_p999_us"], 1)
        out["wirewrap_handshake_us"] = round(beside["handshake_us"], 1)
        out["wirewrap_handshake_step_max_us"] = round(beside["handshake_step_max_us"], 1)
        out["wirewrap_p999_beside_handshakes_over_bound"] = round(beside["clean_p999_us"] / bound, 3)


def speed(at, out):
    """What one core can do: as it was seen, by the time that an operation took of it, and on a machine on which nginx takes what it took
    on the one for which the aim was set."""
    ours, theirs = at.get(("c64", "wirewrap")), at.get(("c64", "nginx-static"))
    if not ours:
        return
    out["wirewrap_ops_per_s_c64"] = round(ours["ops_per_s"])
    out["wirewrap_ops_per_s_c64_by_cpu"] = round(1e6 / ours["server_cpu_us_per_op"])
    out["wirewrap_server_busy_c64"] = round(ours["server_busy"], 3)
    if theirs:
        out["nginx_static_us_c64"] = round(theirs["server_cpu_us_per_op"], 2)
        slower = theirs["server_cpu_us_per_op"] / REFERENCE_NGINX_US
        out["wirewrap_ops_per_s_c64_by_cpu_where_nginx_takes_12us"] = round(slower * 1e6 / ours["server_cpu_us_per_op"])


def ratios(summary, more):
    """Named; "cpu" ratios above 1 say that Wirewrap is the cheaper one, latency ratios below 1 that it is the faster one."""
    at = {(e["name"], e["system"]): e for e in summary}
    out = {}

    def over(name, key, row, above, below):
        if (row, above) in at and (row, below) in at and at[(row, below)][key] > 0:
            out[name] = round(at[(row, above)][key] / at[(row, below)][key], 3)

    for row in dict.fromkeys(e["name"] for e in summary):
        for other in ["nginx-static", "haproxy-static", "epoll-wrap"]:
            over(f"{other.replace('-', '_')}_over_wirewrap_cpu_{row}", "server_cpu_us_per_op", row, other, "wirewrap")
    main = "nginx_static_over_wirewrap_cpu_c1000"
    if main in out:
        out["nginx_static_over_wirewrap_cpu"] = out[main]
    ratios_of_tails(at, out)
    over("wirewrap_over_nginx_static_handshake_cpu", "server_cpu_us_per_op", "handshakes", "wirewrap", "nginx-static")
    speed(at, out)
    for what in ("keys", "workers"):
        points = more.get(what, {}).get("points", [])
        for p in points[1:]:
            out[f"{what}_{p[what]}_over_{points[0][what]}_instructions"] = round(p["instructions"] / points[0]["instructions"], 4)
            out[f"{what}_{p[what]}_over_{points[0][what]}_time"] = round(statistics.median(a / b for a, b in zip(p["ns_all"], points[0]["ns_all"])), 3)
    for system, kib in more.get("idle", {}).get("kib_per_connection", {}).items():
        out[f"{system.replace('-', '_')}_kib_per_idle_connection"] = kib
    return out


def whole(results, more, failed, seconds):
    summary = medians(results)
    more = dict(more)
    return {"machine": machine(), "seconds": round(seconds, 1), "runs": results, "medians": summary, "ratios": ratios(summary, more),
            "instructions_per_op": more.pop("instructions", None), **more, "failed": failed}


def notes(e):
    out = doubtful(e)
    if "clean_p999_us" in e:
        out.append(f"without hiccups {e['clean_p50_us']:.0f} / {e['clean_p99_us']:.0f} / {e['clean_p999_us']:.0f} us ({100 * e['left_out']:.0f} % of the time left out)")
        out.append(f"asked {e['rate']:.0f}/s")
        if "background_rate" in e:
            out.append(f"{e['background_done'] / e['seconds']:.0f} of {e['background_rate']:.0f} handshakes/s made")
    if e["name"] == "c64":
        out.append(f"server busy {100 * e['server_busy']:.0f} %")
    if "requests_per_turn" in e:
        out.append(f"{e['requests_per_turn']:.1f} requests/turn")
    if e.get("worker_on_core", 1) < ON_CORE_MIN:
        out.append(f"WORKER HAD ITS CORE {100 * e['worker_on_core']:.0f} % OF THE TIME")
    out += [f"{name} {n:.0f}" for name, n in e["trouble"].items()]
    return ", ".join(out)


def aims(result):
    """(ratio, what is aimed at, what was reached, whether that is enough)"""
    for name, side, bound in AIMS:
        if name in result["ratios"]:
            value = result["ratios"][name]
            yield name, f"{side} {bound:.3g}" if bound < 1000 else f"{side} {bound}", value, value >= bound if side == ">=" else value <= bound


def unsaid(result):
    """Aims whose rows were run, and say nothing."""
    run = {(e["name"], e["system"]) for e in result["medians"]}
    asked = {f"wirewrap_over_nginx_static_p999_{row}": {(row, "wirewrap"), (row, "nginx-static")} for row in ("open70", "beside_handshakes")}
    asked["wirewrap_p999_beside_handshakes_over_bound"] = {("beside", "wirewrap"), ("beside_handshakes", "wirewrap")}
    return [name for name, needed in asked.items() if needed <= run and name not in result["ratios"]]


def starved(result):
    """Rows in which something else had the server's core."""
    return [e["name"] for e in result["medians"] if e.get("worker_on_core", 1) < ON_CORE_MIN]


def table_of_rows(result):
    rounds = max(e["rounds"] for e in result["medians"])
    print(f"{'row':18} {'system':15} {'ops/s':>9} {'server us/op':>13} {'p50 us':>9} {'p99 us':>9} {'p99.9 us':>9} {'errors':>7} {'resent':>7} {'drops':>7}  notes")
    for e in result["medians"]:
        print(f"{e['name']:18} {e['system']:15} {e['ops_per_s']:9.0f} {e['server_cpu_us_per_op']:13.2f} {e['p50_us']:9.0f} {e['p99_us']:9.0f}"
              f" {e['p999_us']:9.0f} {e['errors']:7.0f} {e['retransmits']:7.0f} {e['drops']:7.0f}  {notes(e)}")
    print(f"({'One round' if rounds == 1 else f'Medians of at most {rounds} rounds'}; resent, drops and the counters in the notes: the worst. server us/op: CPU time of the"
          " server for each request, whatever the generator left idle. p50 to p99.9 with everything in them.)")


def table_of_ratios(result):
    print("\nratios (.._over_wirewrap_cpu: above 1 Wirewrap takes less; wirewrap_over_..: below 1 it takes less, or is faster; _raw: hiccups of the machine included)")
    for name, value in result["ratios"].items():
        print(f"  {name:62} {value:10.6g}")


def table_of_aims(result):
    held, silent, busy = list(aims(result)), unsaid(result), starved(result)
    if held or silent:
        print("\naims")
    for name, bound, value, good in held:
        print(f"  {'reached' if good else 'MISSED':8} {name}: {value:g} ({bound})")
    for name in silent:
        print(f"  NOT SAID {name}: the notes of its rows say in capitals why")
    if busy:
        print(f"  The machine did other things meanwhile (rows {', '.join(busy)}): run it again on a quiet one before you believe a figure.")


def table(result):
    m = result["machine"]
    print(f"{m['cpu']}, {m['cores']} cores, kernel {m['kernel']}, commit {m['commit']}, load {m['load']:.2f}, {result['seconds']:.0f} s")
    if result["medians"]:
        table_of_rows(result)
    for what in ("keys", "workers"):
        for p in result.get(what, {}).get("points", []):
            print(f"{what} {p[what]:>8}: {p['instructions']:7} instructions a wrap in the simulator, {p['ns'] / 1000:.2f} us")
    for title, part in (result["instructions_per_op"] or {}).items():
        print(f"instructions of one wrap, {title}: {sum(part.values())}  (" + ", ".join(f"{k} {v}" for k, v in part.items()) + ")")
    if result["ratios"]:
        table_of_ratios(result)
    table_of_aims(result)
    for f in result["failed"]:
        print(f"FAILED   {f['name']}, {f['system']}: {f['why']}")


# ---- Markdown ----

def markdown_rows(result):
    systems = [s for s in ("wirewrap", "epoll-wrap", "nginx-static", "haproxy-static") if any(e["system"] == s for e in result["medians"])]
    at = {(e["name"], e["system"]): e for e in result["medians"]}
    yield f"| row | {' | '.join(systems)} | nginx / wirewrap | wirewrap: ops/s | p50 / p99 / p99.9 µs | nginx: p50 / p99 / p99.9 µs |"
    yield "|" + "---|" * (len(systems) + 5)

    def latency(e):
        if e is None:
            return ""
        raw = f"{e['p50_us']:.0f} / {e['p99_us']:.0f} / {e['p999_us']:.0f}"
        return raw if "clean_p999_us" not in e else f"{e['clean_p50_us']:.0f} / {e['clean_p99_us']:.0f} / {e['clean_p999_us']:.0f} (raw {raw})"

    for row in dict.fromkeys(e["name"] for e in result["medians"]):
        costs = [f"{at[(row, s)]['server_cpu_us_per_op']:.2f}" if (row, s) in at else "" for s in systems]
        ours, theirs = at.get((row, "wirewrap")), at.get((row, "nginx-static"))
        ratio = f"{theirs['server_cpu_us_per_op'] / ours['server_cpu_us_per_op']:.2f}" if ours and theirs else ""
        yield f"| {row} | {' | '.join(costs)} | {ratio} | {ours['ops_per_s']:.0f} | {latency(ours)} | {latency(theirs)} |" if ours else f"| {row} |"


def markdown(result):
    m = result["machine"]
    out = [f"{m['cpu']}, {m['cores']} cores, kernel {m['kernel']}, commit {m['commit']}, {m['date']}, load at the end {m['load']:.2f}, "
           f"{result['seconds']:.0f} s. Server CPU per operation in µs, medians of at most {max([e['rounds'] for e in result['medians']] or [0])} rounds. "
           "Latencies of open loops are those without hiccups of either core, with everything in brackets.", ""]
    out += [*markdown_rows(result), ""]
    sick = [f"{e['name']} {e['system']}: {notes(e)}" for e in result["medians"] if e["trouble"] or e["errors"] or e.get("worker_on_core", 1) < ON_CORE_MIN or doubtful(e)]
    if sick:
        out += ["Trouble seen (the worst round): " + "; ".join(sick) + ".", ""]
    out += ["| ratio | aim | reached |", "|---|---|---|"]
    out += [f"| `{name}` | {bound.replace('>=', '≥').replace('<=', '≤')} | {value:g}{'' if good else ' **missed**'} |" for name, bound, value, good in aims(result)]
    for what in ("keys", "workers"):
        points = result.get(what, {}).get("points", [])
        if points:
            out += ["", f"| {what} | instructions a wrap | µs in the simulator |", "|---|---|---|"]
            out += [f"| {p[what]} | {p['instructions']} | {p['ns'] / 1000:.2f} |" for p in points]
    if result["instructions_per_op"]:
        out += ["", "Instructions of one wrap: " + "; ".join(f"{title} {sum(part.values())} (" + ", ".join(f"{k} {v}" for k, v in part.items()) + ")"
                                                             for title, part in result["instructions_per_op"].items()) + "."]
    if unsaid(result):
        out += ["", "Not said, since the generator was behind, did too little, or too much of the time had hiccups: " + ", ".join(f"`{name}`" for name in unsaid(result)) + "."]
    if result["failed"]:
        out += ["", "Failed: " + "; ".join(f"{f['name']}, {f['system']}: {f['why']}" for f in result["failed"]) + "."]
    return "\n".join(out) + "\n"


def write_into(path, text):
    with open(path, encoding="utf-8") as f:
        before = f.read()
    after, n = re.subn(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n\n{text}\n{END}", before, flags=re.S)
    if n != 1:
        sys.exit(f"report.py: {path} does not have the lines between which the figures go")
    with open(path, "w", encoding="utf-8") as f:
        f.write(after)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--markdown"]
    if not arguments or (len(arguments) != 1 and (len(arguments) != 3 or arguments[1] != "--into")):
        sys.exit("usage: bench/report.py FILE [--markdown | --into docs/PERFORMANCE.md]")
    with open(arguments[0], encoding="utf-8") as f:
        result = json.load(f)
    if len(arguments) == 3:
        write_into(arguments[2], markdown(result))
    elif "--markdown" in sys.argv:
        print(markdown(result), end="")
    else:
        table(result)


if __name__ == "__main__":
    main()
