#!/usr/bin/python3
"""tcp_test.py [--no-offload]: our TCP with Linux as its peer, over IPv4 and IPv6, no frame lost."""
import selectors
import socket
import struct
import subprocess
import time

import rig
import streams
import tap

MEGA = 1 << 20
CHARGEN = 12 * MEGA
# Around one segment with and without timestamps (1448, 1460; 1428, 1440), around the 64 KiB buffers, and far beyond them.
SIZES = (1, 2, 73, 535, 536, 1427, 1428, 1429, 1440, 1447, 1448, 1449, 1460, 2896, 14600, 65535, 65536, 65537, 200001)

wire = rig.Wire()


def echo_of_every_size(address):
    for size in SIZES:
        streams.echo(address, streams.pattern(size))


@tap.case
def echo_of_every_size_is_exact_over_ipv4():
    echo_of_every_size(rig.OURS4)


@tap.case
def echo_of_every_size_is_exact_over_ipv6():
    echo_of_every_size(rig.OURS6)


@tap.case
def three_megabytes_come_back_exact():
    for address in (rig.OURS4, rig.OURS6):
        streams.echo(address, streams.pattern(3 * MEGA), window=60000)


@tap.case
def bytes_written_one_by_one_come_back_exact():
    data = streams.pattern(300)
    with streams.connect(rig.OURS4, streams.ECHO) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            s.sendall(bytes([byte]))
        streams.equal(streams.take(s, len(data)), data)


def everything_is_acknowledged(address):
    streams.discard(address, streams.pattern(CHARGEN))


@tap.case
def discard_takes_twelve_megabytes_over_ipv4():
    everything_is_acknowledged(rig.OURS4)


@tap.case
def discard_takes_twelve_megabytes_over_ipv6():
    everything_is_acknowledged(rig.OURS6)


def chargen_is_exact(address):
    with streams.connect(address, streams.CHARGEN) as s:
        streams.equal(streams.take(s, CHARGEN), streams.chargen_bytes(CHARGEN))
        tap.check(streams.ended(s), "bytes after the last one")


@tap.case
def chargen_sends_twelve_megabytes_exact_over_ipv4():
    chargen_is_exact(rig.OURS4)


@tap.case
def chargen_sends_twelve_megabytes_exact_over_ipv6():
    chargen_is_exact(rig.OURS6)


@tap.case
def half_closed_peer_still_gets_everything():
    """FIN right behind the data: the reply must follow it all the same."""
    data = streams.pattern(30000)
    for address in (rig.OURS4, rig.OURS6):
        with streams.connect(address, streams.ECHO) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            streams.equal(streams.take(s, len(data)), data)
            tap.check(streams.ended(s), "bytes after the last one")


@tap.case
def netcat_that_ends_its_input_gets_its_echo():
    data = streams.pattern(20000)
    done = subprocess.run(["nc", "-N", rig.OURS4, str(streams.ECHO)], input=data, stdout=subprocess.PIPE, timeout=rig.BOUND)
    tap.equal(done.returncode, 0, "nc")
    streams.equal(done.stdout, data)


@tap.case
def connection_without_a_byte_ends_in_order():
    for address in (rig.OURS4, rig.OURS6):
        with streams.connect(address, streams.ECHO) as s:
            s.shutdown(socket.SHUT_WR)
            tap.check(streams.ended(s), "bytes from nowhere")


@tap.case
def closed_port_refuses():
    for address in (rig.OURS4, rig.OURS6):
        try:
            streams.connect(address, streams.CLOSED_PORT).close()
        except ConnectionRefusedError:
            continue
        raise AssertionError(f"{address}: port {streams.CLOSED_PORT} is open")


@tap.case
def three_hundred_connections_at_once_each_get_their_own_bytes():
    connections = {}
    for i in range(300):
        address = (rig.OURS4, rig.OURS6)[i % 2]
        connections[streams.connect(address, streams.ECHO)] = streams.pattern(5000, b"%d" % i)
    for s, data in connections.items():
        s.sendall(data)
    for s, data in connections.items():
        streams.equal(streams.take(s, len(data)), data)
        s.shutdown(socket.SHUT_WR)
    for s in connections:
        tap.check(streams.ended(s), "bytes after the last one")
        s.close()


@tap.case
def five_hundred_connections_one_after_the_other_each_end_in_order():
    data = streams.pattern(100)
    for i in range(500):
        streams.echo((rig.OURS4, rig.OURS6)[i % 2], data)


