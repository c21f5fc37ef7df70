#!/usr/bin/env python3
"""Writes the seed inputs of the frame target (its form is told in frame_fuzz.c) into the directory given."""
import ipaddress
import os
import struct
import sys

OUR_MAC = bytes.fromhex("020000000001")
PEER_MAC = bytes.fromhex("020000000002")
US = {4: "192.0.2.1", 6: "2001:db8::1"}
PEER = {4: "192.0.2.2", 6: "2001:db8::2"}
FIX, FOLLOW = 1, 2


def packed(text):
    return ipaddress.ip_address(text).packed


def checksum(data):
    words = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def eth(kind, payload, dst=OUR_MAC):
    return dst + PEER_MAC + struct.pack("!H", kind) + payload


def ip4(proto, payload, src=PEER[4], dst=US[4], options=b"", fragment=0x4000):
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 1, fragment, 64, proto, 0)
    head += packed(src) + packed(dst) + options
    if fragment & 0x3FFF:
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return eth(0x0800, head + payload)


def ip6(proto, payload, src=PEER[6], dst=US[6], hops=64):
    mac = OUR_MAC
    if packed(dst)[0] == 0xFF:
        mac = b"\x33\x33" + packed(dst)[12:]
    head = struct.pack("!IHBB", 6 << 28, len(payload), proto, hops)
    return eth(0x86DD, head + packed(src) + packed(dst) + payload, mac)


def ip(family, proto, payload):
    return ip4(proto, payload) if family == 4 else ip6(proto, payload)


def tcp(flags, seq=1, ack=0, options=b"", data=b"", port=40000, window=8192):
    offset = (20 + len(options)) // 4 << 4
    return struct.pack("!HHIIBBHHH", port, 443, seq, ack, offset, flags, window, 0, 0) + options + data


def arp(op, sender_mac, sender, target_mac, target):
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, op)
    return eth(0x0806, head + sender_mac + packed(sender) + target_mac + packed(target), b"\xff" * 6)


def icmp(kind, rest, code=0):
    return struct.pack("!BBH", kind, code, 0) + rest


