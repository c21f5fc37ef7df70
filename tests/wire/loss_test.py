#!/usr/bin/python3
"""loss_test.py [--no-offload]: our TCP with Linux as its peer, a share of the frames dropped in either direction.

The peer's kernel drops (nft numgen), and counts what it dropped: a run in which nothing was lost proves nothing and fails.
"""
import re

import rig
import streams
import tap

MEGA = 1 << 20

wire = rig.Wire()


def drop(percent, where):
    """where: "to us" or "from us"."""
    hook, device = {"to us": ("postrouting", "oifname"), "from us": ("prerouting", "iifname")}[where]
    rig.run("nft", f'add table inet loss; add chain inet loss {hook} {{ type filter hook {hook} priority -300; }}; '
                   f'add rule inet loss {hook} {device} "{rig.TAP}" meta l4proto tcp numgen inc mod {100 // percent} == 7 counter drop')


def dropped():
    return sum(int(n) for n in re.findall(r"counter packets (\d+)", rig.run("nft", "list", "table", "inet", "loss")))


class Loss:
    def __init__(self, percent, *where):
        self.percent, self.where = percent, where

    def __enter__(self):
        # One frame is one segment: a 64 KiB burst that the kernel cuts up later would be counted, and lost, as one.
        rig.run("ethtool", "-K", rig.TAP, "tso", "off", "gso", "off")
        for w in self.where:
            drop(self.percent, w)

    def __exit__(self, kind, *_):
        lost = dropped()
        rig.run("nft", "delete table inet loss")
        if kind is None:
            tap.check(lost > 0, "nothing was lost")


def chargen(address, length):
    with streams.connect(address, streams.CHARGEN) as s:
        streams.equal(streams.take(s, length), streams.chargen_bytes(length))
        tap.check(streams.ended(s), "bytes after the last one")


@tap.case
def what_we_send_arrives_exact_with_one_percent_lost_on_its_way():
    with Loss(1, "from us"):
        for address in (rig.OURS4, rig.OURS6):
            chargen(address, MEGA)


@tap.case
def what_we_send_arrives_exact_with_three_percent_lost_on_its_way():
    with Loss(3, "from us"):
        for address in (rig.OURS4, rig.OURS6):
            chargen(address, MEGA)


@tap.case
def what_we_send_arrives_exact_with_three_percent_of_the_acknowledgements_lost():
    with Loss(3, "to us"):
        for address in (rig.OURS4, rig.OURS6):
            chargen(address, MEGA)


@tap.case
def what_is_sent_to_us_arrives_with_three_percent_lost_on_its_way():
    with Loss(3, "to us"):
        for address in (rig.OURS4, rig.OURS6):
            streams.discard(address, streams.pattern(MEGA))


@tap.case
def echo_is_exact_with_two_percent_lost_in_both_directions_over_ipv4():
    with Loss(2, "to us", "from us"):
        streams.echo(rig.OURS4, streams.pattern(MEGA))


@tap.case
def echo_is_exact_with_two_percent_lost_in_both_directions_over_ipv6():
    with Loss(2, "to us", "from us"):
        streams.echo(rig.OURS6, streams.pattern(MEGA))


@tap.case
def fifty_connections_begin_and_end_in_order_with_three_percent_lost():
    """Lost SYNs, SYN-ACKs and FINs: each is sent again."""
    with Loss(3, "to us", "from us"):
        for i in range(50):
            streams.echo((rig.OURS4, rig.OURS6)[i % 2], streams.pattern(2000, b"%d" % i))


@tap.case
def every_tenth_frame_lost_still_moves_a_stream():
    with Loss(10, "to us", "from us"):
        streams.echo(rig.OURS4, streams.pattern(60000))


@tap.case
def what_was_lost_was_sent_again_and_nothing_is_left_open():
    said = wire.stop_echo()
    tap.check(said["counter"].get("tcp_retransmits", 0) > 0, f"{said['counter']}")
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, f"{said['counter']}")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge()


def before():
    wire.make_peer()
    wire.capture_start()
    wire.start_echo("--chargen", MEGA)


tap.run(before, wire.end)
