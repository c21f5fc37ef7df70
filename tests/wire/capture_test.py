#!/usr/bin/python3
"""capture_test.py: tshark reads what crossed the wire while ours talked with Linux; nothing of ours may be wrong."""
import collections
import socket

import rig
import streams
import tap

KILO = 1 << 10

wire = rig.Wire()
OPTIONS = [o for name in ("tcp.check_checksum", "ip.check_checksum", "udp.check_checksum") for o in ("-o", f"{name}:TRUE")]
# What TCP's analysis says of a stream that lost nothing, and what a slow machine or a shut window explains.
INNOCENT = ("tcp.analysis.zero_window", "tcp.analysis.window_full", "tcp.analysis.window_update", "tcp.analysis.keep_alive",
            "tcp.analysis.keep_alive_ack", "tcp.analysis.zero_window_probe", "tcp.analysis.zero_window_probe_ack",
            "tcp.analysis.retransmission", "tcp.analysis.spurious_retransmission", "tcp.analysis.fast_retransmission",
            "tcp.analysis.duplicate_ack", "tcp.analysis.reused_ports")


def frames(display_filter, *fields):
    """One tuple of field values per frame of ours that the filter takes."""
    said = rig.run("tshark", "-n", "-r", wire.capture_file, *OPTIONS, "-Y", f"eth.src == {wire.mac} && ({display_filter})", "-T", "fields",
                   *[a for f in ("frame.number", *fields) for a in ("-e", f)])
    return [tuple(line.split("\t")) for line in said.splitlines() if line[:1].isdigit()]


def none(display_filter, *fields):
    got = frames(display_filter, *fields)
    tap.equal(got[:5], [], f"{len(got)} frames of ours")


def traffic():
    """Every kind of conversation there is."""
    for address in (rig.OURS4, rig.OURS6):
        rig.run("ip", "neigh", "flush", "dev", rig.TAP)
        rig.run("ping", "-n", "-q", "-c", "3", "-i", "0.05", "-s", "1200", address)
        for size in (1, 1449, 65537):
            streams.echo(address, streams.pattern(size))
        streams.discard(address, streams.pattern(200 * KILO))
        with streams.connect(address, streams.CHARGEN) as s:
            streams.take(s, 300 * KILO)
            tap.check(streams.ended(s), "bytes after the last one")
        with streams.connect(address, streams.ECHO) as s:
            s.sendall(streams.pattern(20000))
            s.shutdown(socket.SHUT_WR)
            streams.take(s, 20000)
            tap.check(streams.ended(s), "bytes after the last one")
        with streams.connect(address, streams.CHARGEN, receive_buffer=2304) as s:
            streams.take(s, 100 * KILO)
            streams.reset(s)
        s = streams.connect(address, streams.ECHO)
        s.sendall(b"x" * 100)
        streams.reset(s)
        try:
            streams.connect(address, streams.CLOSED_PORT).close()
        except ConnectionRefusedError:
            pass


@tap.case
def capture_holds_our_frames():
    """The other cases find nothing wrong; this one shows that there was something to look at."""
    tap.check(len(frames("tcp")) > 500, "TCP")
    tap.check(frames("arp") and frames("icmp") and frames("icmpv6.type == 136") and frames("icmpv6.type == 129"), "the rest")


@tap.case
def no_frame_of_ours_is_malformed():
    none("_ws.malformed || _ws.short || _ws.unreassembled", "_ws.expert.message")


@tap.case
def every_ipv4_header_checksum_of_ours_is_right():
    none("ip && ip.checksum.status != 1", "ip.checksum")
    tap.check(frames("ip.checksum.status == 1"), "none was checked")


@tap.case
def every_tcp_checksum_of_ours_is_right():
    none("tcp && tcp.checksum.status != 1 && tcp.checksum != 0xffff", "tcp.checksum")  # the other zero: oracle.py
    tap.check(frames("ip && tcp.checksum.status == 1") and frames("ipv6 && tcp.checksum.status == 1"), "none was checked")


@tap.case
def every_icmp_checksum_of_ours_is_right():
    none("(icmp && icmp.checksum.status != 1) || (icmpv6 && icmpv6.checksum.status != 1)")


@tap.case
def expert_finds_no_error_of_ours():
    none("_ws.expert.severity == error && !(tcp.checksum == 0xffff)", "_ws.expert.message")


@tap.case
def tcp_analysis_finds_no_violation_of_ours():
    found = collections.Counter()
    innocent = "".join(f" && !{name}" for name in INNOCENT)
    for row in frames(f"tcp.analysis.flags{innocent}", "_ws.expert.message"):
        found[row[1]] += 1
    tap.equal(found, collections.Counter(), "frames of ours")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge(least=500)


@tap.case
def no_frame_of_ours_is_larger_than_the_link():
    none("frame.len > 1514", "frame.len")


@tap.case
def no_segment_of_ours_is_larger_than_its_peer_offered():
    """Linux offers 1460 over IPv4, 1440 over IPv6, options included (RFC 6691)."""
    none("ip && tcp.len + tcp.hdr_len > 1480", "tcp.len")
    none("ipv6 && tcp.len + tcp.hdr_len > 1460", "tcp.len")


@tap.case
def every_segment_of_ours_after_the_handshake_carries_its_timestamp():
    """RFC 7323 3.2: agreed is agreed; only a RST may do without."""
    none("tcp.flags.syn == 0 && tcp.flags.reset == 0 && !tcp.options.timestamp.tsval", "tcp.stream")


@tap.case
def window_in_a_syn_of_ours_is_not_scaled():
    none("tcp.flags.syn == 1 && tcp.window_size != tcp.window_size_value")


def before():
    wire.make_peer()
    wire.capture_start()
    wire.start_echo("--chargen", 300 * KILO)
    traffic()
    wire.capture.stop()


tap.run(before, wire.end)
