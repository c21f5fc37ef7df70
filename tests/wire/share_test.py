#!/usr/bin/python3
"""share_test.py: our flow and one of Linux CUBIC through the same narrow place (tbf): who gets how much.

    ours - TAP - peer - up0, tbf 10 Mbit/s - far: both are received there
    near - near0 -/

The namespaces are rig.py's, and near beside them: a sender on the narrow place's own host would see its queue.
"""
import os
import socket
import statistics
import threading
import time

import rig
import streams
import tap

RUNS, SETTLE, SECONDS = 5, 4, 20
RATE, LATENCY = "10mbit", "50ms"
NEAR4, PORT = "203.0.113.2", 5001

wire = rig.Wire()
near = f"ww-near-{os.getpid()}"


def before():
    wire.make_peer()
    wire.make_far()
    rig.run("ip", "netns", "add", near)
    wire.made.append(near)
    rig.run("ip", "link", "add", "side0", "type", "veth", "peer", "name", "near0", "netns", near)
    rig.run("ip", "addr", "add", "203.0.113.1/24", "dev", "side0")
    rig.run("ip", "link", "set", "side0", "up")
    for device in ("side0", "up0"):
        rig.plain(device)
    rig.plain(rig.TAP)
    with wire.inside(near):
        rig.plain("near0")
        rig.run("ip", "addr", "add", f"{NEAR4}/24", "dev", "near0")
        rig.run("ip", "link", "set", "near0", "up")
        rig.run("ip", "route", "add", "default", "via", "203.0.113.1")
    with wire.inside(wire.far):
        rig.plain("far0")
    rig.run("tc", "qdisc", "add", "dev", "up0", "root", "tbf", "rate", RATE, "burst", "15k", "latency", LATENCY)
    wire.start_echo("--chargen", 1 << 30, "--send-buffer", 1 << 18)


def cubic_sends(listener, stop):
    """One connection, as fast as it takes bytes."""
    s, _ = listener.accept()
    s.settimeout(1)
    block = bytes(65536)
    while not stop.is_set():
        try:
            s.send(block)
        except TimeoutError:
            pass
        except OSError:
            break
    s.close()


def listening():
    with wire.inside(near):
        listener = socket.create_server((NEAR4, PORT))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    return listener


def count(s, taken, key, stop):
    s.settimeout(1)
    while not stop.is_set():
        try:
            got = s.recv(1 << 16)
        except TimeoutError:
            continue
        if not got:
            return
        taken[key] += len(got)


def one_run(number):
    """Bytes of ours and of Linux's in the time measured; who begins first alternates."""
    listener, stop, taken = listening(), threading.Event(), {"ours": 0, "linux": 0}
    sender = threading.Thread(target=cubic_sends, args=(listener, stop))
    sender.start()
    calls = [("ours", (rig.OURS4, streams.CHARGEN)), ("linux", (NEAR4, PORT))]
    sockets, readers = [], []
    for key, where in calls if number % 2 else reversed(calls):
        with wire.inside(wire.far):
            s = streams.connect(*where)
        sockets.append(s)
        readers.append(threading.Thread(target=count, args=(s, taken, key, stop)))
        readers[-1].start()
    time.sleep(SETTLE)
    begun = dict(taken)
    time.sleep(SECONDS)
    got = {key: taken[key] - begun[key] for key in taken}
    stop.set()
    for thread in readers + [sender]:
        thread.join(rig.BOUND)
    for s in sockets:
        streams.reset(s)
    listener.close()
    return got


@tap.case
def d6_our_share_beside_linux_cubic_is_fair():
    shares = []
    for number in range(RUNS):
        got = one_run(number)
        shares.append(got["ours"] / (got["ours"] + got["linux"]))
        print(f"# ours {got['ours'] * 8 / SECONDS / 1e6:.2f} Mbit/s, Linux {got['linux'] * 8 / SECONDS / 1e6:.2f} Mbit/s: {shares[-1]:.2f}")
        tap.check(got["ours"] + got["linux"] > 0.8 * SECONDS * 10e6 / 8, "the narrow place was not full")
    median = statistics.median(shares)
    print(f"# share: median {median:.2f}, {min(shares):.2f} to {max(shares):.2f}; ours {wire.stop_echo()['counter']}")
    tap.check(0.35 <= median <= 0.65, f"a share of {median:.2f}")


tap.run(before, wire.end)
