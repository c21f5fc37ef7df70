#!/usr/bin/python3
"""What we put on the wire, judged by Wireshark's dissectors: no malformed packet, bad checksum or protocol violation of ours."""
import os
import subprocess
import sys

sys.path[:0] = [os.path.join(os.path.dirname(__file__), "..", *part) for part in (["lib"], ["wire", "oracle"])]
import client
import house
import load
import oracle
import tap
import tcpdump

h = house.House()
FRAMES = f"{h.state}/frames.pcap"
MAC = "02:57:57:00:00:02"  # dev.d/state.sh
CHECKS = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "tcp.analyze_sequence_numbers:TRUE"]
# Wireshark's notes on what TCP does when it must: no violations.
REMARKS = {"tcp.analysis.retransmission", "tcp.analysis.fast_retransmission", "tcp.analysis.duplicate_ack", "tcp.analysis.keep_alive",
           "tcp.analysis.window_update", "tcp.analysis.zero_window", "tcp.analysis.window_full", "tcp.analysis.zero_window_probe",
           "tcp.analysis.zero_window_probe_ack", "tcp.analysis.spurious_retransmission", "tcp.analysis.out_of_order",
           "tcp.options.sack.dsack"}
# Wireshark calls it malformed when a retransmission overlaps what it has put together already.
AGAIN = ("(tcp.analysis.retransmission || tcp.analysis.fast_retransmission || tcp.analysis.spurious_retransmission"
         " || tcp.analysis.out_of_order)")


def up():
    h.up()
    capture = tcpdump.Capture("ww0", FRAMES, house.wait_for)
    subprocess.run(["ip", "neigh", "flush", "dev", "ww0"], check=True)  # so that the kernel asks, and we answer
    traffic()
    capture.stop()


def traffic():
    """A bit of everything that goes over the wire elsewhere in these tests."""
    for address in (h.address, h.address6):
        for tls in ("1.2", "1.3"):
            c = client.Connection(h, address, tls=tls)
            c.unwrapped(c.wrapped(b"x" * 32, b"aad"), b"aad")
            c.wrapped(os.urandom(128 * 1024), os.urandom(64 * 1024))
            c.send(b"".join(client.request(h, f"{h.key}:wrap", client.wrap_body(b"x")) for _ in range(20)))
            for _ in range(20):
                c.reply()
            c.close()
        c = client.Connection(h, address)
        c.post("no/such/key:wrap", b"{}", version="1.0")
        c.close()
        try:
            client.tcp(address, 444).close()
        except ConnectionRefusedError:
            pass
        s = client.tcp(address)
        s.sendall(b"garbage")
        s.close()
        subprocess.run(["ping", "-c", "3", "-i", "0.2", "-s", "1400", address], check=True, stdout=subprocess.DEVNULL)
    load.Load(h, count=4, wraps=400).start().join()


def tshark(display, *fields):
    """The values of the fields in every frame that passes the filter."""
    arguments = [a for f in fields for a in ("-e", f)]
    done = subprocess.run(["tshark", "-n", "-r", FRAMES, *CHECKS, "-Y", display, "-T", "fields", "-E", "separator=/t",
                           *arguments], capture_output=True, text=True, timeout=house.BOUND)
    tap.equal(done.returncode, 0, done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()]


def ours():
    return f"(ip.src == {h.address} || ipv6.src == {h.address6} || arp.src.proto_ipv4 == {h.address})"


def none(display, what):
    found = tshark(f"{ours()} && ({display})", "frame.number", "_ws.col.Info")
    tap.check(not found, f"{len(found)} {what}, first {found[:5]}")


@tap.case
def there_is_something_to_judge():
    for family in ("ip.src", "ipv6.src"):
        count = len(tshark(f"{family} && tcp && {ours()}", "frame.number"))
        tap.check(count > 100, f"{count} frames of ours with {family}")
    tap.check(tshark(f"arp && {ours()}", "frame.number"), "no ARP of ours")
    tap.check(tshark(f"icmpv6.type == 136 && {ours()}", "frame.number"), "no neighbour advertisement of ours")


@tap.case
def no_frame_of_ours_is_malformed():
    none(f"_ws.malformed && !{AGAIN}", "malformed frames")


@tap.case
def no_checksum_of_ours_is_bad():
    none("ip.checksum.status == 0 || tcp.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0",
         "bad checksums")


@tap.case
def no_error_is_found_by_the_expert():
    none(f"_ws.expert.severity == error && !{AGAIN}", "expert errors")


@tap.case
def no_warning_of_the_expert_but_remarks_on_tcp():
    allowed = " || ".join([*sorted(REMARKS), "tcp.connection.rst"])
    none(f"_ws.expert.severity == warning && !({allowed})", "expert warnings")


@tap.case
def no_segment_of_ours_was_lost_on_our_side():
    none("tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment", "gaps in what we sent")


@tap.case
def no_segment_of_ours_is_over_the_peers_mss():
    none("tcp.len > 1460", "segments over the peer's MSS")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    """Of those that the oracle knows: D-SACK blocks and repetitions among them, about which Wireshark has but remarks."""
    seen = oracle.judge(FRAMES, [MAC])
    tap.check(seen.segments > 200, f"{seen.segments} segments of ours")
    tap.equal([f"{rule}: frame {number}: {text}" for rule, number, text in seen.found[:10]], [], f"{len(seen.found)} breaches")


@tap.case
def every_reset_of_ours_answers_something():
    for number, flags, ack in tshark(f"{ours()} && tcp.flags.reset == 1", "frame.number", "tcp.flags", "tcp.ack"):
        tap.check(int(flags, 16) & 0x10 or ack == "0", f"frame {number}: RST with flags {flags}")


@tap.case
def the_wire_shows_no_plaintext():
    with open(FRAMES, "rb") as f:
        frames = f.read()
    for secret in (b"Bearer ", b"wrappedBlob", b"HTTP/1.1 200"):
        tap.check(secret not in frames, f"{secret!r} on the wire")


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
