"""A peer that is nothing but a script: "send this, expect that within a bound, else fail", on AF_PACKET in a namespace whose kernel
has no address and says nothing.  CASES.md tells how a case is written.

Numbers count bytes: 0 is the first byte of either stream, whatever the initial sequence numbers are.  What is expected is the next
segment of that connection; questions for the peer's MAC are answered on the side.  That nothing comes is shown by two pings which are
answered while nothing came, not by a clock.  Timers of ours run while the script does not: what ours says a second time is passed
over where it is not what is expected, and what must be said before a timer can fire is asked for again when the script was too slow
(in_time).
"""
import itertools
import random
import select
import socket
import struct
import time

import packets
import rig
import tap
from packets import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP

PEER_MAC = "02:00:00:00:00:99"
BOUND = 60  # seconds; what has not come by then never comes
PING = struct.pack("!H", 0x5757)
TIMER = 0.15  # seconds; no retransmission of ours comes before (dataplane/net/tcp.h, TCP_RTO_MIN_US)
TRIES = 40


class TooSlow(Exception):
    """Timers of ours may have fired: what came shows nothing."""

NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"))


def names(flags):
    return "+".join(n for bit, n in NAMES if flags & bit) or "no flag"


class Endpoint:
    """The peer's end of the wire, in one family."""

    ports = itertools.count(20000)

    def __init__(self, wire, version):
        self.version, self.mac = version, PEER_MAC
        self.ours, self.peer = (rig.OURS4, rig.PEER4) if version == 4 else (rig.OURS6, rig.PEER6)
        self.ours_mac, self.deaf = wire.mac, False
        self.pings, self.connections, self.waiting = random.randrange(65536), [], []
        self.began = time.monotonic()
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((rig.TAP, 3))  # ETH_P_ALL

    # ---- frames ----

    def frame(self, payload, ethertype=None, to=None, source=None):
        """Any Ethernet frame to ours."""
        ethertype = ethertype or (packets.IP4 if self.version == 4 else packets.IP6)
        self.socket.send(packets.ethernet(to or self.ours_mac, source or self.mac, ethertype, payload))

    def ip(self, proto, payload, src=None, dst=None, to=None, **fields):
        """Any packet to ours: fields as in packets.ip4 or packets.ip6."""
        make = packets.ip4 if self.version == 4 else packets.ip6
        self.frame(make(src or self.peer, dst or self.ours, proto, payload, **fields), to=to)

    def icmp(self, kind4, kind6, rest, **how):
        """An ICMP message; each kind: (type, code)."""
        if self.version == 4:
            self.ip(ICMP, packets.icmp4(*kind4, rest), **how)
        else:
            self.ip(ICMP6, packets.icmp6(how.get("src") or self.peer, how.get("dst") or self.ours, *kind6, rest), **how)

    def next(self, wanted, until):
        """The next frame of ours for which wanted(packet) holds, of those kept back first; None once it is `until`."""
        for i, p in enumerate(self.waiting):
            if wanted(p):
                return self.waiting.pop(i)
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return None
            p = packets.Packet(self.socket.recv(65536), time.monotonic())
            if p.eth_src != self.ours_mac or self.answered(p):
                continue
            if wanted(p):
                return p
            if not self.is_pong(p):
                self.waiting.append(p)
        return None

    def expect(self, wanted, what, within=BOUND):
        p = self.next(wanted, time.monotonic() + within)
        if p is None:
            raise AssertionError(f"{what}: nothing within {within} s; others: {[str(w) for w in self.waiting[-5:]]}")
        tap.check(p.sound, f"{what}: malformed or a wrong checksum: {p}")
        return p

    # ---- the link ----

    def answered(self, p):
        """Whether it was a question for the peer's MAC, which now has its answer."""
        if self.deaf:
            return False
        if p.type == packets.ARP and p.frame[20:22] == b"\0\1" and p.frame[38:42] == packets.ip_bytes(rig.PEER4):
            self.frame(packets.arp(2, self.mac, rig.PEER4, self.ours_mac, packets.ip_text(p.frame[28:32])), packets.ARP)
            return True
        if p.version == 6 and p.icmp == (135, 0) and p.upper[8:24] == packets.ip_bytes(rig.PEER6):
            body = struct.pack("!I", 0x60000000) + p.upper[8:24] + b"\2\1" + packets.mac_bytes(self.mac)
            message = packets.icmp6(rig.PEER6, p.src, 136, 0, body)
            self.frame(packets.ip6(rig.PEER6, p.src, ICMP6, message, hops=255), packets.IP6)
            return True
        return False

    def is_pong(self, p, mark=PING):
        return p.icmp == ((0, 0) if self.version == 4 else (129, 0)) and p.upper[4:].startswith(mark)

    def ping(self):
        """Asks until there is an answer: ours has dealt with everything before.  It answers only so many a second."""
        self.pings = (self.pings + 1) % 65536
        mark = PING + struct.pack("!H", self.pings)
        until = time.monotonic() + BOUND
        while time.monotonic() < until:
            self.icmp((8, 0), (128, 0), mark + b"are you there")
            if self.next(lambda p: self.is_pong(p, mark), time.monotonic() + 1):
                return
        raise AssertionError(f"no echo reply within {BOUND} s; others: {[str(w) for w in self.waiting[-5:]]}")

    def in_time(self):
        """What came so far came before any timer of ours could fire; otherwise the case begins anew."""
        if time.monotonic() - self.began > TIMER:
            raise TooSlow

    def settled(self):
        """Ours has dealt with everything before, and what it says at once about it has been said."""
        self.ping()
        self.ping()

    def silence(self, wanted=None):
        """Ours says nothing like that about what came before; without a word: nothing to any port of this script."""
        ports = {c.sport for c in self.connections}
        wanted = wanted or (lambda p: p.tcp is not None and p.tcp.dport in ports)
        self.settled()
        p = self.next(wanted, time.monotonic())
        tap.check(p is None, f"silence was expected, this came: {p}")

    # ---- connections ----

    def connection(self, port, **how):
        c = Connection(self, next(Endpoint.ports), port, **how)
        self.connections.append(c)
        return c

    def established(self, port=7, **how):
        """A connection after its handshake."""
        c = self.connection(port, **how)
        c.syn()
        c.expect(SYN | ACK)
        self.began = time.monotonic()
        c.send(ACK)
        return c

    def end(self):
        """Whatever is still open is reset; the script's next case begins on a quiet wire."""
        for c in self.connections:
            c.reset_quietly()
        self.ping()
        self.socket.close()


