#!/usr/bin/python3
"""link_test.py [--no-offload]: ARP, neighbour discovery and ICMP of ours with Linux as the neighbour."""
import contextlib
import re
import socket

import rig
import tap

wire = rig.Wire()


def answered(address, count=3, size=56, *more):
    said = rig.run("ping", "-n", "-q", "-c", count, "-i", "0.05", "-W", rig.BOUND // 2, "-s", size, *more, address)
    tap.check(f"{count} packets transmitted, {count} received" in said, said)


def neighbour(address):
    return rig.run("ip", "neigh", "show", "to", address, "dev", rig.TAP)


@tap.case
def ping_is_answered():
    answered(rig.OURS4)


@tap.case
def ping_is_answered_over_ipv6():
    answered(rig.OURS6)


@tap.case
def ping_of_every_size_that_fits_is_answered():
    for size in (0, 1, 17, 18, 555, 1471, 1472):
        answered(rig.OURS4, 1, size, "-M", "do")


@tap.case
def ping_of_every_size_that_fits_is_answered_over_ipv6():
    for size in (0, 1, 17, 18, 555, 1451, 1452):
        answered(rig.OURS6, 1, size, "-M", "do")


def fragmented_ping_is_answered(address, mtu):
    """The kernel's way to us is narrow, so it sends fragments; ours back is not, and we answer in one piece."""
    rig.run("ip", "route", "replace", address, "dev", rig.TAP, "mtu", "lock", mtu)
    try:
        answered(address, 3, 1400, "-M", "dont")
    finally:
        rig.run("ip", "route", "del", address, "dev", rig.TAP)


@tap.case
def l5_ping_in_fragments_is_answered():
    fragmented_ping_is_answered(rig.OURS4, "576")


@tap.case
def l5_ping_in_fragments_is_answered_over_ipv6():
    fragmented_ping_is_answered(rig.OURS6, "1280")


@tap.case
def ping_keeps_its_payload():
    said = rig.run("ping", "-n", "-c", "1", "-p", "c0ffee", "-s", "1000", rig.OURS4)
    tap.check("wrong data byte" not in said and "1 received" in said, said)


@tap.case
def arp_request_is_answered_with_our_mac():
    said = rig.run("arping", "-I", rig.TAP, "-f", "-w", rig.BOUND, rig.OURS4, timeout=2 * rig.BOUND)
    tap.check(wire.mac.upper() in said.upper(), said)


@tap.case
def arp_request_for_an_address_not_ours_is_not_answered():
    said = rig.run("arping", "-I", rig.TAP, "-c", "2", "-w", "2", "192.0.2.77", ok=False)
    tap.check("Received 0 response" in said, said)


@tap.case
def our_mac_is_not_the_kernels():
    link = rig.run("ip", "link", "show", rig.TAP)
    tap.check(wire.mac not in link, f"{wire.mac} is the kernel's own: {link}")


@tap.case
def neighbour_solicitation_is_answered_with_our_mac():
    rig.run("ip", "neigh", "flush", "dev", rig.TAP)
    answered(rig.OURS6, 1)
    tap.check(f"lladdr {wire.mac}" in neighbour(rig.OURS6), neighbour(rig.OURS6))


@tap.case
def unicast_probe_of_a_stale_neighbour_is_answered():
    for address in (rig.OURS4, rig.OURS6):
        answered(address, 1)
        rig.run("ip", "neigh", "change", address, "dev", rig.TAP, "nud", "probe")
        rig.wait_for(lambda: "REACHABLE" in neighbour(address), f"{address} is confirmed")


@tap.case
def our_link_local_address_is_answered_for():
    m = [int(part, 16) for part in wire.mac.split(":")]
    address = "fe80::%02x%02x:%02xff:fe%02x:%02x%02x" % (m[0] ^ 2, m[1], m[2], m[3], m[4], m[5])
    answered(f"{address}%{rig.TAP}")


@tap.case
def our_address_is_announced_without_being_asked():
    """A neighbour that had another MAC for us learns ours from the announcement after a start."""
    wire.stop_echo()
    rig.run("ip", "neigh", "replace", rig.OURS4, "lladdr", "02:00:00:00:00:99", "nud", "stale", "dev", rig.TAP)
    rig.run("sysctl", "-qw", f"net.ipv4.conf.{rig.TAP}.arp_accept=1")
    wire.start_echo()
    rig.wait_for(lambda: wire.mac in neighbour(rig.OURS4), "our announcement is heard")


@tap.case
def peer_behind_a_gateway_is_answered():
    with wire.inside(wire.far):
        answered(rig.OURS4)


@tap.case
def peer_behind_a_gateway_is_answered_over_ipv6():
    with wire.inside(wire.far):
        answered(rig.OURS6)


@tap.case
def frames_do_not_fill_the_queue_of_pending_signals():
    """The TAP driver asks for a signal per frame; with the queue full the kernel would send SIGIO, which kills."""
    rig.run("prlimit", "--pid", wire.echo.pid, "--sigpending=8")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(1000):
            with contextlib.suppress(ConnectionRefusedError):
                s.sendto(b"x", (rig.OURS4, 4))
    rig.wait_for(lambda: "1 received" in rig.run("ping", "-n", "-q", "-c", "1", "-W", "2", rig.OURS4, ok=None), "we still answer")
    with open(f"/proc/{wire.echo.pid}/status", encoding="ascii") as f:
        tap.equal(re.findall(r"(?:SigPnd|ShdPnd):\s*(\w+)", f.read()), ["0" * 16, "0" * 16], "pending signals")


@tap.case
def interface_stays_up_with_its_addresses_when_we_end():
    wire.stop_echo()
    said = rig.run("ip", "addr", "show", rig.TAP)
    tap.check("UP" in said and rig.PEER4 in said and rig.PEER6 in said, said)
    wire.start_echo()


@tap.case
def we_come_back_after_being_killed():
    wire.echo.kill()
    wire.start_echo()
    answered(rig.OURS4)
    answered(rig.OURS6)


@tap.case
def nothing_was_malformed_to_us():
    counters = wire.stop_echo()["counter"]
    bad = [name for name in counters if "checksum" in name or "runt" in name or "bad" in name]
    tap.equal(bad, [], f"all counters {counters}")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge(least=0)


def before():
    wire.make_peer()
    wire.make_far()
    wire.capture_start()
    wire.start_echo()


tap.run(before, wire.end)
