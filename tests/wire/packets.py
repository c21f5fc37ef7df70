"""Frames as bytes and back, and capture files: what the oracle reads and the scripted endpoint sends.

Written here once more and without a library, so that a mistake in dataplane/net meets a stranger; every field can be set to what no
sane host would send.
"""
import socket
import struct

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
IP4, ARP, IP6 = 0x0800, 0x0806, 0x86DD


def total(data):
    """The ones' complement sum: 2^16 is 1 modulo 2^16 - 1."""
    return int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 65535


def checksum(data):
    return 65535 - total(data)


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def mac_text(data):
    return data.hex(":")


def ip_bytes(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def ip_text(data):
    return socket.inet_ntop(socket.AF_INET6 if len(data) == 16 else socket.AF_INET, data)


# ---- writing ----

def ethernet(dst, src, ethertype, payload):
    return mac_bytes(dst) + mac_bytes(src) + struct.pack("!H", ethertype) + payload


def ip4(src, dst, proto, payload, ttl=64, ident=0, bits=2, offset=0, tos=0, options=b"", version=4, length=None, check=None, words=None):
    words = 5 + len(options) // 4 if words is None else words
    length = 20 + len(options) + len(payload) if length is None else length
    head = struct.pack("!BBHHHBBH", version << 4 | words, tos, length, ident, bits << 13 | offset, ttl, proto, 0)
    head += ip_bytes(src) + ip_bytes(dst) + options
    check = checksum(head) if check is None else check
    return head[:10] + struct.pack("!H", check) + head[12:] + payload


def ip6(src, dst, proto, payload, hops=64, label=0, traffic_class=0, version=6, length=None):
    length = len(payload) if length is None else length
    return struct.pack("!IHBB", version << 28 | traffic_class << 20 | label, length, proto, hops) + ip_bytes(src) + ip_bytes(dst) + payload


def pseudo(src, dst, proto, length):
    return ip_bytes(src) + ip_bytes(dst) + struct.pack("!II", length, proto)


def with_checksum(src, dst, proto, data, at):
    return data[:at] + struct.pack("!H", checksum(pseudo(src, dst, proto, len(data)) + data)) + data[at + 2:]


def tcp(src, dst, sport, dport, seq, ack, flags, window=65535, options=b"", data=b"", urgent=0, words=None, check=None, reserved=0):
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if words is None else words
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, words << 4 | reserved, flags, window, 0, urgent)
    segment = with_checksum(src, dst, TCP, head + options + data, 16)
    return segment if check is None else segment[:16] + struct.pack("!H", check) + segment[18:]


def icmp4(kind, code, rest):
    data = struct.pack("!BBH", kind, code, 0) + rest
    return data[:2] + struct.pack("!H", checksum(data)) + data[4:]


def icmp6(src, dst, kind, code, rest):
    return with_checksum(src, dst, ICMP6, struct.pack("!BBH", kind, code, 0) + rest, 2)


def arp(operation, sender_mac, sender, target_mac, target):
    return (struct.pack("!HHBBH", 1, IP4, 6, 4, operation) + mac_bytes(sender_mac) + ip_bytes(sender) + mac_bytes(target_mac) +
            ip_bytes(target))


def option(kind, body=b""):
    return bytes([kind, 2 + len(body)]) + body


