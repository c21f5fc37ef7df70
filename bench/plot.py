"""Line charts as SVG, without a library."""
import json
import math
import os

WIDTH, HEIGHT, LEFT, BOTTOM, TOP_, RIGHT = 760, 420, 70, 50, 40, 150
COLOURS = {"instructions": "#06c", "time": "#c30", "wirewrap": "#0b6", "epoll-wrap": "#06c", "nginx-static": "#c30", "haproxy-static": "#a5a"}


def scale(values, low, high, log):
    a, b = min(values), max(values)
    if log:
        a, b = math.log10(max(a, 1e-9)), math.log10(max(b, 1e-9))
    b = b if b > a else a + 1
    return lambda v: low + ((math.log10(max(v, 1e-9)) if log else v) - a) / (b - a) * (high - low)


def ticks(values, log):
    a, b = min(values), max(values)
    if log:
        return [10 ** e for e in range(math.floor(math.log10(a)), math.ceil(math.log10(b)) + 1) if a <= 10 ** e <= b] or [a, b]
    step = 10 ** math.floor(math.log10((b - a) or 1))
    step = step / 2 if (b - a) / step < 3 else step
    return [step * i for i in range(math.ceil(a / step), math.floor(b / step) + 1)]


def chart(title, x_name, y_name, lines, x_log=True, y_log=False, x_labels=None):
    """lines: {name: [(x, y), ...]}"""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points] + ([] if y_log else [0])
    x, y = scale(xs, LEFT, WIDTH - RIGHT, x_log), scale(ys, HEIGHT - BOTTOM, TOP_, y_log)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/><text x="{LEFT}" y="22" font-size="15">{title}</text>',
           f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{x_name}</text>',
           f'<text transform="translate(16 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{y_name}</text>']
    for v in ticks(ys, y_log):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>')
    for v, label in (x_labels or [(t, f"{t:g}") for t in ticks(xs, x_log)]):
        out.append(f'<line x1="{x(v):.1f}" x2="{x(v):.1f}" y1="{TOP_}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>'
                   f'<text x="{x(v):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{label}</text>')
    for i, (name, points) in enumerate(lines.items()):
        colour = COLOURS.get(name, "#555")
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in sorted(points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in points]
        out.append(f'<text x="{WIDTH - RIGHT + 10}" y="{TOP_ + 18 * (i + 1)}" fill="{colour}">{name}</text>')
    return "\n".join(out + ["</svg>", ""])


def cost_chart(result):
    lines = {}
    for e in result["medians"]:
        if e["name"][0] == "c" and e["name"][1:].isdigit():
            lines.setdefault(e["system"], []).append((e["connections"], e["server_cpu_us_per_op"]))
    return chart("Server CPU per operation", "connections", "microseconds", lines) if lines else None


def latency_chart(result, row):
    """Median of the rounds at each percentile, over 1/(1-q)."""
    rounds = {}
    for r in result["runs"]:
        if r["name"] == row:
            for q, us in r["percentiles_us"]:
                if q < 0.99999:
                    rounds.setdefault(r["system"], {}).setdefault(q, []).append(us)
    if not rounds:
        return None
    lines = {s: [(1 / (1 - q), sorted(v)[len(v) // 2]) for q, v in at.items()] for s, at in rounds.items()}
    labels = [(2, "50 %"), (10, "90 %"), (100, "99 %"), (1000, "99.9 %"), (10000, "99.99 %")]
    return chart(f"Latency from the intended time, {row}", "percentile", "microseconds", lines, y_log=True, x_labels=labels)


def scale_chart(result, what):
    """Instructions and time of a wrap over the number of keys or workers, each as a multiple of the first."""
    points = result.get(what, {}).get("points", [])
    if len(points) < 2:
        return None
    first = points[0]
    lines = {key: [(p[what], p[key] / first[key]) for p in points] for key in ("instructions", "ns")}
    lines = {"instructions": lines["instructions"], "time": lines["ns"]}
    return chart(f"A wrap in the simulator, as a multiple of that with {first[what]} {what}", what, "multiple", lines, x_log=what == "keys",
                 x_labels=[(p[what], f"{p[what]}") for p in points])


def save(result, folder):
    os.makedirs(folder, exist_ok=True)
    charts = {"cost": cost_chart(result), "keys": scale_chart(result, "keys"), "workers": scale_chart(result, "workers")}
    charts.update({row: latency_chart(result, row) for row in ["c1000", "open70", "open70ours", "beside", "beside_handshakes"]})
    for name, text in charts.items():
        if text:
            with open(f"{folder}/{name}.svg", "w", encoding="utf-8") as f:
                f.write(text)
    with open(f"{folder}/result.json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
