"""From single runs to medians, ratios, one JSON object and one table."""
import os
import platform
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIGURES = ["ops_per_s", "server_cpu_us_per_op", "p50_us", "p99_us", "p999_us"]


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
                entry[key] = median([r[key] for r in rounds])
        for key in FIGURES:
            values = [r[key] for r in rounds]
            entry[key + "_spread"] = [min(values), max(values)]
        out.append(entry)
    return out


def ratios(summary):
    """Named; "cpu" ratios above 1 say that Wirewrap is the cheaper one, latency ratios below 1 that it is the faster one."""
    at = {(e["name"], e["system"]): e for e in summary}
    out = {}

    def over(name, key, row, above, below):
        if (row, above) in at and (row, below) in at and at[(row, below)][key] > 0:
            out[name] = round(at[(row, above)][key] / at[(row, below)][key], 3)

    for row in sorted({e["name"] for e in summary}):
        for other in ["nginx-static", "haproxy-static", "epoll-wrap"]:
            over(f"{other.replace('-', '_')}_over_wirewrap_cpu_{row}", "server_cpu_us_per_op", row, other, "wirewrap")
    main = "nginx_static_over_wirewrap_cpu_c1000"
    if main in out:
        out["nginx_static_over_wirewrap_cpu"] = out[main]
    for row in ["open70", "beside", "beside_handshakes"]:
        over(f"wirewrap_over_nginx_static_p999_{row}", "p999_us", row, "wirewrap", "nginx-static")
    over("wirewrap_over_nginx_static_handshake_cpu", "server_cpu_us_per_op", "handshakes", "wirewrap", "nginx-static")
    return out


def whole(results, instructions, seconds):
    summary = medians(results)
    return {"machine": machine(), "seconds": round(seconds, 1), "runs": results, "medians": summary, "ratios": ratios(summary),
            "instructions_per_op": instructions}


def table(result):
    m = result["machine"]
    print(f"{m['cpu']}, {m['cores']} cores, kernel {m['kernel']}, commit {m['commit']}, load {m['load']:.2f}, {result['seconds']:.0f} s")
    print(f"{'row':18} {'system':15} {'ops/s':>9} {'server us/op':>13} {'p50 us':>9} {'p99 us':>9} {'p99.9 us':>9} {'errors':>7}  notes")
    for e in result["medians"]:
        notes = []
        if "requests_per_turn" in e:
            notes.append(f"{e['requests_per_turn']:.1f} requests/turn")
        if e.get("worker_on_core", 1) < 0.95:
            notes.append(f"worker had its core {100 * e['worker_on_core']:.0f} % of the time")
        print(f"{e['name']:18} {e['system']:15} {e['ops_per_s']:9.0f} {e['server_cpu_us_per_op']:13.2f} {e['p50_us']:9.0f} {e['p99_us']:9.0f}"
              f" {e['p999_us']:9.0f} {e['errors']:7.0f}  {', '.join(notes)}")
    for name, value in result["ratios"].items():
        print(f"{name:60} {value:8.2f}")
    for title, part in (result["instructions_per_op"] or {}).items():
        print(f"instructions of one wrap, {title}: {sum(part.values())}  (" + ", ".join(f"{k} {v}" for k, v in part.items()) + ")")