def options(mss=None, scale=None, ts=None, sack_ok=False, sack=()):
    out = b""
    if mss is not None:
        out += option(2, struct.pack("!H", mss))
    if sack_ok:
        out += option(4)
    if scale is not None:
        out += option(3, bytes([scale]))
    if ts is not None:
        out += option(8, struct.pack("!II", *(v & 0xFFFFFFFF for v in ts)))
    if sack:
        out += option(5, b"".join(struct.pack("!II", a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in sack))
    return out + b"\1" * (-len(out) % 4)


# ---- reading ----

class Packet:
    """A frame, taken apart as far as it can be; `wrong` says what is malformed, and ends the taking apart."""

    def __init__(self, frame, at=0.0, number=0):
        self.frame, self.at, self.number = frame, at, number
        self.version = self.proto = self.src = self.dst = self.tcp = self.icmp = self.wrong = None
        self.upper = b""
        self.fragment = False
        self.eth_dst, self.eth_src = mac_text(frame[:6]), mac_text(frame[6:12])
        self.type = struct.unpack_from("!H", frame, 12)[0] if len(frame) >= 14 else 0
        if self.type == IP4:
            self.read_ip4(frame[14:])
        elif self.type == IP6:
            self.read_ip6(frame[14:])

    def read_ip4(self, p):
        if len(p) < 20 or p[0] >> 4 != 4 or (p[0] & 15) < 5 or len(p) < (p[0] & 15) * 4:
            self.wrong = "no IPv4 header"
            return
        head = (p[0] & 15) * 4
        length, self.ident, fragment = struct.unpack_from("!HHH", p, 2)
        if not head <= length <= len(p):
            self.wrong = "IPv4 total length"
            return
        self.version, self.proto, self.hops = 4, p[9], p[8]
        self.df, self.fragment, self.label = bool(fragment & 0x4000), bool(fragment & 0x3FFF), 0
        self.src, self.dst = ip_text(p[12:16]), ip_text(p[16:20])
        self.head_ok = total(p[:head]) == 0
        self.read_upper(p[head:length], p[12:20])

    def read_ip6(self, p):
        if len(p) < 40 or p[0] >> 4 != 6:
            self.wrong = "no IPv6 header"
            return
        word, length, self.proto, self.hops = struct.unpack_from("!IHBB", p)
        if 40 + length > len(p):
            self.wrong = "IPv6 payload length"
            return
        self.version, self.label, self.head_ok, self.df, self.ident = 6, word & 0xFFFFF, True, True, 0
        self.src, self.dst = ip_text(p[8:24]), ip_text(p[24:40])
        upper = p[40:40 + length]
        while self.proto in (0, 60) and len(upper) >= 8:  # hop-by-hop and destination options
            self.proto, upper = upper[0], upper[8 + upper[1] * 8:]
        self.fragment = self.proto == 44
        self.read_upper(upper, p[8:40])

    def read_upper(self, upper, addresses):
        self.upper = upper
        self.upper_ok = True
        if self.fragment:
            return
        if self.proto in (TCP, ICMP6):
            self.upper_ok = total(addresses + struct.pack("!II", len(upper), self.proto) + upper) == 0
        elif self.proto == ICMP:
            self.upper_ok = total(upper) == 0
        if self.proto == TCP:
            self.read_tcp(upper)
        elif self.proto in (ICMP, ICMP6) and len(upper) >= 4:
            self.icmp = (upper[0], upper[1])

    def read_tcp(self, u):
        if len(u) < 20 or not 20 <= (u[12] >> 4) * 4 <= len(u):
            self.wrong = "TCP data offset"
            return
        t = Segment()
        t.sport, t.dport, t.seq, t.ack, t.words, t.flags, t.window = struct.unpack_from("!HHIIBBH", u)
        t.urgent = struct.unpack_from("!H", u, 18)[0]
        head = (t.words >> 4) * 4
        t.data, t.options_len = u[head:], head - 20
        t.length = len(t.data) + bool(t.flags & SYN) + bool(t.flags & FIN)
        if not t.read_options(u[20:head]):
            self.wrong = "TCP option length"
            return
        self.tcp = t

    @property
    def sound(self):
        return self.wrong is None and (self.version is None or self.head_ok and self.upper_ok)

    def __str__(self):
        if self.tcp:
            return f"{self.src}.{self.tcp.sport} > {self.dst}.{self.tcp.dport} {self.tcp}"
        return f"{self.src or self.eth_src} > {self.dst or self.eth_dst} type {self.type:04x} proto {self.proto} {self.icmp or ''}"


class Segment:
    mss = scale = ts = None
    sack_ok = False
    sack = ()

    def read_options(self, o):
        at = 0
        while at < len(o) and o[at] != 0:
            if o[at] == 1:
                at += 1
                continue
            if at + 2 > len(o) or o[at + 1] < 2 or at + o[at + 1] > len(o):
                return False
            self.take(o[at], o[at + 2:at + o[at + 1]])
            at += o[at + 1]
        return True

    def take(self, kind, body):
        if kind == 2 and len(body) == 2:
            self.mss = struct.unpack("!H", body)[0]
        elif kind == 3 and len(body) == 1:
            self.scale = body[0]
        elif kind == 4:
            self.sack_ok = True
        elif kind == 5:
            self.sack = tuple(struct.unpack_from("!II", body, i) for i in range(0, len(body) - 7, 8))
        elif kind == 8 and len(body) == 8:
            self.ts = struct.unpack("!II", body)

    def __str__(self):
        names = "".join(n for bit, n in zip((SYN, FIN, RST, PSH, ACK, URG), "SFRPAU") if self.flags & bit)
        return f"{names} seq {self.seq} ack {self.ack} win {self.window} len {len(self.data)} ts {self.ts} sack {self.sack}"


# ---- capture files (libpcap savefile, draft-ietf-opsawg-pcap) ----

def pcap_read(path):
    """Each frame of an Ethernet capture as a Packet; a file cut off in its last frame ends before it."""
    with open(path, "rb") as f:
        head = f.read(24)
        order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}.get(head[:4])
        if order is None or len(head) < 24 or struct.unpack(f"{order}I", head[20:24])[0] & 0xFFFF != 1:
            raise ValueError(f"{path} is no Ethernet capture")
        fine = 1e-9 if b"\x3c" in head[1:3] else 1e-6
        number = 0
        while len(record := f.read(16)) == 16:
            seconds, part, length, whole = struct.unpack(f"{order}IIII", record)
            frame = f.read(length)
            if len(frame) < length:
                return
            if length < whole:
                raise ValueError(f"{path} holds frames that were cut short")
            number += 1
            yield Packet(frame, seconds + part * fine, number)


def pcap_write(path, frames, step=0.001):
    """Frames a millisecond apart."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i, frame in enumerate(frames):
            at = i * step
            f.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(frame), len(frame)) + frame)
