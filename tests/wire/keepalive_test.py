#!/usr/bin/python3
"""keepalive_test.py: silence on a connection, with Linux as the peer: who asks, who answers, who is given up."""
import socket
import time

import rig
import streams
import tap

IDLE_MS = 200  # of ours, and its interval: a peer whose answers did not count would be given up after 1.4 s (Linux answers twice a second)
SILENCE = 3    # seconds
QUESTIONS = 5  # Linux gives up when so many in a row went unanswered, one a second: five seconds for us to get a core

wire = rig.Wire()


@tap.case
def silent_peer_that_answers_is_kept():
    """Its application does nothing; its kernel answers."""
    for address in (rig.OURS4, rig.OURS6):
        with streams.connect(address, streams.ECHO) as s:
            time.sleep(SILENCE)
            s.sendall(b"still here")
            streams.equal(streams.take(s, 10), b"still here")


@tap.case
def keep_alives_of_linux_are_answered():
    """More questions than Linux would ask of somebody who does not answer, and then the connection still carries data."""
    for address in (rig.OURS4, rig.OURS6):
        with streams.connect(address, streams.ECHO) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, QUESTIONS)):
                s.setsockopt(socket.IPPROTO_TCP, option, value)
            before = asked()
            rig.wait_for(lambda: asked() - before > QUESTIONS, "Linux asks")
            s.sendall(b"still there")
            streams.equal(streams.take(s, 11), b"still there")


def asked():
    """Keep-alives that this namespace's kernel has sent."""
    with open("/proc/thread-self/net/netstat") as f:
        names, values = [line.split() for line in f if line.startswith("TcpExt:")]
    return int(dict(zip(names, values))["TCPKeepAlive"])


@tap.case
def peer_that_vanished_is_given_up():
    """Nothing of ours reaches it, nor does it say anything; when it comes back its connection is gone."""
    s = streams.connect(rig.OURS4, streams.ECHO)
    s.sendall(b"hello")
    streams.equal(streams.take(s, 5), b"hello")
    rig.run("nft", "add table inet gone; add chain inet gone input { type filter hook input priority -300; }; "
            "add rule inet gone input tcp sport 7 counter drop")
    try:
        rig.wait_for(lambda: dropped() >= 7, "six questions and a reset were lost")
    finally:
        rig.run("nft", "delete table inet gone")
    try:
        s.sendall(b"back again")
        got = s.recv(1)
    except ConnectionError:
        return
    finally:
        s.close()
    raise AssertionError(f"the connection lives on: {got!r}")


def dropped():
    return int(rig.run("nft", "list", "table", "inet", "gone").split("packets ")[1].split()[0])


@tap.case
def nothing_is_left_open():
    said = wire.stop_echo()
    tap.equal(said["gauge"]["conns"], 0, f"{said['counter']}")
    tap.equal(said["counter"].get("tcp_keepalive_dead"), 1, "given up")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge(least=40)


def before():
    wire.make_peer()
    wire.capture_start()
    wire.start_echo("--keepalive", IDLE_MS)


tap.run(before, wire.end)
