#!/usr/bin/python3
"""relayed_test.py [--long]: our TCP with Linux as its peer, ww-relay between the two: every stream is byte-exact, whatever it does.

A relay that was to impair and did not fails its case.  RELAY_SEED in the environment chooses another seed; what is printed with a
failure says what the relay did.
"""
import os

import rig
import streams
import tap
from relaying import Relay

MEGA = 1 << 20
LONG = 100 * MEGA

wire = rig.Wire()
SEED = int(os.environ.get("RELAY_SEED", "1"))
SIZE = LONG if wire.long else 2 * MEGA
did = {}
lost_from_us = 0


def both_ways(address, **how):
    """SIZE bytes from us, then to us, each way through the same relay."""
    with Relay(wire, seed=SEED, **how) as r:
        with streams.connect(address, streams.CHARGEN) as s:
            streams.equal(streams.take(s, SIZE), streams.chargen_bytes(SIZE))
            tap.check(streams.ended(s), "bytes after the last one")
        streams.discard(address, streams.pattern(SIZE), seconds=rig.BOUND * (20 if wire.long else 2))
        done = r.stop()
    global lost_from_us
    lost_from_us += done["from_us"].get("lost", 0)
    for direction, what in done.items():
        tap.equal(what["missed"], 0, f"{direction}: frames that the relay did not get")
        for name, count in what.items():
            did[name] = did.get(name, 0) + count
    print(f"# {how}: to us { {k: v for k, v in done['to_us'].items() if v} }, from us { {k: v for k, v in done['from_us'].items() if v} }")


def claim(name, **how):
    """One case for each family."""
    for family, address in (("ipv4", rig.OURS4), ("ipv6", rig.OURS6)):
        def case(address=address):
            both_ways(address, **how)
        case.__name__ = f"{name}_over_{family}"
        tap.case(case)


def same(spec):
    return {"to_us": spec, "from_us": spec}


claim("streams_are_exact_with_one_percent_lost", **same("loss=1,delay_us=500"))
claim("streams_are_exact_with_three_percent_lost", **same("loss=3,delay_us=500"))
claim("streams_are_exact_with_two_percent_reordered", **same("reorder=2,reorder_us=3000,delay_us=500"))
if not wire.long:
    claim("streams_are_exact_with_two_percent_repeated", **same("dup=2"))
    claim("streams_are_exact_with_one_percent_corrupted", **same("corrupt=1"))
    claim("streams_are_exact_with_half_a_percent_cut_short", **same("truncate=0.5"))
    claim("streams_are_exact_with_four_lost_in_a_row_now_and_then", **same("burst=0.3,burst_len=4"))
    claim("streams_are_exact_when_the_path_stands_still_for_a_moment", **same("spike=0.2,spike_us=400000"))
    claim("streams_are_exact_with_everything_at_once",
          **same("loss=0.5,dup=1,reorder=1,corrupt=0.5,truncate=0.2,delay_us=1000"))
    # RFC 9293 3.4.1 and 3.6: what carries SYN or FIN is sent again as well
    claim("connections_begin_though_the_first_two_answers_are_lost", from_us="only=syn,drop=1/2")
    # RFC 8899: the second timeout of a full segment makes ours smaller; nobody tells. Before the next claim: Linux
    # remembers what it is told there, and announces a smaller MSS for ten minutes
    claim("streams_are_exact_through_a_narrow_path_that_tells_nothing", from_us="mtu=1300")
    # RFC 1191, 8201: "packet too big" names what fits; both ends learn it from the relay
    claim("streams_are_exact_through_a_narrow_path_that_tells_its_mtu", **same("mtu=1300,ptb=1"))
    claim("connections_end_though_the_first_fins_are_lost", to_us="only=fin,drop=1", from_us="only=fin,drop=1/2")


@tap.case
def nothing_is_left_open():
    with Relay(wire):  # whose last segment was lost gets it once more
        said = wire.stop_echo()
    print(f"# in all {did}; ours {said['counter']}")
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, f"{said['counter']}")
    tap.check(said["counter"].get("tcp_retransmits", 0) > 0, "nothing was sent again")


def d4_fewer_than_a_tenth_of_the_losses_cost_a_timeout():
    timeouts = wire.said["counter"].get("tcp_timeouts", 0)
    # half of what was lost on its way from us were acknowledgements
    tap.check(timeouts * 10 < lost_from_us / 2, f"{timeouts} timeouts, {lost_from_us} lost on their way from us")


def corrupted_segments_were_noticed():
    counted = wire.said["counter"]
    tap.check(counted.get("tcp_bad_checksum", 0) > 0, f"{counted}")


def nothing_that_we_sent_broke_a_rule():
    # a damaged copy keeps tshark from seeing the good one; whether we acknowledge what came, the oracle knows
    wire.judge(explained=("tcp.analysis.ack_lost_segment",))


# The long run loses enough to count timeouts, damages nothing, and is too large to be captured.
for last in (d4_fewer_than_a_tenth_of_the_losses_cost_a_timeout,) if wire.long else (corrupted_segments_were_noticed,
                                                                                   nothing_that_we_sent_broke_a_rule):
    tap.case(last)


def before():
    wire.make_relayed()
    if not wire.long:
        wire.capture_start()
    wire.start_echo("--chargen", SIZE)


tap.run(before, wire.end)
