#!/usr/bin/python3
"""scripted_test.py: single segments and packets to ours, and what must come back; each case is named after the id of its behaviour
and runs for both families where both have it.  CASES.md tells how to write one."""
import struct
import time

import packets
import rig
import streams
import tap
from packets import ACK, CWR, ECE, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, URG
from scripted import TRIES, Endpoint, TooSlow

ECHO, DISCARD, CHARGEN, CLOSED = 7, 9, 19, 4
GENERATED = 20000  # bytes of chargen, then its FIN
LINES = streams.chargen_bytes(GENERATED)

wire = rig.Wire()


def both(function, versions=(4, 6)):
    for version in versions:
        def case(version=version):
            for _ in range(TRIES):
                endpoint = Endpoint(wire, version)
                try:
                    return function(endpoint)
                except TooSlow:
                    pass
                finally:
                    endpoint.end()
            raise AssertionError(f"{TRIES} tries were all slower than the timers of ours")
        case.__name__ = f"{function.__name__}_v{version}"
        tap.case(case)
    return function


def only4(function):
    return both(function, (4,))


def only6(function):
    return both(function, (6,))


def generated(e, **how):
    """A connection from which chargen has sent everything but been told of nothing: its first flight is on the way."""
    return e.established(CHARGEN, **how)


def took_all(e, **how):
    """Chargen has sent everything and its FIN, and knows that all of it came."""
    c = generated(e, **how)
    c.take(GENERATED + 1)
    return c


def took_all_but_the_fin(e):
    """Chargen has sent everything and its FIN, of which it knows nothing yet."""
    c = generated(e)
    c.take(GENERATED)
    if c.heard == GENERATED:
        c.expect(FIN | ACK, at=GENERATED)
    return c


def in_time_wait(e, **how):
    c = took_all(e, **how)
    c.send(FIN | ACK)
    c.expect(ACK, ack=c.sent)
    return c


# ---- C1, C2, C3: states and acceptability ----

@both
def C1_half_closed_peer_gets_its_echo(e):
    c = e.established()
    c.send(PSH | ACK | FIN, b"last words")
    c.expect_data(b"last words")
    if c.heard == 10:
        c.expect(FIN | ACK)


@both
def C1_both_close_at_once(e):
    c = took_all_but_the_fin(e)
    c.send(FIN | ACK, ack=GENERATED)  # which does not acknowledge ours: CLOSING
    c.expect(ACK, ack=c.sent)
    c.send(ACK)
    c.silence()


@both
def C2_old_bytes_get_an_ack_and_change_nothing(e):
    c = e.established(DISCARD)
    c.send(ACK, b"0123456789")
    c.expect(ACK, ack=10)
    c.send(ACK, b"other", at=5)
    c.expect(ACK, ack=10)


@both
def C2_bytes_beyond_the_window_get_an_ack_and_change_nothing(e):
    c = e.established()
    c.send(ACK, b"far away", at=1 << 20)
    c.expect(ACK, ack=0)
    c.lives()


@both
def C2_segment_without_ack_is_dropped(e):
    c = e.established()
    c.send(PSH, b"no ack", at=0)
    c.silence()
    c.lives()


@both
def C3_ack_of_what_was_never_sent_gets_an_ack_and_its_data_is_dropped(e):
    c = e.established()
    c.send(ACK, b"data", at=0, ack=1000)
    c.expect(ACK, ack=0)
    c.lives()


@both
def C3_ack_from_long_ago_is_dropped(e):
    c = e.established()
    c.send(ACK, b"data", at=0, ack=-200000)
    c.expect(ACK, ack=0)
    c.lives()


# ---- C4, C5, C6: resets ----

@both
def C4_syn_to_a_closed_port_gets_a_rst_that_acknowledges_it(e):
    c = e.connection(CLOSED)
    c.syn()
    t = c.expect(RST | ACK, ack=0)
    tap.equal(t.seq, 0, "its number")


