#!/usr/bin/python3
"""oracle_test.py: the oracle finds each breach of its rules in a capture made by hand, and nothing in one that keeps them."""
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path[:0] = [f"{ROOT}/tests/lib", f"{ROOT}/tests/wire/oracle"]
import oracle
import packets
import tap
from packets import ACK, FIN, PSH, RST, SYN

OURS, PEER = "02:00:00:00:00:01", "02:00:00:00:00:02"
ADDRESSES = {4: ("192.0.2.2", "192.0.2.1"), 6: ("2001:db8:57::2", "2001:db8:57::1")}
ISS, IRS = 0xFFFFFF00, 5000  # ours wraps in the middle of the conversation
SHIFT = 2

folder = tempfile.mkdtemp(prefix="wirewrap-oracle.")


class Talk:
    """Frames of one connection to our port 7, or opened by it; numbers are distances from ISS and IRS."""

    def __init__(self, version=4, sack_ok=True, ts=True, peer_mss=1460, opened=False):
        self.version, self.ts, self.frames, self.clock = version, ts, [], 100
        self.ours, self.peer = ADDRESSES[version]
        if opened:
            self.us(SYN, 0, 0, window=8000, options=packets.options(1460, SHIFT, (9000, 0) if ts else None, sack_ok))
            self.they(SYN | ACK, 0, 1, options=packets.options(peer_mss, SHIFT, (100, 9000) if ts else None, sack_ok))
            self.us(ACK, 1, 1)
            return
        self.they(SYN, 0, None, options=packets.options(peer_mss, SHIFT, (100, 0) if ts else None, sack_ok))
        self.us(SYN | ACK, 0, 1, window=8000, options=packets.options(1460, SHIFT, (9000, 100) if ts else None, sack_ok))
        self.they(ACK, 1, 1)

    def frame(self, src, dst, segment, **ip):
        ours = src == self.ours
        make = packets.ip4 if self.version == 4 else packets.ip6
        self.frames.append(packets.ethernet(PEER if ours else OURS, OURS if ours else PEER, packets.IP4 if self.version == 4 else packets.IP6,
                                            make(src, dst, packets.TCP, segment, **ip)))

    def us(self, flags, seq, ack, data=b"", window=2000, sack=(), options=None, tsval=None, tsecr=100, check=None, **ip):
        self.clock += 1
        if options is None:
            blocks = [(IRS + a, IRS + b) for a, b in sack]
            options = packets.options(ts=(self.clock + 9000 if tsval is None else tsval, tsecr) if self.ts else None, sack=blocks)
        segment = packets.tcp(self.ours, self.peer, 7, 40000, ISS + seq, (IRS + ack) if flags & ACK else 0, flags, window, options, data, check=check)
        self.frame(self.ours, self.peer, segment, **ip)
        return self

    def they(self, flags, seq, ack, data=b"", window=4000, options=None, check=None):
        if options is None:
            options = packets.options(ts=(100, 9000)) if self.ts else b""
        segment = packets.tcp(self.peer, self.ours, 40000, 7, IRS + seq, 0 if ack is None else ISS + ack, flags, window, options, data, check=check)
        self.frame(self.peer, self.ours, segment)
        return self

    def rules(self, **how):
        """The rules that are broken, each once, in the order of the frames."""
        path = f"{folder}/talk.pcap"
        packets.pcap_write(path, self.frames)
        return list(dict.fromkeys(rule for rule, _, _ in oracle.judge(path, [OURS], **how).found))


def talked(**how):
    """500 bytes each way have been acknowledged: ours sends from 501, the peer too."""
    return (Talk(**how).they(ACK | PSH, 1, 1, b"q" * 500).us(ACK | PSH, 1, 501, b"a" * 500).they(ACK, 501, 501))


def clean(version):
    t = talked(version=version)
    t.they(ACK, 601, 501, b"c" * 100).us(ACK, 501, 501, sack=[(601, 701)])  # a gap, and the block beyond it
    t.they(ACK, 501, 501, b"b" * 100).us(ACK, 501, 701)
    t.they(ACK, 501, 501, b"b" * 100).us(ACK, 501, 701, sack=[(501, 601)])  # a repetition: D-SACK
    t.us(ACK, 501, 701, b"d" * 300).us(ACK, 501, 701, b"d" * 300)  # lost, and sent again
    t.they(ACK, 701, 801, window=0).us(ACK, 801, 701, b"p")  # a probe of a shut window
    t.they(ACK, 701, 802, window=4000).us(FIN | ACK, 802, 701).they(FIN | ACK, 701, 803).us(ACK, 803, 702)
    return t


def broken(rule, *talks):
    for t in talks:
        tap.equal(t.rules(), [rule])


