#!/usr/bin/python3
"""virtio_test.py: ours on virtio-user, ww-bridge between it and the TAP; deaths on both ends of the socket."""
import socket
import subprocess

import rig
import streams
import tap

MEGA = 1 << 20

wire = rig.Wire()


def answered(address):
    """Bounded tries: frames on their way when a process died are lost, as on a wire."""
    rig.wait_for(lambda: "1 received" in rig.run("ping", "-n", "-q", "-c", "1", "-W", "1", address, ok=None), f"{address} answers")


@tap.case
def ping_is_answered():
    answered(rig.OURS4)


@tap.case
def ping_is_answered_over_ipv6():
    answered(rig.OURS6)


@tap.case
def checksums_are_agreed_with_the_peer_over_the_socket():
    tap.check("rx_tcp_csum=1 tx_ip4_csum=0 tx_tcp_csum=1" in wire.echo.said(), wire.echo.said())


@tap.case
def echo_is_exact_over_ipv4():
    for size in (1, 1448, 1449, 65537, MEGA):
        streams.echo(rig.OURS4, streams.pattern(size))


@tap.case
def echo_is_exact_over_ipv6():
    for size in (1, 1428, 1429, 65537, MEGA):
        streams.echo(rig.OURS6, streams.pattern(size))


@tap.case
def discard_takes_four_megabytes():
    for address in (rig.OURS4, rig.OURS6):
        streams.discard(address, streams.pattern(4 * MEGA))


@tap.case
def chargen_is_exact():
    for address in (rig.OURS4, rig.OURS6):
        with streams.connect(address, streams.CHARGEN) as s:
            streams.equal(streams.take(s, 4 * MEGA), streams.chargen_bytes(4 * MEGA))
            tap.check(streams.ended(s), "bytes after the last one")


@tap.case
def two_hundred_connections_at_once_each_get_their_own_bytes():
    connections = {streams.connect((rig.OURS4, rig.OURS6)[i % 2], streams.ECHO): streams.pattern(3000, b"%d" % i) for i in range(200)}
    for s, data in connections.items():
        s.sendall(data)
    for s, data in connections.items():
        streams.equal(streams.take(s, len(data)), data)
        s.shutdown(socket.SHUT_WR)
        tap.check(streams.ended(s), "bytes after the last one")
        s.close()


@tap.case
def killed_dataplane_comes_back_on_the_same_bridge():
    mac = wire.mac
    for _ in range(3):
        wire.echo.kill()
        wire.start_echo("--chargen", 4 * MEGA)
        tap.equal(wire.mac, mac, "our MAC")  # peers keep their neighbour entry
        answered(rig.OURS4)
        streams.echo(rig.OURS6, streams.pattern(100000))


@tap.case
def dataplane_that_ended_in_order_comes_back_on_the_same_bridge():
    wire.stop_echo()
    wire.start_echo("--chargen", 4 * MEGA)
    streams.echo(rig.OURS4, streams.pattern(100000))


@tap.case
def bridge_with_no_dataplane_drops_what_it_cannot_deliver():
    wire.echo.kill()
    for _ in range(5):
        rig.run("ping", "-n", "-q", "-c", "1", "-W", "1", rig.OURS4, ok=False)
    wire.start_echo("--chargen", 4 * MEGA)
    streams.echo(rig.OURS4, streams.pattern(100000))


@tap.case
def dataplane_whose_bridge_was_killed_notices():
    """virtio-user cannot connect anew; what it can do is end, so that whoever watches starts it again."""
    wire.bridge.kill()
    rig.wait_for(lambda: not wire.echo.alive(), "ours ends")
    tap.equal(wire.echo.process.returncode, 3, wire.echo.said())


@tap.case
def killed_bridge_starts_again_over_its_dead_socket():
    wire.start_bridge()
    wire.start_echo("--chargen", 4 * MEGA)
    answered(rig.OURS6)
    streams.echo(rig.OURS4, streams.pattern(100000))


@tap.case
def second_bridge_on_a_living_socket_is_refused():
    done = subprocess.run([wire.bridge_program, "--vhost", wire.socket, "--tap", rig.TAP], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=rig.BOUND)
    tap.check(done.returncode == 1, f"exit {done.returncode}: {done.stdout}")
    answered(rig.OURS4)


@tap.case
def idle_bridge_sleeps():
    """It gives up the processor by itself; a loop that only polls never does."""
    before = switches()
    rig.wait_for(lambda: switches() > before + 100, "the bridge sleeps")


def switches():
    with open(f"/proc/{wire.bridge.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt_switches"))


@tap.case
def both_end_in_order():
    said = wire.stop_echo()
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, f"{said['counter']}")
    wire.bridge.stop()


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge(trust_peer=True)


def before():
    wire.make_peer()
    wire.capture_start()
    wire.start_bridge()
    wire.start_echo("--chargen", 4 * MEGA)


tap.run(before, wire.end)
