#!/usr/bin/python3
"""wrk with 200 TLS connections: every single reply is a wrap.  Decided by what came back, not by how fast."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import house
import tap

h = house.House()
CONNECTIONS, SECONDS, TRIES = 200, 10, 5

# wrk counts as errors what is no 2xx, what timed out, and what could not be read or written.
SCRIPT = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=","additionalAuthenticatedData":"Y29udGV4dA=="}'
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('\\nRESULT {"requests":%%d,"connect":%%d,"read":%%d,"write":%%d,"status":%%d,"timeout":%%d,"p50":%%d,"p99":%%d}\\n',
        summary.requests, e.connect, e.read, e.write, e.status, e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


def wrk(address):
    with open(f"{h.state}/wrap.lua", "w") as f:
        f.write(SCRIPT % h.token)
    done = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--timeout", "60s", "-s", f"{h.state}/wrap.lua",
                           f"https://{address}/{h.key}:wrap"], capture_output=True, text=True, timeout=SECONDS + 120)
    result = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    tap.check(result, done.stdout + done.stderr)
    return json.loads(result[len("RESULT "):])


def cut_off(before):
    """Handshakes that took longer than they may: on a machine that stood still that is nobody's error, and shows nothing."""
    return h.counters()["conn_handshake_timeout"] - before["conn_handshake_timeout"]


def no_errors(address):
    for _ in range(TRIES):
        before = h.counters()
        got = wrk(address)
        print(f"# {got['requests'] / SECONDS:.0f} wraps/s, p50 {got['p50'] / 1000:.1f} ms, p99 {got['p99'] / 1000:.1f} ms (a figure, no claim)")
        errors = {k: got[k] for k in ("connect", "read", "write", "status", "timeout")}
        if not 0 < errors["connect"] == sum(errors.values()) <= cut_off(before):
            break
    tap.equal(errors, dict.fromkeys(errors, 0))
    tap.check(got["requests"] >= CONNECTIONS, f"only {got['requests']} requests")
    done = h.counters()["ekm_wrap_ok"] - before["ekm_wrap_ok"]
    tap.check(done >= got["requests"], f"{got['requests']} replies and {done} wraps")


@tap.case
def two_hundred_connections_see_no_error_over_ipv4():
    no_errors(h.address)


@tap.case
def two_hundred_connections_see_no_error_over_ipv6():
    no_errors(f"[{h.address6}]")


@tap.case
def both_sides_have_closed_every_connection():
    """What the kernel still holds, but in TIME-WAIT, waits for us."""
    def held():
        out = subprocess.run(["ss", "-Htan", "dport = :443"], capture_output=True, text=True, check=True).stdout
        return [line for line in out.splitlines() if not line.startswith("TIME-WAIT")]
    house.wait_for(lambda: not held(), "connections closed on one side only")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