@tap.case
def conversation_that_keeps_the_rules_is_clean():
    for version in (4, 6):
        tap.equal(clean(version).rules(), [])
    tap.equal(talked(sack_ok=False, ts=False).rules(), [])


@tap.case
def tshark_agrees_about_the_clean_one_and_sees_a_wrong_checksum():
    path = f"{folder}/expert.pcap"
    packets.pcap_write(path, clean(4).frames)
    tap.equal(oracle.expert(path, [OURS]), [])
    packets.pcap_write(path, clean(4).us(ACK, 803, 702, check=1).frames)
    tap.equal(len(oracle.expert(path, [OURS])), 1)


@tap.case
def data_beyond_the_peers_window_is_found():
    t = talked()
    for at in range(501, 501 + 16000, 1000):
        t.us(ACK, at, 501, b"d" * 1000)  # 4000 << 2 from 501 on: exactly full
    tap.equal(t.rules(), [])
    broken("window", t.us(ACK, 16501, 501, b"dd"))


@tap.case
def probe_of_one_byte_is_no_breach_of_the_window_but_the_next_one_is():
    def shut():
        return talked().they(ACK, 501, 501, window=0).us(ACK, 501, 501, b"d" * 1000)
    tap.equal(Talk().they(ACK, 1, 1, window=0).rules(), [])
    small = Talk()
    small.frames[2:] = []
    small.they(ACK, 1, 1, window=0).us(ACK, 1, 1, b"x")
    tap.equal(small.rules(), [])
    broken("window", small.us(ACK, 2, 1, b"y"))
    tap.equal(shut().rules(), [])  # a window that was open once may be filled: the peer shrank it


@tap.case
def acknowledgement_that_goes_back_is_found():
    broken("ack", talked().us(ACK, 501, 400, window=2025))


@tap.case
def acknowledgement_of_bytes_that_never_came_is_found():
    broken("ack", talked().us(ACK, 501, 502), talked().they(ACK, 601, 501, b"c" * 100).us(ACK, 501, 701))


@tap.case
def acknowledgement_of_damaged_bytes_is_found_unless_checksums_say_nothing():
    t = talked().they(ACK, 501, 501, b"c" * 100, check=1).us(ACK, 501, 601)
    broken("ack", t)
    tap.equal(t.rules(trust_peer=True), [])


@tap.case
def window_that_shrinks_is_found():
    broken("edge", talked().us(ACK, 501, 501, window=1990))
    tap.equal(talked().they(ACK, 501, 501, b"c" * 40).us(ACK, 501, 541, window=1990).rules(), [])


@tap.case
def window_in_a_syn_is_not_taken_for_a_scaled_one():
    t = Talk()
    t.frames[2:] = []
    t.they(ACK, 1, 1)
    tap.equal(t.us(ACK, 1, 1, window=2000).rules(), [])  # 2000 << 2 is the 8000 of the SYN-ACK


@tap.case
def segment_above_the_mss_is_found():
    tap.equal(talked().us(ACK, 501, 501, b"d" * 1448).rules(), [])
    broken("mss", talked().us(ACK, 501, 501, b"d" * 1449), talked(peer_mss=None).us(ACK, 501, 501, b"d" * 525),
           talked(version=6, peer_mss=None).us(ACK, 501, 501, b"d" * 1209))


@tap.case
def timestamp_that_goes_back_is_missing_or_was_not_agreed_is_found():
    broken("timestamp", talked().us(ACK, 501, 501, tsval=9001), talked().us(ACK, 501, 501, options=b""),
           talked(ts=False).us(ACK, 501, 501, options=packets.options(ts=(1, 100))))


@tap.case
def echoed_timestamp_that_the_peer_never_sent_is_found():
    broken("timestamp", talked().us(ACK, 501, 501, tsecr=99))


@tap.case
def each_repetition_of_a_syn_may_be_echoed():
    for echoed, wanted in ((90, []), (100, []), (95, ["timestamp"])):
        t = Talk()
        t.frames = []
        for value in (90, 100):
            t.they(SYN, 0, None, options=packets.options(1460, SHIFT, (value, 0), True))
        t.us(SYN | ACK, 0, 1, window=8000, options=packets.options(1460, SHIFT, (9000, echoed), True))
        tap.equal(t.rules(), wanted)