@tap.case
def port_of_a_connection_that_we_closed_first_can_be_used_again():
    """Linux reuses the port at once after a reset; ours must not take the new SYN for the old connection's."""
    with socket.socket() as probe:
        probe.bind((rig.PEER4, 0))
        source = probe.getsockname()
    data = streams.pattern(1000)
    for _ in range(20):
        s = streams.connect(rig.OURS4, streams.ECHO, source=source)
        s.sendall(data)
        streams.equal(streams.take(s, len(data)), data)
        streams.reset(s)


def stalled(s):
    """True once nothing more arrives at a socket that nobody reads: its window is shut."""
    before = unread(s)
    time.sleep(0.5)
    return before > 0 and unread(s) == before


def segments_in(s):
    """tcpi_segs_in: what the kernel got on that connection."""
    return struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192), 140)[0]


def unread(s):
    return len(s.recv(1 << 22, socket.MSG_PEEK))


def slow_reader_gets_everything(address):
    with streams.connect(address, streams.CHARGEN, receive_buffer=2304) as s:
        rig.wait_for(lambda: stalled(s), "the window is shut")
        heard = segments_in(s)
        rig.wait_for(lambda: segments_in(s) >= heard + 2, "two probes of the shut window")
        got = bytearray()
        for _ in range(40):  # windows of a few hundred bytes open and shut again
            got += take_some(s, 700)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        got += streams.take(s, MEGA - len(got))
        streams.equal(bytes(got), streams.chargen_bytes(MEGA))
        streams.reset(s)


def take_some(s, length):
    return s.recv(length)


@tap.case
def reader_that_shut_its_window_gets_everything_once_it_reads_over_ipv4():
    slow_reader_gets_everything(rig.OURS4)


@tap.case
def reader_that_shut_its_window_gets_everything_once_it_reads_over_ipv6():
    slow_reader_gets_everything(rig.OURS6)


@tap.case
def writer_is_held_back_by_an_echo_that_nobody_reads():
    """Both buffers of ours fill, our window shuts; nothing is lost when the peer reads at last."""
    data = streams.pattern(MEGA)
    with streams.connect(rig.OURS4, streams.ECHO, receive_buffer=4096) as s:
        s.setblocking(False)
        sent = 0
        stuck = 0
        while stuck < 20:  # the peer's own send buffer is full, and stays so
            try:
                sent += s.send(data[sent:sent + 16384])
                stuck = 0
            except BlockingIOError:
                stuck += 1
                time.sleep(0.05)
            if sent == len(data):
                break
        back = bytearray()
        poll = selectors.DefaultSelector()
        poll.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE)
        until = time.monotonic() + rig.BOUND
        while len(back) < len(data):
            tap.check(time.monotonic() < until, f"stuck after {sent} sent and {len(back)} back")
            poll.modify(s, selectors.EVENT_READ | (selectors.EVENT_WRITE if sent < len(data) else 0))
            for _, events in poll.select(1):
                if events & selectors.EVENT_READ:
                    back += s.recv(65536)
                if events & selectors.EVENT_WRITE:
                    sent += s.send(data[sent:sent + 16384])
        streams.equal(bytes(back), data)


@tap.case
def reset_by_the_peer_touches_no_other_connection():
    data = streams.pattern(5000)
    with streams.connect(rig.OURS4, streams.ECHO) as other:
        for _ in range(20):
            s = streams.connect(rig.OURS4, streams.ECHO)
            s.sendall(data)
            streams.reset(s)
        other.sendall(data)
        streams.equal(streams.take(other, len(data)), data)


@tap.case
def peer_behind_a_gateway_gets_its_echo():
    with wire.inside(wire.far):
        for address in (rig.OURS4, rig.OURS6):
            streams.echo(address, streams.pattern(100000))


@tap.case
def peer_on_a_narrow_path_gets_segments_that_fit():
    """Its interface says 1280: the MSS that it offers is smaller, and ours must keep to it, options included."""
    rig.run("ip", "link", "set", rig.TAP, "mtu", "1280")
    try:
        for address in (rig.OURS4, rig.OURS6):
            with streams.connect(address, streams.CHARGEN) as s:
                streams.equal(streams.take(s, 500000), streams.chargen_bytes(500000))
                streams.reset(s)
    finally:
        rig.run("ip", "link", "set", rig.TAP, "mtu", "1500")


@tap.case
def nothing_is_left_open_and_nothing_was_corrupt():
    said = wire.stop_echo()
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, f"{said['counter']}")
    bad = [name for name in said["counter"] if "checksum" in name]
    tap.equal(bad, [], f"all counters {said['counter']}")
    tap.check(said["counter"].get("tcp_probes", 0) > 0, "no window was probed: the slow readers were not slow")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge()


def before():
    wire.make_peer()
    wire.make_far()
    wire.capture_start()
    wire.start_echo("--chargen", CHARGEN)


tap.run(before, wire.end)