def pieces(family, proto, payload, cuts, ident=7, keep=None):
    """The fragments of a datagram, cut at the given offsets; keep: which of them, and in what order."""
    edges = [0] + cuts + [len(payload)]
    out = []
    for start, end in zip(edges, edges[1:]):
        more = end < len(payload)
        if family == 4:
            out.append(ip4(proto, payload[start:end], fragment=(0x2000 if more else 0) | start // 8))
        else:
            out.append(ip6(44, struct.pack("!BBHI", proto, 0, start | more, ident) + payload[start:end]))
    return out if keep is None else [out[i] for i in keep]


def summed(family, proto, payload, field):
    """A payload with its checksum, which the target cannot put right in a fragment."""
    pseudo = packed(PEER[family]) + packed(US[family]) + struct.pack("!II", len(payload), proto)
    total = checksum(payload if proto == 1 else pseudo + payload)
    return payload[:field] + struct.pack("!H", total) + payload[field + 2:]


def record(frame, control=FIX, wait=0):
    return bytes([control | wait << 2]) + struct.pack("!H", len(frame)) + frame


def inputs():
    """Name -> (options, records)."""
    nothing = bytes(6)
    yield "arp_request", 0, [record(arp(1, PEER_MAC, PEER[4], nothing, US[4]))]
    yield "arp_probe", 0, [record(arp(1, PEER_MAC, "0.0.0.0", nothing, US[4]))]
    yield "arp_conflict", 0, [record(arp(2, PEER_MAC, US[4], PEER_MAC, US[4]))] * 2
    yield "arp_truncated", 0, [record(arp(1, PEER_MAC, PEER[4], nothing, US[4])[:30])]
    yield "runt", 0, [record(b"\x02\x00\x00")]
    yield "vlan", 0, [record(eth(0x8100, b"\x00\x01\x08\x00"))]
    solicited = "ff02::1:ff00:1"
    target = bytes(4) + packed(US[6])
    yield "ns", 0, [record(ip6(58, icmp(135, target + b"\x01\x01" + PEER_MAC), dst=solicited, hops=255))]
    yield "ns_dad", 0, [record(ip6(58, icmp(135, target), src="::", dst=solicited, hops=255))]
    yield "ns_option_of_zero", 0, [record(ip6(58, icmp(135, target + b"\x01\x00" + PEER_MAC), dst=solicited, hops=255))]
    yield "na_conflict", 0, [record(ip6(58, icmp(136, b"\x20" + target[1:] + b"\x02\x01" + PEER_MAC), dst="ff02::1", hops=255))]
    yield "mld_query", 0, [record(ip6(58, icmp(130, b"\x03\xe8" + bytes(22)), src="fe80::2", dst="ff02::1", hops=1)),
                           record(b"", wait=12)]
    for family in (4, 6):
        both = 1 if family == 4 else 2
        echo, kind = (8, 1) if family == 4 else (128, 58)
        name = f"_ip{family}"
        yield "echo" + name, 0, [record(ip(family, kind, icmp(echo, b"\x12\x34\x00\x01" + b"data" * 9)))] * 3
        yield "udp" + name, 0, [record(ip(family, 17, b"\x04\xd2\x00\x35\x00\x08\x00\x00"))]
        quote = ip(family, 6, tcp(16))[14:]
        error = 3 if family == 4 else 1
        yield "icmp_error" + name, both, [record(ip(family, kind, icmp(error, bytes(4) + quote, 3)))]
        yield "syn" + name, 0, [record(ip(family, 6, tcp(2, 7, port=50000, options=b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + b"\x00\x00\x00\x01" + bytes(4) + b"\x01\x03\x03\x07")))]
        yield "syn_to_closed_port" + name, 0, [record(ip(family, 6, struct.pack("!HHIIBBHHH", 1, 2, 3, 0, 0x50, 2, 100, 0, 0)))]
        yield "ack_to_nobody" + name, 0, [record(ip(family, 6, tcp(16, 9, 9, port=50001)))]
        yield "data" + name, both, [record(ip(family, 6, tcp(24, 1, 0, data=b"hello")), FIX | FOLLOW),
                                    record(ip(family, 6, tcp(16, 6, 0)), FIX | FOLLOW, 3)]
        yield "out_of_order" + name, both, [record(ip(family, 6, tcp(24, 6, 0, data=b"world")), FIX | FOLLOW),
                                            record(ip(family, 6, tcp(24, 1, 0, data=b"hello")), FIX | FOLLOW),
                                            record(ip(family, 6, tcp(24, 3, 0, data=b"lloworld!")), FIX | FOLLOW)]
        yield "close" + name, both, [record(ip(family, 6, tcp(17, 1, 0)), FIX | FOLLOW),
                                     record(ip(family, 6, tcp(16, 2, 0)), FIX | FOLLOW, 4),
                                     record(b"", 0, 17)]
        yield "reset" + name, both, [record(ip(family, 6, tcp(4, 1, 0)), FIX | FOLLOW)]
        yield "reset_in_window" + name, both, [record(ip(family, 6, tcp(4, 100, 0)), FIX | FOLLOW)]
        yield "syn_on_connection" + name, both, [record(ip(family, 6, tcp(2, 100, 0)), FIX | FOLLOW)]
        yield "zero_window" + name, both, [record(ip(family, 6, tcp(24, 1, 0, data=b"x" * 1000, window=0)), FIX | FOLLOW),
                                           record(b"", 0, 12), record(b"", 0, 13),
                                           record(ip(family, 6, tcp(16, 1001, 0)), FIX | FOLLOW)]
        yield "silence" + name, both, [record(ip(family, 6, tcp(24, 1, 0, data=b"y" * 100)), FIX | FOLLOW)] + [record(b"", 0, 15)] * 8
        yield "bad_offset" + name, both, [record(ip(family, 6, tcp(24)[:12] + b"\x40" + tcp(24)[13:]), FIX)]
        yield "option_of_zero" + name, both, [record(ip(family, 6, tcp(16, options=b"\x08\x00\x01\x01")), FIX | FOLLOW)]
        yield "urgent" + name, both, [record(ip(family, 6, tcp(0x38, 1, 0, data=b"u")), FIX | FOLLOW)]
        yield "all_flags" + name, both, [record(ip(family, 6, tcp(0xFF, 1, 0, data=b"f")), FIX | FOLLOW)]
        yield "sack" + name, both, [record(ip(family, 6, tcp(16, 1, 0, options=b"\x01\x01\x05\x0a" + b"\xff" * 8)), FIX | FOLLOW)]
        syn = summed(family, 6, tcp(2, 7, port=50000, options=b"\x02\x04\x05\xb4", data=b"early" * 20), 16)
        for kind, cuts, keep in (("fragments", [48, 96], None), ("fragments_backwards", [48, 96], [2, 1, 0]),
                                 ("fragments_twice", [48, 96], [0, 0, 2, 2, 1]), ("fragments_tiny", [8], None)):
            yield kind + name, 0, [record(f, 0) for f in pieces(family, 6, syn, cuts, keep=keep)]
        overlapping = pieces(family, 6, syn, [48, 96], keep=[0]) + pieces(family, 6, syn, [40, 96], keep=[1, 2])
        yield "fragments_overlap" + name, 0, [record(f, 0) for f in overlapping]
        yield "fragments_timeout" + name, 0, [record(pieces(family, 6, syn, [48])[0], 0), record(b"", 0, 15), record(b"", 0, 10)]
        kind, echo = (1, 8) if family == 4 else (58, 128)
        echo_pieces = pieces(family, kind, summed(family, kind, icmp(echo, bytes(1400)), 2), [1000])
        yield "fragments_echo" + name, 0, [record(f, 0) for f in echo_pieces]
    yield "ip4_options", 0, [record(ip4(6, tcp(2), options=b"\x01\x94\x04\x00\x00\x00\x00\x00"))]
    yield "ip4_source_route", 0, [record(ip4(6, tcp(2), options=b"\x83\x07\x04\xc0\x00\x02\x09\x00"))]
    yield "ip4_fragment", 0, [record(ip4(6, tcp(2), fragment=0x2000)), record(ip4(6, tcp(2), fragment=3))]
    yield "ip4_land", 0, [record(ip4(6, tcp(2), src=US[4]))]
    yield "ip4_broadcast", 0, [record(ip4(1, icmp(8, bytes(4)), dst="192.0.2.255"))]
    pad = b"\x00\x01\x04" + bytes(4)
    yield "ip6_extensions", 0, [record(ip6(0, bytes([60]) + pad + bytes([44]) + pad + bytes([6]) + bytes(7) + tcp(2)))]
    yield "ip6_chain", 0, [record(ip6(60, (bytes([60]) + pad) * 12 + tcp(2)))]
    yield "ip6_routing_0", 0, [record(ip6(43, b"\x06\x02\x00\x01" + bytes(20) + tcp(2)))]
    yield "ip6_fragment", 0, [record(ip6(44, b"\x06\x00\x00\x01" + bytes(4) + tcp(2)))]
    yield "ip6_unknown_option", 0, [record(ip6(60, b"\x06\x00\x9e\x04" + bytes(4) + tcp(2)))]
    yield "ip6_error_behind_option", 0, [record(ip6(60, b"\x3a\x00\x9e\x04" + bytes(4) + icmp(1, bytes(4))))]
    yield "two_connections", 3, [record(ip4(6, tcp(24, 1, 0, data=b"four")), FIX | FOLLOW),
                                 record(ip6(6, tcp(24, 1, 0, data=b"six")), FIX | FOLLOW)]


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    for name, options, records in inputs():
        with open(os.path.join(out, name), "wb") as f:
            f.write(bytes([options]) + b"".join(records))


main()
