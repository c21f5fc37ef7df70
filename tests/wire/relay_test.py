#!/usr/bin/python3
"""relay_test.py: ww-relay does what it says, with plain kernels on both sides.

Numbered datagrams go through it; which of them arrive, how often and in which order must be what its trace tells.
"""
import json
import os
import re
import socket
import struct
import subprocess
import time

import rig
import tap
from relaying import Relay

PORT = 4000
SIZE = 400
SYN_LENGTH = 74  # of Linux over IPv4: Ethernet, IP, TCP and 20 bytes of options
KERNEL = "packet:kernel0"

wire = rig.Wire()
kernel = None


def relay(**how):
    return Relay(wire, ours=KERNEL, **how)


class Datagrams:
    """Numbers sent from the peer to the other kernel; one socket for each family."""

    def __init__(self, family=socket.AF_INET):
        with wire.inside(kernel):
            self.to = socket.socket(family, socket.SOCK_DGRAM)
        self.to.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self.to.bind(("::" if family == socket.AF_INET6 else "", PORT))
        self.to.settimeout(rig.BOUND)
        self.address = (rig.OURS6 if family == socket.AF_INET6 else rig.OURS4, PORT)
        self.sender = socket.socket(family, socket.SOCK_DGRAM)

    def through(self, r, count):
        """Sends 1..count; what arrived of it, in that order."""
        for n in range(1, count + 1):
            self.sender.sendto(struct.pack("!I", n) * (SIZE // 4), self.address)
            if n % 50 == 0:
                time.sleep(0.001)
        rig.wait_for(lambda: len(r.decisions()) >= count, "the relay has seen everything")
        whole = [d for d in r.decisions() if d["lose"] == "" and d["cut"] == 0 and d["flip"] == 0]
        return self.arrived(len(whole) + sum(d["twice"] for d in whole))

    def arrived(self, least):
        """So many, and what comes within a moment after them."""
        got = []
        while True:
            self.to.settimeout(rig.BOUND if len(got) < least else 0.3)
            try:
                data = self.to.recv(65536)
            except TimeoutError:
                return got
            numbers = set(struct.unpack(f"!{len(data) // 4}I", data))
            tap.check(len(data) == SIZE and len(numbers) == 1, "a datagram arrived damaged")
            got.append(numbers.pop())

    def close(self):
        self.to.close()
        self.sender.close()


def through(count, family=socket.AF_INET, **how):
    """(what arrived, what was decided of each) of that many datagrams; the neighbours know each other before."""
    with relay(**how) as r:
        d = Datagrams(family)
        try:
            got = d.through(r, count)
        finally:
            d.close()
        did = r.stop()["to_us"]
    decisions = r.decisions()
    tap.equal(len(decisions), count, "counted frames")
    tap.equal((did["missed"], did["unsent"], did["no_room"]), (0, 0, 0), "losses that are in no trace")
    return got, decisions


def numbers(decisions, condition):
    return [d["n"] for d in decisions if condition(d)]


@tap.case
def unimpaired_it_carries_everything_in_order():
    got, _ = through(500, to_us="only=udp")
    tap.equal(got, list(range(1, 501)))


@tap.case
def unimpaired_it_carries_everything_in_order_over_ipv6():
    got, _ = through(500, socket.AF_INET6, to_us="only=udp")
    tap.equal(got, list(range(1, 501)))


@tap.case
def what_it_loses_is_what_its_trace_says():
    got, decisions = through(2000, to_us="only=udp,loss=10")
    tap.equal(got, numbers(decisions, lambda d: d["lose"] == ""))
    tap.check(100 < 2000 - len(got) < 300, f"{2000 - len(got)} of 2000 lost for 10 %")


@tap.case
def frames_listed_by_number_are_lost_and_no_others():
    got, _ = through(20, to_us="only=udp,drop=3/17/4")
    tap.equal(got, [n for n in range(1, 21) if n not in (3, 4, 17)])


@tap.case
def burst_takes_as_many_in_a_row_as_it_is_told():
    got, decisions = through(2000, to_us="only=udp,burst=0.5,burst_len=7")
    lost = numbers(decisions, lambda d: d["lose"] == "burst")
    tap.equal(got, sorted(set(range(1, 2001)) - set(lost)))
    runs = [len(r) for r in re.findall("1+", "".join("01"[n in set(lost)] for n in range(1, 2001)))]
    tap.check(runs and all(length % 7 == 0 for length in runs[:-1]), f"lost in a row: {runs}")


@tap.case
def what_it_repeats_arrives_twice():
    got, decisions = through(1000, to_us="only=udp,dup=5")
    tap.equal(got, sorted(numbers(decisions, lambda d: True) + numbers(decisions, lambda d: d["twice"])))


@tap.case
def late_frames_are_overtaken_and_none_is_lost():
    got, decisions = through(2000, to_us="only=udp,reorder=2,reorder_us=20000")
    tap.equal(sorted(got), list(range(1, 2001)))
    tap.check(got != sorted(got), "all came in order")
    late = set(numbers(decisions, lambda d: d["late_us"] > 0))
    tap.equal([n for n in got if n not in late], [n for n in range(1, 2001) if n not in late], "those that were not late")


@tap.case
def spike_holds_everything_back_in_order():
    began = time.monotonic()
    got, decisions = through(300, to_us="only=udp,spike=1,spike_us=400000")
    tap.equal(got, list(range(1, 301)))
    tap.check(numbers(decisions, lambda d: d["stall_us"] == 400000) and time.monotonic() - began > 0.4, "nothing waited")


@tap.case
def delay_is_at_least_what_was_asked_for():
    with relay(to_us="only=icmp,delay_us=30000", from_us="only=icmp,delay_us=20000"):
        said = rig.run("ping", "-n", "-q", "-c", "3", "-i", "0.1", rig.OURS4)
    least = float(re.search(r"= ([0-9.]+)/", said)[1])
    tap.check(least >= 50, said)


@tap.case
def corrupted_datagrams_are_those_that_the_kernel_refuses():
    got, decisions = through(2000, to_us="only=udp,corrupt=5")
    tap.equal(got, numbers(decisions, lambda d: d["flip"] == 0))


@tap.case
def corrupted_datagrams_are_refused_over_ipv6():
    """But for flow label, traffic class and hop limit, which nothing protects and nobody reads."""
    got, decisions = through(2000, socket.AF_INET6, to_us="only=udp,corrupt=5")
    tap.equal(got, numbers(decisions, lambda d: d["flip"] == 0 or d["flip_at"] in (15, 16, 17, 21) or unread(d)))


def unread(d):
    """The first byte of an IPv6 header is half version, half traffic class."""
    return d["flip_at"] == 14 and d["flip"] < 16


@tap.case
def truncated_datagrams_are_those_that_the_kernel_refuses():
    got, decisions = through(1000, to_us="only=udp,truncate=5")
    tap.equal(got, numbers(decisions, lambda d: d["cut"] == 0))


@tap.case
def all_at_once_is_still_what_the_trace_says():
    got, decisions = through(2000, to_us="only=udp,loss=3,dup=3,reorder=3,corrupt=3,truncate=2,burst=0.2,delay_us=1000")
    whole = [d for d in decisions if d["lose"] == "" and d["flip"] == 0 and d["cut"] == 0]
    tap.equal(sorted(got), sorted([d["n"] for d in whole] + [d["n"] for d in whole if d["twice"]]))


@tap.case
def one_direction_is_impaired_and_the_other_is_not():
    with relay(to_us="only=udp", from_us="only=udp,loss=50") as r:
        d = Datagrams()
        got = d.through(r, 300)
        for _ in range(40):
            d.to.sendto(b"x" * SIZE, (rig.PEER4, d.sender.getsockname()[1]))
        d.close()
        rig.wait_for(lambda: len(r.decisions("from_us")) >= 40, "the relay has seen everything")
        did = r.stop()
    tap.equal(got, list(range(1, 301)))
    tap.check(did["from_us"]["lost"] > 0 and did["to_us"]["lost"] == 0, f"{did}")


def fates(decisions):
    return [{k: v for k, v in d.items() if k not in ("us", "dir")} for d in decisions]


EVERYTHING = "only=udp,loss=3,dup=3,reorder=3,corrupt=3,truncate=2,burst=0.5"


@tap.case
def same_seed_decides_the_same():
    first, again, other = (through(500, to_us=EVERYTHING, seed=seed)[1] for seed in (7, 7, 8))
    tap.equal(fates(first), fates(again))
    tap.check(fates(first) != fates(other), "another seed decides the same")


@tap.case
def trace_is_replayed_decision_by_decision():
    with relay(to_us=EVERYTHING, seed=9) as r:
        d = Datagrams()
        before = d.through(r, 500)
        r.stop()
        with relay(replay=r.trace_file) as again:
            after = d.through(again, 500)
            again.stop()
        d.close()
    tap.equal(fates(again.decisions()), fates(r.decisions()))
    tap.equal(sorted(after), sorted(before))


@tap.case
def trace_with_a_line_taken_out_is_replayed_without_that_loss():
    """How a failure is made smaller."""
    with relay(to_us="only=udp,drop=3/5") as r:
        d = Datagrams()
        d.through(r, 10)
        r.stop()
        with open(r.trace_file, encoding="ascii") as f:
            lines = [line for line in f if '"n":3,' not in line]
        shorter = f"{wire.folder}/shorter.trace"
        with open(shorter, "w", encoding="ascii") as f:
            f.writelines(lines)
        with relay(replay=shorter) as again:
            got = d.through(again, 10)
            again.stop()
        d.close()
    tap.equal(got, [n for n in range(1, 11) if n != 5])


@tap.case
def packets_beyond_the_clamp_vanish_when_nobody_is_told():
    with relay(to_us="mtu=1300") as r:
        for address, most in ((rig.OURS4, 1272), (rig.OURS6, 1252)):
            rig.wait_for(lambda: "1 received" in ping(address, most), f"{address}: {most} bytes of payload fit")
            said = ping(address, most + 1)
            tap.check("0 received" in said and "needed" not in said and "too big" not in said, said)
        tap.equal(r.stop()["to_us"]["told"], 0, "senders told")


def ping(address, size):
    return rig.run("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", size, address, ok=None)


@tap.case
def sender_of_a_packet_beyond_the_clamp_is_told_and_believes_it():
    with relay(to_us="mtu=1300,ptb=1"):
        for address, big in ((rig.OURS4, 1400), (rig.OURS6, 1380)):
            ping(address, big)
            rig.wait_for(lambda: "mtu 1300" in rig.run("ip", "route", "get", address), f"the path to {address} is narrow")
            rig.run("ip", "-6" if ":" in address else "-4", "route", "flush", "cache")


@tap.case
def stream_of_a_kernel_finds_its_way_through_the_clamp():
    with relay(to_us="mtu=1300,ptb=1"):
        for address in (rig.OURS4, rig.OURS6):
            got = stream(address, 300000)
            tap.equal(len(got), 300000)
            rig.run("ip", "-6" if ":" in address else "-4", "route", "flush", "cache")


def stream(address, length):
    """Bytes that a kernel's TCP carries from the peer to the other one."""
    with wire.inside(kernel):
        listener = socket.create_server((address, PORT), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    with listener, socket.create_connection((address, PORT), timeout=rig.BOUND) as out:
        back, _ = listener.accept()
        with back:
            back.settimeout(rig.BOUND)
            out.settimeout(rig.BOUND)
            data, got, sent = os.urandom(length), bytearray(), 0
            while len(got) < length:
                if sent < length and sent - len(got) < 65536:
                    out.sendall(data[sent:sent + 16384])
                    sent = min(length, sent + 16384)
                got += back.recv(65536)
    tap.check(bytes(got) == data, "the stream was changed")
    return got


@tap.case
def kernels_survive_everything_at_once():
    impairments = "loss=1,dup=1,reorder=2,corrupt=1,truncate=0.5,delay_us=200"
    with relay(to_us=impairments, from_us=impairments):
        for address in (rig.OURS4, rig.OURS6):
            stream(address, 1 << 20)


@tap.case
def it_chooses_segments_by_what_is_in_them():
    with relay(to_us="only=data,drop=1") as r:
        stream(rig.OURS4, 1000)
        tap.equal(r.stop()["to_us"]["lost_by_number"], 1)
    tap.check(all(d["len"] > 66 for d in r.decisions()), "a segment without data was counted")
    with relay(to_us="only=syn,drop=1", from_us="only=fin") as r:
        stream(rig.OURS4, 1000)
        rig.wait_for(lambda: r.decisions("from_us"), "a FIN")
        did = r.stop()
    tap.check(did["to_us"]["counted"] >= 2, f"{did}")  # the SYN was sent again
    tap.equal({d["len"] for d in r.decisions()}, {SYN_LENGTH}, "frames that were counted")
    tap.check(did["from_us"]["counted"] >= 1, f"{did}")


@tap.case
def asked_for_what_never_happens_it_fails_and_says_so():
    for spec, word in (("only=udp,loss=10", "lost"), ("mtu=1300", "too_big"), ("only=udp,reorder=5", "reordered"),
                       ("only=udp,corrupt=0.0001", "corrupted"), ("only=udp,drop=1000", "lost_by_number")):
        r = relay(from_us=spec)
        ping(rig.OURS4, 56)
        status, said = r.end()
        tap.check(status == 3 and f"asked for '{word}'" in said, f"{spec}: exit {status}: {said}")


@tap.case
def wrong_usage_is_refused_by_what_is_wrong():
    for arguments, status, word in ((["--ab", "loss=200"], 2, "loss=200"), (["--ab", "gremlins=1"], 2, "gremlins=1"),
                                    (["--ab", "ptb=1"], 2, "ptb without mtu"), (["--ab", "drop=0"], 2, "drop=0"),
                                    (["--b", "packet:absent0"], 1, "absent0"), (["--b", "pigeon:1"], 1, "pigeon:1"),
                                    (["--replay", "/dev/null"], 1, "/dev/null"), (["--ab"], 2, "usage")):
        done = subprocess.run([wire.relay_program, "--a", "packet:lo", "--b", "packet:lo", *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=rig.BOUND)
        tap.check(done.returncode == status and word in done.stdout, f"{arguments}: exit {done.returncode}: {done.stdout}")


@tap.case
def idle_it_sleeps():
    with relay() as r:
        rig.wait_for(lambda: slept(r.program.pid), "a second in which it hardly wakes")  # the namespaces say something of their own at first


def slept(pid):
    before = wakings(pid)
    time.sleep(1)
    return wakings(pid) - before < 20 and state(pid) == "S"


def wakings(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


@tap.case
def trace_is_json_in_every_line():
    def entries(whole=True):
        with open(r.trace_file, encoding="ascii") as f:
            return [json.loads(line) for line in f if whole or line.endswith("\n")]

    def some(name):
        return any(line.get(name) for line in entries(whole=False))

    with relay(to_us="mtu=1300,ptb=1,only=icmp,loss=50") as r:
        rig.run("ping", "-n", "-q", "-c", "20", "-i", "0.01", "-W", "1", rig.OURS4, ok=None)
        ping(rig.OURS4, 1400)
        rig.wait_for(lambda: some("too_big") and some("lose"), "both in the trace")
        r.stop()
    rig.run("ip", "route", "flush", "cache")
    lines = entries()
    tap.equal(lines[0]["ab"], "mtu=1300,ptb=1,only=icmp,loss=50")


@tap.case
def tap_is_a_port():
    """It makes the device; the peer's kernel takes it, and is reached through it."""
    with relay(peer="tap:left0"):
        with wire.inside(wire.middle):
            rig.run("ip", "link", "set", "left0", "netns", wire.peer)
        rig.run("ip", "link", "set", "left0", "address", mac("peer0"))
        rig.run("ip", "link", "set", "peer0", "down")
        rig.address("left0", rig.PEER4, rig.PEER6)
        for address in (rig.OURS4, rig.OURS6):
            rig.wait_for(lambda: "1 received" in ping(address, 1000), f"{address} answers")


def mac(device):
    return re.search(r"link/ether (\S+)", rig.run("ip", "link", "show", device))[1]


def knows(device, mac_there, *addresses):
    """No question is asked that could be lost."""
    for address in addresses:
        rig.run("ip", "neigh", "replace", address, "lladdr", mac_there, "nud", "permanent", "dev", device)


def before():
    global kernel
    wire.make_relayed()
    kernel = wire.make_kernel()
    peers_mac = mac("peer0")
    with wire.inside(kernel):
        kernels_mac = mac("ours0")
        knows("ours0", peers_mac, rig.PEER4, rig.PEER6)
    knows("peer0", kernels_mac, rig.OURS4, rig.OURS6)


tap.run(before, wire.end)