@tap.case
def untrue_sack_blocks_are_found():
    gap = lambda: talked().they(ACK, 601, 501, b"c" * 100)
    broken("sack", gap().us(ACK, 501, 501, sack=[(601, 702)]), gap().us(ACK, 501, 501, sack=[(560, 701)]),
           gap().us(ACK, 501, 501, sack=[(701, 601)]), gap().us(ACK, 501, 501, sack=[(601, 601)]),
           gap().us(ACK, 501, 501, sack=[(601, 701), (101, 201)]),
           gap().they(ACK, 801, 501, b"c" * 100).us(ACK, 501, 501, sack=[(801, 901), (601, 701), (601, 650)]))


@tap.case
def sack_that_was_not_permitted_is_found():
    broken("sack", talked(sack_ok=False).they(ACK, 601, 501, b"c" * 100).us(ACK, 501, 501, sack=[(601, 701)]))


@tap.case
def rst_is_fine_where_the_peer_can_believe_it():
    tap.equal(talked().us(RST | ACK, 501, 501, options=b"").rules(), [])
    tap.equal(talked().us(ACK, 501, 501, b"d" * 10).us(RST, 501, 501, options=b"").rules(), [])


@tap.case
def rst_at_a_number_out_of_the_blue_is_found():
    broken("rst", talked().us(RST, 900, 501, options=b""), talked().us(RST, 200, 501, options=b""))


@tap.case
def rst_about_a_rst_is_found():
    t = talked().us(ACK, 501, 501).they(RST, 501, None)
    tap.equal(t.rules(), [])
    broken("rst", t.us(RST, 501, 501, options=b""))
    tap.equal(talked().they(ACK, 501, 501, b"x").they(RST, 501, None).us(RST, 501, 501, options=b"").rules(), [])  # it is about the data


def stray(theirs, ours):
    """A segment to a port where nobody listens, and what is said to it: (flags, seq, ack), absolute."""
    t = Talk()
    t.frames = []
    t.frame(t.peer, t.ours, packets.tcp(t.peer, t.ours, 40001, 9999, theirs[1], theirs[2], theirs[0], data=b"x" * theirs[3]))
    t.frame(t.ours, t.peer, packets.tcp(t.ours, t.peer, 9999, 40001, ours[1], ours[2], ours[0]))
    return t


@tap.case
def rst_for_nobody_follows_the_segment_that_it_is_about():
    tap.equal(stray((SYN, 77, 0, 0), (RST | ACK, 0, 78)).rules(), [])
    tap.equal(stray((ACK, 77, 4321, 5), (RST, 4321, 0)).rules(), [])
    tap.equal(stray((FIN, 77, 0, 5), (RST | ACK, 0, 83)).rules(), [])
    broken("rst", stray((SYN, 77, 0, 0), (RST | ACK, 0, 77)), stray((ACK, 77, 4321, 5), (RST, 4320, 0)),
           stray((SYN, 77, 0, 0), (RST, 0, 78)), stray((RST, 77, 0, 0), (RST | ACK, 0, 77)))


@tap.case
def segment_on_no_connection_that_is_no_rst_is_found():
    broken("stray", stray((ACK, 77, 4321, 0), (ACK, 4321, 77)))


@tap.case
def wrong_checksums_are_found():
    broken("checksum", talked().us(ACK, 501, 501, check=1), talked().us(ACK, 501, 501, version=4, check=None).us(ACK, 501, 501, check=2))
    t = talked()
    t.us(ACK, 501, 501)
    damaged = bytearray(t.frames[-1])
    damaged[24] ^= 1  # the IPv4 header's
    t.frames[-1] = bytes(damaged)
    broken("checksum", t)
    t = Talk(version=6)
    t.us(ACK, 1, 1, check=3)
    broken("checksum", t)


@tap.case
def wrong_checksum_of_an_icmp_message_is_found():
    for version, ethertype in ((4, packets.IP4), (6, packets.IP6)):
        t = Talk(version)
        if version == 4:
            message = packets.ip4(t.ours, t.peer, packets.ICMP, packets.icmp4(0, 0, b"ping")[:-1] + b"!")
        else:
            message = packets.ip6(t.ours, t.peer, packets.ICMP6, packets.icmp6(t.ours, t.peer, 129, 0, b"ping")[:-1] + b"!")
        t.frames.append(packets.ethernet(PEER, OURS, ethertype, message))
        broken("checksum", t)


@tap.case
def malformed_frames_are_found():
    t = talked()
    t.us(ACK, 501, 501)
    broken("malformed", cut(t, 60), Talk().us(ACK, 1, 1, options=b"\x08\x01\x00\x00"), Talk().us(ACK, 1, 1, words=4))


def cut(t, length):
    t.frames[-1] = t.frames[-1][:length]
    return t


@tap.case
def ipv4_identification_is_zero_with_df_and_segments_carry_df():
    broken("ip4-id", talked().us(ACK, 501, 501, ident=7), talked().us(ACK, 501, 501, bits=0))