@both
def C4_ack_to_a_closed_port_gets_a_rst_at_its_own_number(e):
    c = e.connection(CLOSED)
    c.send(ACK, b"x", raw_ack=777)
    tap.equal(c.expect(RST).seq, 777, "its number")


@both
def C4_data_without_ack_to_a_closed_port_is_acknowledged_by_the_rst(e):
    c = e.connection(CLOSED)
    c.send(PSH | FIN, b"12345")
    tap.equal(c.expect(RST | ACK, ack=6).seq, 0, "its number")


@both
def C4_rst_is_never_answered(e):
    c = e.connection(CLOSED)
    c.send(RST)
    c.send(RST | ACK, raw_ack=5)
    other = e.connection(ECHO)
    other.send(RST | ACK, raw_ack=5)
    c.silence()
    other.silence()


@both
def C4_ack_to_a_listener_gets_a_rst(e):
    c = e.connection(ECHO)
    c.send(ACK, raw_ack=4321)
    tap.equal(c.expect(RST).seq, 4321, "its number")


@both
def C4_flags_that_open_nothing_open_nothing(e):
    c = e.connection(ECHO)
    for flags in (0, FIN, PSH | URG | FIN, SYN | FIN, URG):
        c.send(flags, at=0)
    c.silence()


@only4
def C4_segment_to_a_broadcast_or_group_is_not_answered(e):
    c = e.connection(CLOSED)
    for dst in ("192.0.2.255", "255.255.255.255", "224.0.0.1"):
        c.syn(ip={"dst": dst, "to": "ff:ff:ff:ff:ff:ff"})
    c.syn(ip={"to": "ff:ff:ff:ff:ff:ff"})
    e.silence()


@only6
def C4_segment_to_a_group_of_ipv6_is_not_answered(e):
    c = e.connection(CLOSED)
    c.syn(ip={"dst": "ff02::1", "to": "33:33:00:00:00:01"})
    e.silence()


@both
def C5_rst_at_the_next_number_resets(e):
    c = e.established()
    c.send(RST)
    c.is_gone()


@both
def C5_rst_elsewhere_in_the_window_is_challenged(e):
    for at in (1, 2, 1000, 60000):
        c = e.established()
        c.send(RST, at=at)
        c.expect(ACK, ack=0)
        c.lives()


@both
def C5_rst_outside_the_window_is_ignored(e):
    c = e.established()
    for at in (-1, 1 << 20, -70000):
        c.send(RST, at=at)
    c.silence()
    c.lives()


@both
def C5_syn_on_a_connection_is_challenged(e):
    for at in (-1, 0, 5, 1 << 30):
        c = e.established()
        c.send(SYN, at=at, ack=None)
        c.expect(ACK, ack=0)
        c.lives()


@both
def C6_challenges_are_few_on_one_connection(e):
    """Five, and five a second: whoever is slow may get more."""
    c = e.established()
    for _ in range(100):
        c.send(RST, at=5)
    challenges = len(c.drain())
    tap.check(1 <= challenges <= 20 + 10 * (time.monotonic() - e.began), f"{challenges} challenges for 100 RSTs in the window")
    c.lives()


# ---- C7, C9: opening ----

@both
def C7_initial_numbers_of_different_tuples_are_unrelated(e):
    numbers = []
    for _ in range(8):
        c = e.connection(ECHO)
        c.syn()
        numbers.append(c.expect(SYN | ACK).seq)
    steps = {(b - a) % (1 << 32) for a, b in zip(numbers, numbers[1:])}
    tap.check(len(steps) == 7 and max(steps) > 1 << 24, f"{numbers}")


@both
def C7_same_tuple_gets_a_later_number(e):
    c = e.established()
    first = c.irs
    c.send(RST)
    c.drain()
    c.irs, c.heard, c.said = None, 0, None
    c.iss += 100000
    c.syn()
    c.expect(SYN | ACK)
    tap.check(0 < packets_later(c.irs, first) < 1 << 31, f"{c.irs} after {first}")


