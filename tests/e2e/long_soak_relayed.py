#!/usr/bin/python3
"""long_soak_relayed.py [--seconds N]: TLS clients come, wrap and go for half an hour through a relay that loses, repeats, reorders,
damages and delays, while sanitizers watch the dataplane.  Nobody gets a wrong byte, and when all have gone nothing is held: no
connection, no buffer, no SSL object, no frame.

    peer 192.0.2.1, 2001:db8:57::1 on peer0, in a namespace of its own
     |   veth
    mid0 - ww-relay - ww0 (TAP), in the house's namespace, whose kernel has no address left
"""
import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

IMPAIRED = "loss=1,burst=0.05,burst_len=4,dup=1,reorder=2,reorder_us=3000,corrupt=0.3,truncate=0.1,delay_us=500,spike=0.01,spike_us=300000"
THREADS = 8
PEER = f"ww-soak-{os.getpid()}"

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=int, default=1800)
parser.add_argument("--nic", default="tap", choices=["tap"])
parser.add_argument("--build", default="debug", choices=["release", "debug"])
chosen = parser.parse_args()
h = house.House(chosen)
relay = None
counted = {"wraps": 0, "connections": 0, "ended": 0, "broken": 0}
wrong = []


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} exited with {done.returncode}: {done.stdout}")
    return done.stdout


def enter(name):
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    house.setns(descriptor)
    os.close(descriptor)


def put_relay_between():
    """The house is up, its kernel the peer; from here on a namespace behind the relay is."""
    global relay
    home = h.env("WW_NETNS")
    mac = re.search(r"link/ether (\S+)", run("ip", "-n", home, "link", "show", "ww0"))[1]
    run("ip", "netns", "add", PEER)
    run("ip", "-n", home, "link", "add", "mid0", "type", "veth", "peer", "name", "peer0", "netns", PEER)
    run("ip", "-n", home, "addr", "flush", "dev", "ww0")
    for device in ("ww0", "mid0"):
        run("ip", "netns", "exec", home, "sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
    run("ip", "-n", home, "link", "set", "ww0", "txqueuelen", "10000")
    run("ip", "-n", PEER, "link", "set", "peer0", "address", mac)
    for name, device in ((home, "mid0"), (PEER, "peer0")):
        run("ip", "netns", "exec", name, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        run("ip", "-n", name, "link", "set", device, "up")
    run("ip", "-n", PEER, "link", "set", "lo", "up")
    run("ip", "-n", PEER, "addr", "add", "192.0.2.1/24", "dev", "peer0")
    run("ip", "-n", PEER, "addr", "add", "2001:db8:57::1/64", "dev", "peer0", "nodad")
    relay = subprocess.Popen(["ip", "netns", "exec", home, h.binary("ww-relay"), "--a", "packet:mid0", "--b", "packet:ww0", "--ab",
                              IMPAIRED, "--ba", IMPAIRED, "--seed", os.environ.get("RELAY_SEED", "1")], stdin=subprocess.DEVNULL,
                             stdout=open(f"{h.state}/relay.log", "w"), stderr=subprocess.STDOUT)
    house.wait_for(lambda: "ww-relay ready" in open(f"{h.state}/relay.log").read(), "the relay is ready")
    enter(PEER)


def one_connection(chance):
    """Wraps and unwraps over one connection, and ends it in one of three ways."""
    c = client.Connection(h, tls=chance.choice(["1.2", "1.3"]), address=chance.choice([h.address, h.address6]),
                          receive_buffer=chance.choice([None, None, 2304]))
    counted["connections"] += 1
    try:
        for _ in range(chance.randrange(1, 30)):
            data = chance.randbytes(chance.randrange(chance.choice([64, 3000, 60000])))
            if c.unwrapped(c.wrapped(data, b"soak"), b"soak") != data:
                wrong.append("another plaintext came back")
            counted["wraps"] += 1
            if chance.randrange(50) == 0:
                time.sleep(chance.random() * 3)
        how = chance.randrange(3)
        if how == 0:  # in the middle of a request
            c.send(client.request(h, f"{h.key}:wrap", client.wrap_body(b"never answered"))[:chance.randrange(1, 300)])
        if how == 1:
            with contextlib.suppress(OSError):
                c.socket.unwrap()
        counted["ended"] += 1
    finally:
        c.close()


def come_and_go(number, until):
    chance = random.Random(number)
    while time.monotonic() < until and not wrong:
        try:
            one_connection(chance)
        except (OSError, client.Closed):  # a deadline of either end, after many losses in a row
            counted["broken"] += 1
        except Exception as why:  # whatever it is, it is the outcome
            wrong.append(repr(why))


def nothing_held():
    """No connection; those whose last segments were lost are given up in the end."""
    g = h.gauges()
    return all(g[name] == 0 for name in ("tcp_half_open", "tcp_conns", "tcp_recv_buffers", "tcp_send_buffers", "conns", "tls_conns",
                                         "small_buffers", "large_buffers", "tx_waiting", "frag_datagrams"))


@tap.case
def d19_connections_come_and_go_through_losses_and_no_byte_is_wrong():
    put_relay_between()
    until = time.monotonic() + chosen.seconds
    threads = [threading.Thread(target=come_and_go, args=(n, until), daemon=True) for n in range(THREADS)]
    for t in threads:
        t.start()
    while time.monotonic() < until and not wrong:
        time.sleep(min(60, max(0, until - time.monotonic())))
        print(f"# {counted} {h.gauges()}", flush=True)
    for t in threads:
        t.join(120)
    tap.equal(wrong, [])
    tap.check(not any(t.is_alive() for t in threads), "a client hangs")
    tap.check(counted["wraps"] > 0 and counted["broken"] * 20 < counted["connections"], f"{counted}")


@tap.case
def d19_when_all_have_gone_nothing_is_held():
    house.wait_for(nothing_held, "nothing is held")
    print(f"# {h.gauges()}")


@tap.case
def the_relay_did_what_it_was_asked_for():
    relay.send_signal(signal.SIGTERM)
    tap.equal(relay.wait(30), 0)
    did = json.loads(re.search(r"^\{.*\}$", open(f"{h.state}/relay.log").read(), re.M)[0])
    print(f"# {did}")
    for direction in ("ab", "ba"):
        tap.check(did[direction]["lost"] > 0, f"{did}")


@tap.case
def d19_the_sanitizers_had_nothing_to_say_and_every_frame_was_given_back():
    print(f"# { {name: n for name, n in h.counters().items() if n} }")
    h.stop()


def down():
    if relay is not None and relay.poll() is None:
        relay.kill()
    house.setns(h.home)
    subprocess.run(["ip", "netns", "del", PEER], stderr=subprocess.DEVNULL)
    h.down()


if __name__ == "__main__":
    tap.run(before=h.up, after=down)