class Connection:
    def __init__(self, endpoint, sport, dport, iss=None, mss=1400, scale=None, ts=False, sack_ok=False, window=65535):
        self.endpoint, self.sport, self.dport = endpoint, sport, dport
        self.iss = random.randrange(1 << 32) if iss is None else iss
        self.irs = None  # of ours, from its SYN-ACK on
        self.offered = {"mss": mss, "scale": scale, "sack_ok": sack_ok}
        self.offer_ts, self.ts, self.clock, self.echo = ts, False, 1000, 0
        self.window = window
        self.sent = 0    # end of what the script sent
        self.taken = 0   # most of it that ours acknowledged
        self.heard = 0   # end of what ours sent without a gap: acknowledged by default
        self.said = None  # end of the most that ours sent

    def syn(self, flags=SYN, **how):
        options = packets.options(ts=(self.tick(), 0) if self.offer_ts else None, **self.offered)
        self.send(flags, at=-1, ack=None, options=how.pop("options", options), **how)

    def tick(self):
        self.clock += 1
        return self.clock

    def segment(self, flags, data=b"", at=None, ack=0, window=None, options=None, **fields):
        """The bytes of a segment; at, ack: numbers of the streams."""
        at = self.sent if at is None else at
        if options is None:
            options = packets.options(ts=(self.tick(), self.echo)) if self.ts else b""
        acknowledged = 0 if ack is None or self.irs is None or not flags & ACK else self.irs + 1 + ack
        e = self.endpoint
        return packets.tcp(e.peer, e.ours, self.sport, self.dport, self.iss + 1 + at, fields.pop("raw_ack", acknowledged), flags,
                           self.window if window is None else window, options, data, **fields)

    def send(self, flags, data=b"", at=None, ack="heard", ip=None, **fields):
        """at: where in the script's stream (default: behind what was sent); ack: what of ours is acknowledged (default: what was
        heard); options, window, check, words, reserved, urgent: as in packets.tcp; ip: fields of the IP header."""
        self.endpoint.ip(TCP, self.segment(flags, data, at, self.heard if ack == "heard" else ack, **fields), **(ip or {}))
        if at is None:
            self.sent += len(data) + bool(flags & FIN)

    def mine(self, p):
        return p.tcp is not None and (p.tcp.sport, p.tcp.dport, p.src, p.dst) == (self.dport, self.sport, self.endpoint.ours, self.endpoint.peer)

    def at(self, t):
        """Where in our stream a segment lies."""
        return distance(t.seq - self.irs - 1)

    def acked(self, t):
        return distance(t.ack - self.iss - 1)

    def next(self, what, within=BOUND):
        return self.note(self.endpoint.expect(self.mine, what, within).tcp)

    def note(self, t):
        if self.irs is not None and t.length and not t.flags & RST:
            self.said = max(self.said or 0, self.at(t) + t.length)
        if t.flags & ACK:
            self.taken = max(self.taken, self.acked(t))
        if t.ts:
            self.echo = t.ts[0]
        return t

    def expect(self, flags, at=None, ack=None, data=None, length=None, within=BOUND):
        """The next segment of ours on this connection: those flags (PSH aside), and what else is named; its Segment.  A repetition that
        is not that is passed over."""
        until = time.monotonic() + within
        while True:
            t = self.endpoint.expect(self.mine, names(flags), max(0, until - time.monotonic())).tcp
            again = self.is_again(t)
            if t.flags & SYN and t.flags & ACK and flags & SYN and self.irs is None:
                self.irs, self.ts = t.seq, self.offer_ts and t.ts is not None
            self.note(t)
            wrong = [f"{what} of {t}: got {got!r}, wanted {wanted!r}" for got, wanted, what in (
                (names(t.flags & ~PSH), names(flags & ~PSH), "flags"), (self.irs is not None and self.at(t), at, "at"),
                (self.acked(t), ack, "ack"), (t.data, data, "data"), (len(t.data), length, "length")) if wanted is not None and got != wanted]
            if not wrong or not again:
                break
        tap.check(not wrong, "; ".join(wrong))
        if self.irs is not None and not t.flags & RST and self.at(t) <= self.heard:
            self.heard = max(self.heard, self.at(t) + len(t.data) + bool(t.flags & FIN))
        return t

    def is_again(self, t):
        """Whether all of it was sent before."""
        return self.said is not None and t.length > 0 and not t.flags & RST and self.at(t) + t.length <= self.said

    def take(self, end):
        """Our stream up to there, acknowledged segment by segment; a FIN counts."""
        while self.heard < end:
            t = self.next("our stream")
            tap.check(not t.flags & (SYN | RST) or self.is_again(t), f"data was expected, not {t}")
            if self.at(t) <= self.heard:
                self.heard = max(self.heard, self.at(t) + t.length)
            self.send(ACK, ack=min(self.heard, end))

    def expect_data(self, data, at=None):
        """Those bytes of our stream next, in whatever segments; pure acknowledgements among them are passed over."""
        got, start = b"", self.heard if at is None else at
        while len(got) < len(data):
            t = self.next("data")
            tap.check(not t.flags & (SYN | RST) or self.is_again(t), f"data was expected, not {t}")
            if t.data and self.at(t) == start + len(got):
                got += t.data
                self.heard = max(self.heard, self.at(t) + len(t.data) + bool(t.flags & FIN))
        tap.equal(got, data, "our stream")

    def drain(self):
        """Everything that ours has said so far about this connection."""
        self.endpoint.settled()
        got = []
        while (p := self.endpoint.next(self.mine, time.monotonic())) is not None:
            got.append(self.note(p.tcp))
        return got

    def silence(self):
        """Nothing comes but what came before."""
        self.endpoint.silence(lambda p: self.mine(p) and not self.is_again(p.tcp))

    def lives(self):
        """Still the connection that it was: what is written next is echoed."""
        self.drain()
        mark = b"still %d here" % self.sent
        self.send(ACK | PSH, mark)
        self.expect_data(mark)
        self.send(ACK)

    def is_gone(self):
        """Ours knows it no more: a segment gets a RST at the number that it acknowledges."""
        self.drain()
        self.send(ACK)
        t = self.expect(RST)
        tap.equal(self.at(t), self.heard, "number of the RST")

    def reset_quietly(self):
        """At every number that can be the next."""
        if self.irs is None:
            return
        self.drain()
        for at in {self.taken, self.sent, self.sent + 1}:
            self.send(RST, at=at, options=b"")


def distance(number):
    """A difference of sequence numbers, with its sign."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)