def packets_later(b, a):
    return (b - a) % (1 << 32)


@both
def C9_lost_syn_ack_is_sent_again_the_same(e):
    c = e.connection(ECHO)
    c.syn()
    first = c.expect(SYN | ACK)
    again = c.expect(SYN | ACK)
    tap.equal((again.seq, again.ack, again.mss), (first.seq, first.ack, first.mss))


@both
def C9_repeated_syn_gets_the_same_answer(e):
    c = e.connection(ECHO)
    c.syn()
    first = c.expect(SYN | ACK)
    c.syn()
    tap.equal(c.expect(SYN | ACK).seq, first.seq)
    c.send(ACK)
    c.lives()


@both
def C9_wrong_ack_in_the_handshake_gets_a_rst_at_its_number(e):
    for wrong in (-1, 1):
        c = e.connection(ECHO)
        c.syn()
        c.expect(SYN | ACK)
        c.send(ACK, ack=wrong)
        tap.equal(c.at(c.expect(RST)), wrong, "its number")


# ---- C11, C12, C14: closing and staying ----

@both
def C11_fin_that_comes_again_is_acknowledged_again(e):
    c = in_time_wait(e)
    for _ in range(3):
        c.send(FIN | ACK, at=c.sent - 1)
        c.expect(ACK, ack=c.sent)


@both
def C11_rst_in_time_wait_is_ignored(e):
    c = in_time_wait(e)
    c.send(RST)
    c.send(FIN | ACK, at=c.sent - 1)
    c.expect(ACK, ack=c.sent)


@both
def C11_later_syn_opens_anew(e):
    c = in_time_wait(e)
    later = e.connection(CHARGEN, iss=(c.iss + 500000) % (1 << 32))
    later.sport = c.sport
    later.syn()
    later.expect(SYN | ACK, ack=0)
    tap.check(0 < packets_later(later.irs, c.irs) < 1 << 31, "the new numbers lie above the old ones")
    later.send(ACK)
    later.expect(ACK, at=0)


@both
def C11_earlier_syn_opens_nothing(e):
    c = in_time_wait(e)
    c.send(SYN, at=-5000, ack=None)
    c.expect(ACK, ack=c.sent)


@both
def C12_fin_is_sent_again_until_it_is_acknowledged(e):
    c = took_all_but_the_fin(e)
    for _ in range(2):
        t = c.expect(FIN | ACK)
        tap.equal(c.at(t) + len(t.data), GENERATED, "its place")
    c.send(ACK)


@both
def C14_keepalive_with_and_without_a_byte_is_answered(e):
    c = e.established()
    c.send(ACK, b"0123456789")
    c.expect_data(b"0123456789")
    c.send(ACK)
    for data in (b"", b"9"):
        c.send(ACK, data, at=9)
        c.expect(ACK, ack=10)


# ---- C16 and the bugs of other parsers: options, flags, lengths ----

@both
def C16_unknown_options_are_skipped(e):
    c = e.connection(ECHO)
    c.syn(options=packets.option(253, b"who knows?!") + b"\1" + packets.option(77) + packets.options(mss=1000))
    c.expect(SYN | ACK)
    c.send(ACK, options=packets.option(254, b"xy"))
    c.lives()


@both
def C16_fast_open_cookie_request_is_ignored(e):
    c = e.connection(ECHO)
    c.syn(options=packets.options(mss=1400) + packets.option(34) + b"\1\1")
    tap.equal(c.expect(SYN | ACK, ack=0).options_len % 4, 0)
    c.send(ACK)
    c.lives()


@both
def C16_segments_with_md5_or_ao_are_refused(e):
    for kind in (19, 29):
        c = e.connection(ECHO)
        c.syn(options=packets.option(kind, bytes(16)) + b"\1\1")
        c.silence()


