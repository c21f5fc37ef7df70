#!/usr/bin/python3
"""calls_test.py: connections that we open, to servers of the Linux kernel, over IPv4 and IPv6."""
import contextlib
import socket
import threading

import rig
import tap

ECHO_PORT, DEAD_PORT = 7007, 7008

wire = rig.Wire()


def serve(s):
    """Gives back what comes until the other end has no more."""
    with s, contextlib.suppress(OSError):
        while data := s.recv(65536):
            s.sendall(data)


def accept(listener):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=serve, args=(s,), daemon=True).start()


def listen(family, port, backlog):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((rig.PEER6 if family == socket.AF_INET6 else rig.PEER4, port))
    s.listen(backlog)
    return s


def calls(address, port, count, size, *more):
    """What ours counted once all its calls were over."""
    wire.start_echo("--call", address, "--port", port, "--calls", count, "--bytes", size, *more)
    rig.wait_for(lambda: not wire.echo.alive(), "the calls are over")
    return wire.stop_echo()


def all_come_back(said, count):
    got = {name: said["counter"].get(name, 0) for name in ("calls_finished", "calls_refused", "calls_failed", "calls_wrong")}
    tap.equal(got, {"calls_finished": count, "calls_refused": 0, "calls_failed": 0, "calls_wrong": 0}, f"{said['counter']}")
    tap.equal(said["gauge"], {"conns": 0, "recv_buffers": 0, "send_buffers": 0}, "what is left")
    tap.equal(said["counter"]["tcp_connected"], count, "connected")


@tap.case
def two_hundred_connections_to_linux_echo_exactly_over_ipv4():
    all_come_back(calls(rig.PEER4, ECHO_PORT, 200, 20000), 200)


@tap.case
def two_hundred_connections_to_linux_echo_exactly_over_ipv6():
    all_come_back(calls(rig.PEER6, ECHO_PORT, 200, 20000), 200)


@tap.case
def large_streams_to_linux_echo_exactly():
    all_come_back(calls(rig.PEER4, ECHO_PORT, 4, 2000000), 4)


@tap.case
def port_where_nobody_listens_refuses():
    for address in (rig.PEER4, rig.PEER6):
        said = calls(address, DEAD_PORT, 20, 100)
        tap.equal(said["counter"].get("calls_refused"), 20, f"{said['counter']}")
        tap.equal(said["gauge"]["conns"], 0, "what is left")


@tap.case
def nothing_that_we_sent_broke_a_rule():
    wire.judge()


def before():
    wire.make_peer()
    wire.capture_start()
    for family in (socket.AF_INET, socket.AF_INET6):
        threading.Thread(target=accept, args=(listen(family, ECHO_PORT, 256),), daemon=True).start()


tap.run(before, wire.end)
