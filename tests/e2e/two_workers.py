#!/usr/bin/python3
"""Two workers on two queues, and every tenth frame comes to the wrong one: nobody is reset, and a revoke holds on both.

--long: 2000 connections.  The debug build alone lets frames go astray (WW_MISDIRECT_PPM)."""
import os
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
LONG = "--long" in sys.argv
sys.argv = [a for a in sys.argv if a != "--long"]
os.environ["WW_MISDIRECT_PPM"] = "100000"
import client
import house
import tap

h = house.House()
h.workers = 2
CONNECTIONS, AT_ONCE = (2000, 100) if LONG else (200, 50)


def kernel_resets():
    """Connections of this namespace that ended by a RST, ours or theirs, or did not come about (RFC 2012)."""
    with open("/proc/net/snmp", encoding="ascii") as f:
        names, values = [line.split() for line in f if line.startswith("Tcp:")]
    tcp = dict(zip(names, values))
    return int(tcp["AttemptFails"]) + int(tcp["EstabResets"])


def stats():
    return h.wwctl_json("dataplane", "stats")


def end(c):
    """In order: close_notify both ways, so that no kernel has a reason for a RST."""
    try:
        c.socket = c.socket.unwrap()
    except ssl.SSLError:
        pass
    c.close()


@tap.case
def every_connection_is_served_and_none_is_reset():
    before, cut_before = kernel_resets(), stats()["counters"]["conn_handshake_timeout"]
    for first in range(0, CONNECTIONS, AT_ONCE):
        open_now = [client.Connection(h, (h.address, h.address6)[i % 2]) for i in range(AT_ONCE)]
        for i, c in enumerate(open_now):
            data = b"%d" % (first + i)
            tap.equal(c.unwrapped(c.wrapped(data)), data)
        for c in open_now:
            end(c)
    cut = stats()["counters"]["conn_handshake_timeout"] - cut_before  # where the machine stood still; the client came again
    tap.check(kernel_resets() - before <= cut, f"{kernel_resets() - before} resets, {cut} for want of a handshake")


@tap.case
def frames_went_astray_and_both_workers_had_their_share():
    workers = [w["counters"] for w in stats()["workers"]]
    tap.equal(len(workers), 2)
    share = [w["tcp_accepted"] for w in workers]
    handed = [w["steer_handed"] for w in workers]
    print(f"# connections {share}, frames handed over {handed} of {[w['nic_rx_frames'] for w in workers]}")
    tap.check(min(share) > sum(share) / 5, f"load share {share}")
    tap.check(min(handed) > CONNECTIONS / 20, f"handed over {handed}")
    tap.equal([w["steer_lost"] for w in workers], [0, 0])


@tap.case
def the_whole_is_the_sum_of_its_parts():
    s = stats()
    parts = [w["counters"] for w in s["workers"]] + [s["housekeeper"]["counters"]]
    for name in ("tls_handshake_ok", "ekm_wrap_ok", "ctl_epochs_applied"):
        tap.equal(s["counters"][name], sum(p[name] for p in parts), name)
    tap.check(s["housekeeper"]["counters"]["ctl_epochs_applied"] > 0, "the housekeeper counts")
    tap.equal((s["housekeeper"]["gauges"]["ctl_attached"], s["housekeeper"]["gauges"]["keys"]), (1, 1))


def wrapping_workers(connections):
    """How many of them each worker serves."""
    before = [w["counters"]["http_requests"] for w in stats()["workers"]]
    statuses = [c.wrap(b"x").status for c in connections]
    after = [w["counters"]["http_requests"] for w in stats()["workers"]]
    return statuses, [b - a for a, b in zip(before, after)]


@tap.case
def a_revoke_holds_on_both_workers_once_it_is_acknowledged():
    c = [client.Connection(h) for _ in range(30)]
    statuses, share = wrapping_workers(c)
    tap.equal(set(statuses), {200})
    tap.check(min(share) > 0, f"both serve: {share}")
    h.wwctl("key", "disable", h.key)
    tap.equal({x.wrap(b"x").status for x in c}, {400})
    h.wwctl("key", "enable", h.key)
    tap.equal({x.wrap(b"x").status for x in c}, {200})
    for x in c:
        end(x)


@tap.case
def every_request_of_both_workers_is_in_the_audit_log():
    wanted = stats()["counters"]["http_requests"]

    def written():
        return h.wwctl_json("status")["audit"]["written"] == wanted
    house.wait_for(written, f"{wanted} records")


@tap.case
def nothing_is_left_of_closed_connections():
    house.wait_for(lambda: h.gauges()["tls_conns"] == 0, "every TLS connection freed")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