@both
def C16_urgent_data_is_ordinary_data(e):
    c = e.established()
    c.send(ACK | URG | PSH, b"hurry", urgent=3)
    c.expect_data(b"hurry")


@both
def C16_reserved_bits_are_ignored(e):
    c = e.established()
    c.send(ACK | PSH, b"data", reserved=0xE)
    c.expect_data(b"data")


@both
def B2_every_wrong_data_offset_is_dropped(e):
    c = e.established()
    for words in (0, 1, 4, 6, 15):
        c.send(ACK, b"x", at=0, words=words)
    c.silence()
    c.lives()


@both
def B3_option_of_length_zero_or_one_is_dropped(e):
    c = e.established()
    for bad in (b"\x63\0\1\1", b"\x63\1\1\1", b"\1\1\1\x63", b"\x63\x28\1\1"):
        c.send(ACK, b"x", at=0, options=bad)
    c.silence()
    c.lives()


@both
def B15_tiny_mss_neither_stops_nor_shreds_the_stream(e):
    for mss in (0, 1, 47, 48, 65535):
        c = e.established(mss=mss)
        data = b"abcdefgh" * 30
        c.send(ACK | PSH, data)
        first = c.expect(ACK)
        tap.check(mss > 48 or len(first.data) >= 16 or not first.data, f"{len(first.data)} bytes in a segment")
        c.send(ACK)
        if c.heard < len(data):
            c.expect_data(data[c.heard:])
        c.send(ACK)


# ---- D1, D2: timestamps and SACK ----

@both
def D1_timestamps_are_on_every_segment_and_echo(e):
    c = e.established(ts=True)
    c.send(ACK | PSH, b"tick")
    t = c.expect(ACK)
    tap.equal(t.ts and t.ts[1], c.clock, "echoed")


@both
def D1_segment_without_the_agreed_timestamp_is_dropped(e):
    c = e.established(ts=True)
    c.send(ACK, b"bare", at=0, options=b"")
    c.silence()
    c.lives()


@both
def D1_segment_with_an_old_timestamp_gets_an_ack_and_is_dropped(e):
    c = e.established(ts=True)
    c.send(ACK | PSH, b"new")
    c.expect_data(b"new")
    c.send(ACK)
    c.send(ACK, b"old", at=3, options=packets.options(ts=(c.clock - 500, c.echo)))
    c.expect(ACK, ack=3)
    c.lives()


@both
def D1_rst_needs_no_timestamp(e):
    c = e.established(ts=True)
    c.send(RST, options=b"")
    c.is_gone()


@both
def D1_options_that_were_not_offered_are_not_used(e):
    c = e.connection(ECHO)
    c.syn(options=packets.options(mss=1400))
    t = c.expect(SYN | ACK)
    tap.equal((t.scale, t.ts, t.sack_ok), (None, None, False))


@both
def D2_latest_block_comes_first(e):
    c = e.established(DISCARD, sack_ok=True)
    for at, blocks in ((100, [(100, 110)]), (300, [(300, 310), (100, 110)]), (200, [(200, 210), (300, 310), (100, 110)])):
        c.send(ACK, b"0123456789", at=at)
        t = c.expect(ACK, ack=0)
        tap.equal([tuple(packets_later(v, c.iss + 1) for v in block) for block in t.sack], blocks)


@both
def D2_no_block_is_sent_to_who_did_not_permit_it(e):
    c = e.established(DISCARD)
    c.send(ACK, b"0123456789", at=100)
    tap.equal(c.expect(ACK, ack=0).sack, ())


# ---- D5 to D18: sending, acknowledging, windows, paths ----

@both
def D5_third_duplicate_ack_brings_the_lost_segment(e):
    c = generated(e)
    first = c.expect(ACK, at=0)
    c.drain()
    for _ in range(3):
        c.send(ACK, ack=0)
    again = [t.data for t in c.drain() if c.at(t) == 0]  # others are new ones: RFC 3042
    e.in_time()
    tap.equal(again, [first.data])


