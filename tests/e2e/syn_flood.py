#!/usr/bin/python3
"""SYNs from made-up addresses arrive by the ten thousand, and every wrap of a legitimate client succeeds: on connections that were open
before, and on new ones for which nothing can be remembered.

--long: 500 000 of them beside an open loop, N = 5 runs with and without in turn; what they do to the others' p99 is reported."""
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
LONG = "--long" in sys.argv
sys.argv = [a for a in sys.argv if a != "--long"]
import client
import house
import load
import ratio
import tap

h = house.House()
SYNS = 500000 if LONG else 30000
BURST = 500
SERVER_MAC = bytes.fromhex("025757000002")


def folded(total):
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


class Flood(threading.Thread):
    """Frames with a source address and port drawn by lot, until so many have arrived or stop() is called."""

    def __init__(self, wanted, seed=1):
        super().__init__(daemon=True)
        self.wanted, self.random, self.sent, self.stopping = wanted, random.Random(seed), 0, threading.Event()
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.bind(("ww0", 0))
        self.ours = socket.inet_aton(h.address)
        self.head = SERVER_MAC + self.socket.getsockname()[4] + b"\x08\x00"
        high, low = struct.unpack("!HH", self.ours)
        self.ip_sum = 0x4500 + 40 + 0x4000 + 0x4006 + high + low
        self.tcp_sum = high + low + 6 + 20 + 443 + 0x5002 + 64240

    def frame(self):
        draw = self.random.getrandbits(64)
        high, low = 0x0b00 + (draw & 0x3fff), draw >> 14 & 0xffff  # 11.0.0.0 to 74.255.255.255
        port, seq = 1024 + (draw >> 30 & 0x7fff), draw >> 45 & 0xffff
        source = struct.pack("!HH", high, low)
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, ~folded(self.ip_sum + high + low) & 0xffff)
        check = ~folded(self.tcp_sum + high + low + port + seq) & 0xffff
        return self.head + ip + source + self.ours + struct.pack("!HHIIHHHH", port, 443, seq, 0, 0x5002, 64240, check, 0)

    def run(self):
        before = arrived()
        while not self.stopping.is_set() and arrived() - before < self.wanted:
            for _ in range(BURST if self.wanted < 100000 else 10 * BURST):
                try:
                    self.socket.send(self.frame())
                    self.sent += 1
                except OSError:  # the queue of the TAP is full
                    self.stopping.wait(0.001)

    def end(self):
        self.join(600)
        tap.check(not self.is_alive(), "the flood did not end")


def arrived():
    return h.counters()["tcp_syn_received"]


def new_connections(flood, outcome):
    """One wrap on each, as long as it lasts, and twenty at least: what it left behind outlives it."""
    while flood.is_alive() or len(outcome) < 20:
        try:
            c = client.Connection(h, (h.address, h.address6)[len(outcome) % 2])
            outcome.append(c.wrap(b"x").status)
            c.close()
        except (OSError, client.Closed) as why:
            outcome.append(repr(why))


@tap.case
def every_wrap_succeeds_while_spoofed_syns_arrive():
    before = h.counters()
    flood, outcome = Flood(SYNS), []
    standing = load.Load(h, count=2).start()
    house.wait_for(lambda: standing.count() > 0, "the standing connections serve")
    flood.start()
    new_connections(flood, outcome)
    flood.end()
    standing.stop()
    after = h.counters()
    cookies = after["tcp_cookie_sent"] - before["tcp_cookie_sent"]
    print(f"# {flood.sent} SYNs sent, {cookies} cookies, {len(outcome)} new connections, {standing.count()} wraps on standing ones")
    tap.equal((standing.broken, set(standing.statuses)), ([], {200}))
    tap.equal([o for o in outcome if o != 200], [])
    tap.check(outcome, "no new connection was tried")
    tap.check(cookies > SYNS / 2, "most were answered by a cookie")
    tap.check(after["tcp_cookie_accepted"] > before["tcp_cookie_accepted"], "some of the new connections came by a cookie")


@tap.case
def what_half_open_connections_hold_is_bounded():
    tap.check(h.gauges()["tcp_half_open"] <= 1024, h.gauges()["tcp_half_open"])


def flooded(run):
    flood = Flood(SYNS, run)
    flood.start()
    return flood.end


def dropped_by_the_tap():
    """Frames to the server for which there was no room in the kernel's queue: nobody's fault but the queue's."""
    shown = subprocess.run(["ip", "-j", "-s", "link", "show", "ww0"], check=True, capture_output=True, text=True).stdout
    return json.loads(shown)[0]["stats64"]["tx"]["dropped"]


def the_flood_s_effect_on_others_is_reported():
    dropped, before = dropped_by_the_tap(), h.counters()
    ratio.report(h, "500 000 spoofed SYNs", flooded)
    again = h.counters()["tcp_retransmits"] - before["tcp_retransmits"]
    print(f"# {dropped_by_the_tap() - dropped} frames were dropped by the TAP's queue before they reached us; we sent {again} segments again")


if LONG:
    tap.case(the_flood_s_effect_on_others_is_reported)

if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