@tap.case
def flow_label_that_changes_is_found():
    t = Talk(6).us(ACK, 1, 1)
    tap.equal(t.rules(), [])
    broken("flow-label", t.us(ACK, 1, 1, label=5))


@tap.case
def other_bytes_in_a_repetition_are_found():
    broken("repetition", talked().us(ACK, 501, 501, b"d" * 100).us(ACK, 501, 501, b"d" * 50 + b"e"))


@tap.case
def data_after_a_fin_and_a_second_fin_elsewhere_are_found():
    broken("fin", talked().us(FIN | ACK, 501, 501).us(ACK, 501, 501, b"x"), talked().us(FIN | ACK, 501, 501).us(FIN | ACK, 502, 501))


@tap.case
def gap_in_what_we_send_is_found():
    broken("gap", talked().us(ACK, 502, 501, b"x"))


@tap.case
def options_of_a_syn_that_were_not_offered_or_come_later_are_found():
    t = Talk()
    t.frames = []
    t.they(SYN, 0, None, options=packets.options(1460)).us(SYN | ACK, 0, 1, window=8000, options=packets.options(1460, SHIFT))
    broken("syn-options", t, talked().us(ACK, 501, 501, options=packets.options(1460, ts=(9500, 100))))
    t = Talk(ts=False)
    t.frames = []
    t.they(SYN, 0, None, options=packets.options(1460)).us(SYN | ACK, 0, 1, window=8000, options=b"")
    broken("syn-options", t)


@tap.case
def tcp_to_a_group_is_found():
    t = talked()
    t.us(ACK, 501, 501)
    t.frames[-1] = packets.mac_bytes("ff:ff:ff:ff:ff:ff") + t.frames[-1][6:]
    broken("group", t)


@tap.case
def low_hop_limit_is_found():
    broken("hop-limit", talked().us(ACK, 501, 501, ttl=63), Talk(6).us(ACK, 1, 1, hops=1))
    t = Talk(6)
    na = packets.icmp6(t.ours, t.peer, 136, 0, bytes(20))
    t.frames.append(packets.ethernet(PEER, OURS, packets.IP6, packets.ip6(t.ours, t.peer, packets.ICMP6, na, hops=64)))
    broken("hop-limit", t)


@tap.case
def connection_that_we_opened_is_judged_like_one_of_the_peers():
    tap.equal(talked(opened=True).rules(), [])
    tap.equal(talked(opened=True, version=6, ts=False, sack_ok=False).rules(), [])
    broken("window", Talk(opened=True).us(ACK | PSH, 1, 1, b"q" * 1440).us(ACK | PSH, 1441, 1, b"q" * 1440).us(ACK | PSH, 2881, 1, b"q" * 1440))
    broken("repetition", talked(opened=True).us(ACK | PSH, 1, 501, b"b" * 500))
    broken("syn-options", Talk().us(SYN, 0, 0, b"x", options=packets.options(1460)))


@tap.case
def connection_that_follows_on_the_same_ports_is_another_one():
    t = talked().us(FIN | ACK, 501, 501).they(FIN | ACK, 501, 502).us(ACK, 502, 502)
    second = Talk()
    for i, frame in enumerate(second.frames):  # both sides' numbers move on
        p = packets.Packet(frame)
        s = p.tcp
        raise_by = 70000
        segment = packets.tcp(p.src, p.dst, s.sport, s.dport, s.seq + raise_by, s.ack + raise_by if s.flags & ACK else 0, s.flags, s.window,
                              frame[54:54 + s.options_len])
        t.frame(p.src, p.dst, segment)
    tap.equal(t.rules(), [])


@tap.case
def program_says_what_it_found_and_exits_by_it():
    good, bad = f"{folder}/good.pcap", f"{folder}/bad.pcap"
    packets.pcap_write(good, clean(4).frames)
    packets.pcap_write(bad, talked().us(ACK, 501, 502).frames)
    for arguments, status, word in (([good], 0, ""), ([good, bad], 1, "bad.pcap: frame 7: ack: 502"), (["--expert", good], 0, "")):
        done = subprocess.run([f"{ROOT}/tests/wire/oracle/oracle.py", "--mac", OURS, *arguments], stdout=subprocess.PIPE, text=True)
        tap.check(done.returncode == status and word in done.stdout, f"{arguments}: {done.returncode}: {done.stdout}")
    nobody = subprocess.run([f"{ROOT}/tests/wire/oracle/oracle.py", "--mac", "02:00:00:00:00:77", good])
    tap.equal(nobody.returncode, 2, "a capture without a frame of that host")


tap.run(after=lambda: shutil.rmtree(folder, ignore_errors=True))