@both
def D8_unacknowledged_segment_is_sent_again_by_the_timer(e):
    c = e.established()
    c.send(ACK | PSH, b"answer me")
    first = c.expect(ACK, at=0)
    while not first.data:
        first = c.expect(ACK, at=0)
    for _ in range(2):
        tap.equal(c.expect(ACK, at=0).data, first.data)
    c.send(ACK)
    c.drain()
    c.silence()


@both
def D10_first_flight_is_ten_segments(e):
    c = generated(e)
    c.expect(ACK, at=0)
    flight = {c.at(t): len(t.data) for t in c.drain() if t.data}
    flight[0] = 1400
    e.in_time()
    tap.equal(sum(flight.values()), 14000, f"{flight}")


@both
def D11_second_full_segment_is_acknowledged_at_once(e):
    c = e.established(DISCARD)
    c.send(ACK, b"a" * 1400)
    c.send(ACK, b"b" * 1400)
    tap.check(2800 in [c.acked(t) for t in c.drain()], "no ACK of both")


@both
def D11_lone_segment_is_acknowledged_in_the_end(e):
    c = e.established(DISCARD)
    c.send(ACK, b"a")
    c.expect(ACK, ack=1)


@both
def D11_out_of_order_and_gap_fill_are_acknowledged_at_once(e):
    c = e.established(DISCARD)
    c.send(ACK, b"b" * 10, at=10)
    tap.equal([c.acked(t) for t in c.drain()], [0])
    c.send(ACK, b"a" * 10, at=0)
    tap.equal([c.acked(t) for t in c.drain()], [20])


@both
def D11_fin_is_acknowledged_at_once(e):
    c = e.established(DISCARD)
    c.send(FIN | ACK)
    tap.check(1 in [c.acked(t) for t in c.drain()], "no ACK of the FIN")


@both
def D13_shut_window_is_probed_and_opens(e):
    c = e.connection(CHARGEN, window=1000)
    c.syn()
    c.expect(SYN | ACK)
    c.send(ACK)
    c.expect(ACK, at=0, length=1000)
    c.send(ACK, window=0)
    for _ in range(2):
        t = c.expect(ACK, at=1000)
        tap.check(len(t.data) <= 1, f"{len(t.data)} bytes into a shut window")
        c.heard = 1000
        c.send(ACK, window=0)
    c.send(ACK, window=5000)
    c.expect_data(LINES[1000:5200], at=1000)  # three full segments; the rest of the window takes none


@both
def D15_first_copy_of_a_byte_wins(e):
    c = e.established()
    c.send(ACK, b"FIRST", at=5)
    c.expect(ACK, ack=0)
    c.send(ACK | PSH, b"startOTHER", at=0)
    c.sent = 10
    c.expect_data(b"startFIRST")


@both
def D16_ecn_is_not_negotiated(e):
    c = e.connection(ECHO)
    c.syn(SYN | ECE | CWR)
    t = c.expect(SYN | ACK)
    tap.check(not t.flags & (ECE | CWR), f"{t.flags:02x}")


@both
def D16_congestion_marks_on_other_flows_are_ignored(e):
    c = e.established()
    c.send(ACK | PSH, b"marked", ip={"tos": 3} if e.version == 4 else {"traffic_class": 3})
    c.expect_data(b"marked")


def packet_too_big(e, c, seq, mtu):
    """As if a router had dropped our segment at that number of our stream."""
    quoted = packets.tcp(e.ours, e.peer, c.dport, c.sport, c.irs + 1 + seq, c.iss + 1, ACK)[:8] + bytes(12)
    if e.version == 4:
        e.icmp((3, 4), None, struct.pack("!HH", 0, mtu) + packets.ip4(e.ours, e.peer, TCP, quoted, length=1440))
    else:
        e.icmp(None, (2, 0), struct.pack("!I", mtu) + packets.ip6(e.ours, e.peer, TCP, quoted + bytes(1380)))


