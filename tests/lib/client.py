"""An HTTPS client that sends exactly the bytes it is told to, and reads replies strictly (RFC 9112)."""
import base64
import json
import socket
import ssl
import time
import warnings

import house

TIMEOUT = 120   # seconds; ends what would hang, decides nothing else
HANDSHAKE = 5   # seconds that the server gives a handshake
TRIES = 10


def b64(data):
    return base64.b64encode(data).decode()


class Reply:
    def __init__(self, status, fields, body, version):
        self.status, self.fields, self.body, self.version = status, fields, body, version

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


class Closed(Exception):
    """The peer ended the connection where a reply was due."""


def tcp(address, port=443):
    return socket.create_connection((address, port), TIMEOUT)


def patient(attempt, came_to_nothing):
    """What attempt() gives.  Where that is nothing, and it took as long as the server's deadline, the machine stood still: as any client
    would, it is made again."""
    for _ in range(TRIES):
        begun = time.monotonic()
        got = attempt()
        if not came_to_nothing(got) or time.monotonic() - begun < HANDSHAKE:
            break
    return got


class Connection:
    """One TLS connection.  tls: "1.2", "1.3" or None for what is agreed."""

    def __init__(self, h, address=None, tls=None, receive_buffer=None):
        context = ssl.create_default_context(cafile=h.ca)
        if tls:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                context.minimum_version = context.maximum_version = {
                    "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[tls]
        self.house = h
        self.received = b""

        def attempt():
            raw = tcp(address or h.address)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            try:
                return context.wrap_socket(raw, server_hostname=house.HOST)
            except OSError as why:
                raw.close()
                return why
        self.socket = patient(attempt, lambda got: isinstance(got, OSError))
        if isinstance(self.socket, OSError):
            raise self.socket

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        more = self.socket.recv(65536)
        if not more:
            raise Closed(f"closed after {self.received[:200]!r}")
        self.received += more

    def answered(self):
        """True when bytes of a reply have come; does not wait.  (A session ticket makes the socket readable, too.)"""
        self.socket.settimeout(0)
        try:
            self.fill()
        except (ssl.SSLWantReadError, BlockingIOError):
            pass
        finally:
            self.socket.settimeout(TIMEOUT)
        return self.received != b""

    def take(self, count):
        while len(self.received) < count:
            self.fill()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def reply(self):
        """The next reply; interim ones (1xx) count."""
        while b"\r\n\r\n" not in self.received:
            self.fill()
        head, self.received = self.received.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("ascii").split("\r\n")
        version, status, _ = first.split(" ", 2)
        fields = {}
        for line in lines:
            name, value = line.split(":", 1)
            if name.lower() in fields:
                raise AssertionError(f"the reply has {name} twice")
            fields[name.lower()] = value.strip()
        length = 0 if status.startswith("1") else int(fields["content-length"])
        return Reply(int(status), fields, self.take(length), version)

    def ended(self):
        """True when the peer closes now, without another byte."""
        try:
            return self.received == b"" and self.socket.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True

    def post(self, target, body, **how):
        self.send(request(self.house, target, body, **how))
        return self.reply()

    def wrap(self, plaintext, aad=None, path=None, **how):
        return self.post(f"{path or self.house.key}:wrap", wrap_body(plaintext, aad), **how)

    def unwrap(self, blob, aad=None, path=None, **how):
        return self.post(f"{path or self.house.key}:unwrap", unwrap_body(blob, aad), **how)

    def wrapped(self, plaintext, aad=None, path=None, **how):
        """The blob of a wrap that must succeed."""
        reply = self.wrap(plaintext, aad, path, **how)
        if reply.status != 200:
            raise AssertionError(f"wrap answered {reply}")
        return base64.b64decode(reply.json()["wrappedBlob"], validate=True)

    def unwrapped(self, blob, aad=None, path=None, **how):
        reply = self.unwrap(blob, aad, path, **how)
        if reply.status != 200:
            raise AssertionError(f"unwrap answered {reply}")
        return base64.b64decode(reply.json().get("plaintext", ""), validate=True)

    def close(self):
        self.socket.close()


def wrap_body(plaintext, aad=None):
    return body_of("plaintext", plaintext, aad)


def unwrap_body(blob, aad=None):
    return body_of("wrappedBlob", blob, aad)


def body_of(name, data, aad):
    body = {name: b64(data)}
    if aad is not None:
        body["additionalAuthenticatedData"] = b64(aad)
    return json.dumps(body).encode()


def request(h, target, body, token=None, fields=(), version="1.1", method="POST", chunks=None):
    """The bytes of one request.  chunks: sizes that the body is cut into; what is left is the last chunk."""
    lines = [f"{method} /{target} HTTP/{version}", f"Host: {house.HOST}", "Content-Type: application/json"]
    if token != "":
        lines.append(f"Authorization: Bearer {token or h.token}")
    lines += fields
    if chunks is None:
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    lines.append("Transfer-Encoding: chunked")
    out, at = "\r\n".join(lines).encode() + b"\r\n\r\n", 0
    for size in [*chunks, len(body)]:
        part = body[at:at + size]
        at += len(part)
        if part:
            out += b"%x\r\n%s\r\n" % (len(part), part)
    return out + b"0\r\n\r\n"
