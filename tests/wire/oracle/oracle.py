#!/usr/bin/python3
"""oracle.py --mac MAC... [--trust-peer] [--expert] CAPTURE...: what the host with that MAC sent against the rules.

Every line printed is a violation; exit status 1 if there is one, 2 if there was nothing of that host to look at.  The capture
must hold all that the host sent, in its order; what was sent to it may have been lost behind the point of capture, but not before.
--trust-peer: the peer's checksums were left to a device, and say nothing.  --expert: tshark's opinion as well.
"""
import argparse
import bisect
import ipaddress
import os
import subprocess
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..")))
import packets
from packets import ACK, FIN, RST, SYN

MSS_FLOOR = 48  # what a peer cannot make us go below, options included (dataplane/net/tcp.h)
MSS_NOT_NAMED = {4: 536, 6: 1220}  # RFC 9293 3.7.1
WHOLE = 1 << 32


def near(seq, base, around):
    """seq as a distance from base, unwrapped to lie within 2^31 of `around`."""
    return around + (seq - base - around + WHOLE // 2) % WHOLE - WHOLE // 2


class Ranges:
    """A set of numbers as disjoint half-open ranges."""

    def __init__(self):
        self.starts, self.ends = [], []

    def add(self, start, end):
        if start >= end:
            return
        i = bisect.bisect_left(self.ends, start)
        j = bisect.bisect_right(self.starts, end)
        if i < j:
            start, end = min(start, self.starts[i]), max(end, self.ends[j - 1])
        self.starts[i:j], self.ends[i:j] = [start], [end]

    def hold(self, start, end):
        i = bisect.bisect_right(self.starts, start) - 1
        return i >= 0 and self.ends[i] >= end

    def first_end(self):
        return self.ends[0] if self.ends else 0


class Connection:
    """One incarnation: from our SYN-ACK on, or the peer's.  Numbers are distances from our ISS and from the peer's."""

    def __init__(self, version, ours, theirs, offered_ts, far):
        s, o = ours, theirs
        self.version, self.iss, self.irs = version, s.seq, o.seq
        self.syn = o
        self.mss = max(MSS_NOT_NAMED[version] if o.mss is None else o.mss, MSS_FLOOR)
        self.scaled = o.scale is not None and s.scale is not None
        self.our_shift = min(s.scale, 14) if self.scaled else 0
        self.their_shift = min(o.scale, 14) if self.scaled else 0
        self.ts = o.ts is not None and s.ts is not None
        self.sack_ok = o.sack_ok and s.sack_ok
        self.peer_ts, self.far = set(offered_ts), far
        self.sent = 0          # end of what we sent, SYN and FIN counted
        self.stream = bytearray()
        self.fin_at = None
        self.peer = Ranges()   # what the peer sent, SYN and FIN counted
        self.peer.add(0, o.length)
        self.peer_end = o.length
        self.peer_acks = set()
        self.peer_acked = 0
        self.peer_edge = None  # furthest that it allowed us to send
        self.ack = self.edge = self.tsval = self.label = None
        self.reset_by_peer = False
        self.unanswered = 0    # segments of the peer, RSTs aside, since we last said something

    # ---- what the peer says ----

    def hear(self, t):
        start = near(t.seq, self.irs, self.peer_end)
        if t.flags & RST:
            self.reset_by_peer |= start == self.ack
            return
        self.unanswered += 1
        self.peer.add(start, start + t.length)
        self.peer_end = max(self.peer_end, start + t.length)
        if t.ts:
            self.peer_ts.add(t.ts[0])
        if t.flags & ACK:
            acked = near(t.ack, self.iss, self.sent)
            self.peer_acks.add(t.ack)
            if acked > self.sent:
                return
            shift = 0 if t.flags & SYN else self.their_shift
            self.peer_edge = max(self.peer_edge or 0, acked + (t.window << shift))
            self.peer_acked = max(self.peer_acked, acked)

    # ---- what we say ----

    def judge(self, p, t):
        if t.flags & RST:
            yield from self.judge_rst(t)
            self.unanswered = max(0, self.unanswered - 1)
            return
        self.unanswered = 0
        start = near(t.seq, self.iss, self.sent)
        yield from self.judge_options(t)
        yield from self.judge_data(t, start)
        if t.flags & ACK:
            yield from self.judge_ack(t)
            yield from self.judge_sack(t)
        yield from self.judge_timestamp(t)
        if p.version == 6 and self.label is not None and p.label != self.label:
            yield "flow-label", f"{p.label:05x} after {self.label:05x}"
        self.label = p.label

    def judge_rst(self, t):
        """RFC 9293 3.5.2 and 3.10.7: never about a RST; at a number that the peer can believe, or that it named itself."""
        seq = near(t.seq, self.iss, self.sent)
        if self.reset_by_peer and self.unanswered == 0 and not self.far:
            yield "rst", "answers a RST"
        if t.data:
            yield "rst", "carries data"
        if not (self.peer_acked <= seq <= self.sent or t.seq in self.peer_acks or t.seq == 0 and t.flags & ACK):
            yield "rst", f"sequence {seq} is neither between {self.peer_acked} and {self.sent} nor one that the peer named"

    def judge_options(self, t):
        if t.flags & SYN:
            for name, have, offered in (("window scale", t.scale is not None, self.syn.scale is not None),
                                        ("timestamps", t.ts is not None, self.syn.ts is not None),
                                        ("SACK permitted", t.sack_ok, self.syn.sack_ok)):
                if have and not offered:
                    yield "syn-options", f"{name} was not offered"
            if t.mss is None:
                yield "syn-options", "no MSS"
        elif t.mss is not None or t.scale is not None or t.sack_ok:
            yield "syn-options", "an option of a SYN on another segment"

    def judge_data(self, t, start):
        length = len(t.data)
        if length + t.options_len > self.mss:
            yield "mss", f"{length} bytes and {t.options_len} of options for an MSS of {self.mss}"
        if length and self.peer_edge is not None and start + length > self.peer_edge and not (length == 1 and start <= self.peer_edge):
            yield "window", f"data up to {start + length}, allowed up to {self.peer_edge}"
        if length and self.fin_at is not None and start + length > self.fin_at:
            yield "fin", f"data up to {start + length} after the FIN at {self.fin_at}"
        if start > self.sent:
            yield "gap", f"sequence {start}, and only {self.sent} were sent before"
        if t.flags & FIN:
            if self.fin_at not in (None, start + length):
                yield "fin", f"a FIN at {start + length} after one at {self.fin_at}"
            self.fin_at = start + length
        yield from self.judge_repetition(t, start)
        self.sent = max(self.sent, start + t.length)

    def judge_repetition(self, t, start):
        at = start - 1  # the SYN is no byte of the stream
        if t.data and 0 <= at <= len(self.stream):
            before = self.stream[at:at + len(t.data)]
            if before != t.data[:len(before)]:
                yield "repetition", f"other bytes at {start} than the first time"
            self.stream += t.data[len(before):]

    def judge_ack(self, t):
        ack = near(t.ack, self.irs, self.peer_end)
        edge = ack + (t.window << (0 if t.flags & SYN else self.our_shift))
        if self.ack is not None and ack < self.ack:
            yield "ack", f"{ack} after {self.ack}"
        if ack > 0 and not self.peer.hold(0, ack):
            yield "ack", f"{ack}, and the peer sent only {self.peer.first_end()} without a gap"
        if self.edge is not None and edge <= self.edge - (1 << self.our_shift):
            yield "edge", f"the window ends at {edge} after {self.edge}"
        self.ack = max(ack, self.ack or 0)
        self.edge = max(edge, self.edge or 0)

    def judge_sack(self, t):
        """RFC 2018 4, 2883: permitted, few, of bytes that came; only the first may tell of a repetition."""
        if t.sack and not self.sack_ok:
            yield "sack", "not permitted"
        ack = near(t.ack, self.irs, self.peer_end)
        blocks = [(near(a, self.irs, self.peer_end), near(b, self.irs, self.peer_end)) for a, b in t.sack]
        for i, (a, b) in enumerate(blocks):
            if a >= b or not self.peer.hold(a, b):
                yield "sack", f"{a}-{b} was never sent like that"
            elif a < ack and i > 0:
                yield "sack", f"{a}-{b} lies below the acknowledgement {ack}"
            elif a < ack < b:
                yield "sack", f"{a}-{b} holds the acknowledgement {ack}"
        for i, (a, b) in enumerate(blocks):
            if any(a < d and c < b for c, d in blocks[max(i + 1, 1):]) and i > 0:
                yield "sack", f"{a}-{b} overlaps another block"

    def judge_timestamp(self, t):
        if (t.ts is not None) != self.ts:
            yield "timestamp", "missing though agreed" if self.ts else "not agreed"
        if t.ts is None:
            return
        if self.tsval is not None and (t.ts[0] - self.tsval) % WHOLE >= WHOLE // 2:
            yield "timestamp", f"{t.ts[0]} after {self.tsval}"
        self.tsval = t.ts[0]
        if t.flags & ACK and self.ts and t.ts[1] not in self.peer_ts:
            yield "timestamp", f"echoes {t.ts[1]}, which the peer never sent"


class Oracle:
    """Takes frames in their order; found: (rule, frame number, text) of each violation."""

    def __init__(self, macs, trust_peer=False, far=False):
        self.macs, self.trust_peer, self.far = {m.lower() for m in macs}, trust_peer, far
        self.connections, self.syns, self.our_syns, self.last = {}, {}, {}, {}
        self.found, self.looked_at, self.segments = [], 0, 0

    def take(self, p):
        if p.eth_src in self.macs:
            self.looked_at += 1
            for rule, text in self.judge(p):
                self.found.append((rule, p.number, f"{text}: {p}"))
        elif p.tcp and (p.sound or self.trust_peer):
            self.hear(p, p.tcp)

    def hear(self, p, t):
        key = (p.dst, t.dport, p.src, t.sport)
        if t.flags & SYN and not t.flags & ACK:
            self.syns.setdefault(key, {}).setdefault(t.seq, []).append(t)  # a repetition has another timestamp
        self.last.setdefault(key, []).append((t.flags, t.seq, t.ack, t.length, p.eth_dst))
        del self.last[key][:-64]
        c = self.connections.get(key)
        mine = self.our_syns.get(key)
        if t.flags & SYN and t.flags & ACK and mine and t.ack == (mine.seq + 1) % WHOLE and (c is None or c.iss != mine.seq):
            c = self.connections[key] = Connection(p.version, mine, t, [], self.far)
            c.sent = 1
        if c is not None:
            c.hear(t)

    def judge(self, p):
        if p.wrong:
            yield "malformed", p.wrong
        if p.wrong or p.version is None:
            return
        if not p.head_ok or not p.upper_ok:
            yield "checksum", "header" if not p.head_ok else "payload"
            return
        yield from judge_ip(p)
        if p.tcp:
            self.segments += 1
            yield from self.judge_tcp(p, p.tcp)

    def judge_tcp(self, p, t):
        key = (p.src, t.sport, p.dst, t.dport)
        c = self.connections.get(key)
        syns = self.syns.get(key, {}).get((t.ack - 1) % WHOLE)
        if t.flags & SYN and t.flags & ACK and syns and (c is None or (c.iss, c.irs) != (t.seq, syns[0].seq)):
            c = self.connections[key] = Connection(p.version, t, syns[0], [s.ts[0] for s in syns if s.ts], self.far)
        if t.flags & SYN and not t.flags & ACK:
            self.our_syns[key] = t
            if t.ack or t.data or t.mss is None:
                yield "syn-options", "a SYN with an acknowledgement, data or no MSS"
        elif c is not None:
            yield from c.judge(p, t)
        elif t.flags & RST:
            yield from self.judge_stray_rst(key, t)
        elif key in self.last:
            yield "stray", "neither a RST nor on a connection"

    def judge_stray_rst(self, key, t):
        """RFC 9293 3.10.7.1: the number that the peer acknowledged, or 0 and an acknowledgement of its segment."""
        for flags, seq, ack, length, _ in self.last.get(key, ()):
            if flags & RST:
                continue
            if flags & ACK and t.seq == ack or not flags & ACK and t.seq == 0 and t.ack == (seq + length) % WHOLE and t.flags & ACK:
                return
        yield "rst", "answers no segment of the peer's"


def judge_ip(p):
    address = ipaddress.ip_address(p.dst)
    if p.tcp and (address.is_multicast or p.dst == "255.255.255.255" or int(p.eth_dst[:2], 16) & 1):
        yield "group", "TCP to a group"
    if p.version == 4 and p.fragment:
        yield "ip4-id", "a fragment"
    if p.version == 4 and p.df and p.ident != 0:
        yield "ip4-id", f"{p.ident} with DF: RFC 6864 makes it 0 here"
    if p.tcp and not p.df:
        yield "ip4-id", "a segment without DF"
    if p.proto == packets.ICMP6 and p.icmp and 133 <= p.icmp[0] <= 137 and p.hops != 255:
        yield "hop-limit", f"{p.hops} on neighbour discovery"
    if p.tcp and p.hops < 64:
        yield "hop-limit", f"{p.hops}"


def judge(path, macs, trust_peer=False, far=False):
    """An Oracle that has seen the whole capture.  far: frames may reach the host later than they were captured, and in another order."""
    o = Oracle(macs, trust_peer, far)
    for p in packets.pcap_read(path):
        o.take(p)
    return o


# ---- a second opinion ----

# What tshark notices and what a lossy path, a slow machine or a shut window explains.
EXPLAINED = ("tcp.analysis.zero_window", "tcp.analysis.window_full", "tcp.analysis.window_update", "tcp.analysis.keep_alive",
             "tcp.analysis.keep_alive_ack", "tcp.analysis.zero_window_probe", "tcp.analysis.zero_window_probe_ack",
             "tcp.analysis.retransmission", "tcp.analysis.spurious_retransmission", "tcp.analysis.fast_retransmission",
             "tcp.analysis.duplicate_ack", "tcp.analysis.reused_ports", "tcp.analysis.out_of_order", "tcp.analysis.lost_segment")


def expert(path, macs, explained=()):
    """Lines of tshark's expert about frames of those MACs: malformed, wrong checksums, breaches of TCP.

    A TCP checksum of 0xffff is the other zero, which a device may write and every receiver takes; tshark would have 0 (RFC 1624).
    Whether it is right there, judge() says."""
    ours = "(" + " || ".join(f"eth.src == {m}" for m in macs) + ") && !(tcp.checksum == 0xffff)"
    wrong = ("_ws.malformed || _ws.expert.severity == error || (tcp && tcp.checksum.status != 1) || (ip && ip.checksum.status != 1) || "
             "(tcp.analysis.flags" + "".join(f" && !{name}" for name in (*EXPLAINED, *explained)) + ")")
    checks = [o for name in ("tcp", "ip") for o in ("-o", f"{name}.check_checksum:TRUE")]
    # what TCP carries here is anybody's bytes: by port number alone tshark would take some of them for SIP, others for something else
    checks += ["-d", "tcp.port==1-65535,data"]
    done = subprocess.run(["tshark", "-n", "-r", path, *checks, "-Y", f"{ours} && ({wrong})", "-T", "fields", "-e", "frame.number", "-e",
                           "_ws.expert.message"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise RuntimeError(f"tshark exited with {done.returncode}")
    return [line for line in done.stdout.splitlines() if line[:1].isdigit()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mac", action="append", required=True)
    parser.add_argument("--trust-peer", action="store_true")
    parser.add_argument("--expert", action="store_true")
    parser.add_argument("capture", nargs="+")
    chosen = parser.parse_args()
    status = 0
    for path in chosen.capture:
        o = judge(path, chosen.mac, chosen.trust_peer)
        for rule, number, text in o.found:
            print(f"{path}: frame {number}: {rule}: {text}")
        opinions = expert(path, chosen.mac) if chosen.expert else []
        for line in opinions:
            print(f"{path}: tshark: {line}")
        status = 2 if o.looked_at == 0 else max(status, bool(o.found or opinions))
    sys.exit(status)


if __name__ == "__main__":
    main()