@both
def D17_packet_too_big_about_what_is_in_flight_makes_segments_smaller(e):
    c = generated(e)
    c.expect(ACK, at=0, length=1400)
    c.drain()
    packet_too_big(e, c, 0, 1300)
    e.ping()
    e.in_time()
    smaller = 1300 - (40 if e.version == 4 else 60)
    c.expect(ACK, at=0, length=smaller)


@both
def D17_packet_too_big_about_what_is_not_in_flight_is_ignored(e):
    c = generated(e)
    c.expect(ACK, at=0, length=1400)
    c.drain()
    for seq in (-100, 50000, 1 << 30):
        packet_too_big(e, c, seq, 1280)
    c.silence()
    c.send(ACK, ack=14000)
    c.heard = 14000
    length = len(c.expect(ACK, at=14000).data)
    e.in_time()
    tap.equal(length, 1400)


@both
def D17_tiny_mtu_stops_at_the_floor(e):
    c = generated(e)
    c.expect(ACK, at=0)
    c.drain()
    packet_too_big(e, c, 0, 68)
    floor = 552 - 40 if e.version == 4 else 1280 - 60
    again = [len(t.data) for t in c.drain() if c.at(t) == 0]  # at once: a timer would get there, too
    e.in_time()
    tap.equal(again, [floor])


@both
def D18_unreachable_does_not_abort_a_connection(e):
    c = e.established()
    quoted = packets.tcp(e.ours, e.peer, ECHO, c.sport, c.irs + 1, c.iss + 1, ACK)
    for code in range(5):
        if e.version == 4:
            if code != 4:
                e.icmp((3, code), None, bytes(4) + packets.ip4(e.ours, e.peer, TCP, quoted))
        else:
            e.icmp(None, (1, code), bytes(4) + packets.ip6(e.ours, e.peer, TCP, quoted))
    c.silence()
    c.lives()


# ---- L1, L2: neighbours ----

def is_arp_reply(p):
    return p.type == packets.ARP and p.frame[20:22] == b"\0\2"


@only4
def L1_request_for_our_address_is_answered(e):
    e.frame(packets.arp(1, e.mac, rig.PEER4, "00:00:00:00:00:00", rig.OURS4), packets.ARP, to="ff:ff:ff:ff:ff:ff")
    p = e.expect(is_arp_reply, "an ARP reply")
    tap.equal((p.frame[22:28], p.frame[28:32]), (packets.mac_bytes(e.ours_mac), packets.ip_bytes(rig.OURS4)))


@only4
def L1_probe_without_a_sender_is_answered(e):
    e.frame(packets.arp(1, e.mac, "0.0.0.0", "00:00:00:00:00:00", rig.OURS4), packets.ARP, to="ff:ff:ff:ff:ff:ff")
    e.expect(is_arp_reply, "an ARP reply")


@only4
def L1_request_for_another_address_is_not_answered(e):
    e.frame(packets.arp(1, e.mac, rig.PEER4, "00:00:00:00:00:00", "192.0.2.77"), packets.ARP, to="ff:ff:ff:ff:ff:ff")
    e.silence(is_arp_reply)


@only4
def L1_claim_of_our_address_is_contradicted(e):
    e.frame(packets.arp(1, e.mac, rig.OURS4, "00:00:00:00:00:00", rig.OURS4), packets.ARP, to="ff:ff:ff:ff:ff:ff")
    p = e.expect(lambda p: p.type == packets.ARP and p.frame[28:32] == packets.ip_bytes(rig.OURS4), "an announcement")
    tap.equal(p.frame[22:28], packets.mac_bytes(e.ours_mac))


