"""TCP clients of echo, discard and chargen on Linux sockets: what is sent is known, what comes back is compared byte by byte."""
import fcntl
import hashlib
import socket
import struct
import termios

import rig
import tap

ECHO, DISCARD, CHARGEN = 7, 9, 19
CLOSED_PORT = 4


def pattern(length, seed=b""):
    """The same bytes for the same seed, no two stretches alike."""
    return hashlib.shake_128(b"wirewrap wire test" + seed).digest(length)


def connect(address, port, receive_buffer=None, source=None):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    s.settimeout(rig.BOUND)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        s.bind(source)
    s.connect((address, port))
    return s


def take(s, length):
    """Exactly that many bytes."""
    out = bytearray()
    while len(out) < length:
        got = s.recv(min(65536, length - len(out)))
        if not got:
            raise AssertionError(f"the stream ended after {len(out)} of {length} bytes")
        out += got
    return bytes(out)


def ended(s):
    """True if the peer's FIN is what comes next; a reset raises."""
    return s.recv(1) == b""


def equal(got, wanted):
    if got != wanted:
        at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        raise AssertionError(f"{len(got)} bytes for {len(wanted)}, the first difference at {at}")


def echo(address, data, window=32768, **how):
    """Sends data, takes it back with at most window bytes between the two, closes in order."""
    with connect(address, ECHO, **how) as s:
        back = bytearray()
        sent = 0
        while len(back) < len(data):
            if sent < len(data) and sent - len(back) < window:
                part = data[sent:sent + window]
                s.sendall(part)
                sent += len(part)
            back += take(s, min(window, sent - len(back)))
        equal(bytes(back), data)
        s.shutdown(socket.SHUT_WR)
        tap.check(ended(s), "bytes after the last one")


def acknowledged(s):
    """True once the peer has acknowledged every byte that was sent."""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0" * 4))[0] == 0


def discard(address, data, seconds=rig.BOUND):
    with connect(address, DISCARD) as s:
        s.settimeout(seconds)
        s.sendall(data)
        rig.wait_for(lambda: acknowledged(s), "every byte is acknowledged", seconds)
        s.shutdown(socket.SHUT_WR)
        tap.check(ended(s), "discard answers")


def chargen_bytes(length, start=0):
    """What chargen sends: RFC 864's lines."""
    first = start // 74
    lines = b"".join(chargen_line(n) for n in range(first, (start + length) // 74 + 1))
    return lines[start - first * 74:][:length]


def chargen_line(n):
    return bytes(32 + (n + i) % 95 for i in range(72)) + b"\r\n"


def reset(s):
    """Ends it with a RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