@only4
def L1_unasked_reply_moves_no_neighbour(e):
    c = e.established()
    for _ in range(3):
        e.frame(packets.arp(2, "02:00:00:00:00:66", rig.PEER4, e.ours_mac, rig.OURS4), packets.ARP)
    c.send(ACK | PSH, b"where to?")
    p = e.expect(lambda p: p.tcp is not None and p.tcp.data == b"where to?", "the echo")
    tap.equal(p.eth_dst, e.mac, "where it went")


def solicitation(e, hops=255, target=None, code=0):
    body = bytes(4) + packets.ip_bytes(target or rig.OURS6) + b"\1\1" + packets.mac_bytes(e.mac)
    e.frame(packets.ip6(e.peer, e.ours, ICMP6, packets.icmp6(e.peer, e.ours, 135, code, body), hops=hops))


def is_advertisement(p):
    return p.icmp is not None and p.version == 6 and p.icmp[0] == 136


@only6
def L2_solicitation_is_answered(e):
    solicitation(e)
    p = e.expect(is_advertisement, "an advertisement")
    tap.equal((p.upper[8:24], p.hops), (packets.ip_bytes(rig.OURS6), 255))


@only6
def L2_solicitation_that_crossed_a_router_is_dropped(e):
    solicitation(e, hops=254)
    e.silence(is_advertisement)


@only6
def L2_solicitation_of_another_address_or_code_is_not_answered(e):
    solicitation(e, target="2001:db8:57::77")
    solicitation(e, code=1)
    e.silence(is_advertisement)


@only6
def L2_unasked_advertisement_moves_no_neighbour(e):
    c = e.established()
    body = struct.pack("!I", 0x20000000) + packets.ip_bytes(rig.PEER6) + b"\2\1" + packets.mac_bytes("02:00:00:00:00:66")
    e.frame(packets.ip6(e.peer, e.ours, ICMP6, packets.icmp6(e.peer, e.ours, 136, 0, body), hops=255))
    c.send(ACK | PSH, b"where to?")
    p = e.expect(lambda p: p.tcp is not None and p.tcp.data == b"where to?", "the echo")
    tap.equal(p.eth_dst, e.mac, "where it went")


# ---- L3, L4: packets ----

@only4
def L3_wrong_header_checksum_length_or_version_is_dropped(e):
    c = e.connection(ECHO)
    for fields in ({"check": 1}, {"length": 10}, {"length": 2000}, {"words": 4}, {"version": 5}):
        c.syn(ip=fields)
    c.silence()


@only4
def L3_options_are_skipped_and_source_routes_dropped(e):
    c = e.connection(ECHO)
    for route in (b"\x83\7\4\xc0\0\2\2\0", b"\x89\7\4\xc0\0\2\2\0"):
        c.syn(ip={"options": route})
    c.silence()
    c.syn(ip={"options": b"\1\1\1\1\x94\4\0\0"})
    c.expect(SYN | ACK)


@only4
def L3_martian_senders_are_not_answered(e):
    c = e.connection(ECHO)
    for src in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.255", rig.OURS4):
        c.syn(ip={"src": src})
    e.silence()


@both
def L3_packet_for_another_host_is_not_answered(e):
    c = e.connection(ECHO)
    c.syn(ip={"dst": "192.0.2.77" if e.version == 4 else "2001:db8:57::77"})
    e.silence()


@only4
def L3_identification_is_zero_with_df(e):
    c = e.connection(ECHO)
    c.syn()
    p = e.expect(c.mine, "an answer")
    tap.equal((p.df, p.ident), (True, 0))
    c.irs = p.tcp.seq


def extended(e, c, *headers):
    """A SYN behind extension headers: (next header number, bytes without the first)."""
    body = c.segment(SYN, at=-1, ack=None, options=packets.options(mss=1400))
    number = TCP
    for kind, rest in reversed(headers):
        body, number = bytes([number]) + rest + body, kind
    e.ip(number, body)


PADDING = b"\0\1\4\0\0\0\0"


@only6
def L4_extension_headers_with_padding_are_passed_over(e):
    c = e.connection(ECHO)
    extended(e, c, (0, PADDING), (60, PADDING))
    # the pseudo header has the addresses and TCP, whatever lies between
    c.expect(SYN | ACK)


@only6
def L4_routing_header_of_type_zero_is_dropped(e):
    c = e.connection(ECHO)
    extended(e, c, (43, b"\2\0\1" + bytes(4) + packets.ip_bytes(rig.PEER6)))
    c.silence()


@only6
def L4_unknown_option_is_skipped_or_drops_the_packet_as_it_says(e):
    c = e.connection(ECHO)
    for kind in (0x40 | 30, 0x80 | 30, 0xC0 | 30):
        extended(e, c, (60, b"\0" + bytes([kind, 4]) + bytes(4)))
    c.silence()
    extended(e, c, (60, b"\0" + bytes([30, 4]) + bytes(4)))
    c.expect(SYN | ACK)


@only6
def L4_long_chain_of_headers_is_dropped(e):
    c = e.connection(ECHO)
    extended(e, c, *[(60, PADDING)] * 9)
    c.silence()
    extended(e, c, *[(60, PADDING)] * 8)
    c.expect(SYN | ACK)


# ---- L6, L7: ICMP and frames ----

@both
def L6_echo_comes_back_with_its_bytes(e):
    body = struct.pack("!HH", 7, 8) + bytes(range(200))

    def answer():
        e.icmp((8, 0), (128, 0), body)
        return e.next(lambda p: p.icmp in ((0, 0), (129, 0)) and p.upper[4:8] == body[:4], time.monotonic() + 1)
    reply = rig.wait_for(answer, "an echo reply")  # so many a second and no more
    tap.check(reply.sound, f"{reply}")
    tap.equal(reply.upper[4:], body)


@both
def L6_icmp_errors_and_replies_are_not_answered(e):
    quoted = packets.ip4(e.ours, e.peer, 17, bytes(8)) if e.version == 4 else packets.ip6(e.ours, e.peer, 17, bytes(8))
    e.icmp((3, 3), (1, 4), bytes(4) + quoted)
    e.icmp((0, 0), (129, 0), struct.pack("!HH", 1, 1))
    e.silence(lambda p: p.icmp is not None)


@both
def L6_damaged_echo_is_not_answered(e):
    message = packets.icmp4(8, 0, bytes(8)) if e.version == 4 else packets.icmp6(e.peer, e.ours, 128, 0, bytes(8))
    e.ip(ICMP if e.version == 4 else ICMP6, message[:-1] + b"!")
    e.silence(lambda p: p.icmp is not None)


@both
def L7_runts_tags_and_strangers_are_dropped(e):
    c = e.connection(ECHO)
    whole = c.segment(SYN, at=-1, ack=None, options=packets.options(mss=1400))
    inner = packets.ip4(e.peer, e.ours, TCP, whole) if e.version == 4 else packets.ip6(e.peer, e.ours, TCP, whole)
    kind = packets.IP4 if e.version == 4 else packets.IP6
    for length in (0, 1, 19, 20, 39, len(inner) - 1):
        e.frame(inner[:length])
    e.frame(struct.pack("!HH", 5, kind) + inner, 0x8100)
    e.frame(inner, 0x88B5)
    e.frame(inner, to="02:00:00:00:00:77")
    e.frame(inner, source="ff:ff:ff:ff:ff:ff")
    c.silence()
    e.frame(inner + bytes(20))  # padding of the link
    c.expect(SYN | ACK)


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge(explained=("tcp.analysis.ack_lost_segment",))


@tap.case
def nothing_is_left_open():
    said = wire.stop_echo()
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, f"{said['counter']}")


def before():
    wire.make_silent()
    wire.capture_start()
    wire.start_echo("--chargen", GENERATED, "--msl", 60000)


tap.run(before, wire.end)
