#!/usr/bin/python3
"""The main job with clients that others wrote: curl and openssl s_client; and with exact bytes where those cannot be told to."""
import base64
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()


def curl(target, body, *arguments, address=None):
    """(status, body) of one request by curl; the body goes through a file, since it may be large."""
    with open(f"{h.state}/request.json", "wb") as f:
        f.write(body)
    command = (
        ["curl", "-sS", "--max-time", str(client.TIMEOUT), "--resolve", f"{house.HOST}:443:{address or h.address}", "--cacert", h.ca,
         "-H", f"Authorization: Bearer {h.token}", "-H", "Content-Type: application/json", "--data-binary", f"@{h.state}/request.json",
         "-w", "\n%{http_code}", *arguments, f"https://{house.HOST}/{h.key}:{target}"])
    done = client.patient(lambda: subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True), lambda d: d.returncode != 0)
    if done.returncode:
        raise AssertionError(f"curl exited with {done.returncode}: {done.stderr.decode()}")
    body, status = done.stdout.rsplit(b"\n", 1)
    return int(status), body


def round_trip(plaintext, aad, *arguments, address=None, pad=b""):
    status, body = curl("wrap", client.wrap_body(plaintext, aad) + pad, *arguments, address=address)
    tap.equal(status, 200, body)
    blob = base64.b64decode(json.loads(body)["wrappedBlob"], validate=True)
    tap.equal(len(blob), len(plaintext) + 84, "length of the blob")
    status, body = curl("unwrap", client.unwrap_body(blob, aad) + pad, *arguments, address=address)
    tap.equal(status, 200, body)
    tap.check(base64.b64decode(json.loads(body)["plaintext"]) == plaintext, "another plaintext came back")


@tap.case
def curl_wraps_and_unwraps_over_ipv4():
    round_trip(os.urandom(32), b"context")


@tap.case
def curl_wraps_and_unwraps_over_ipv6():
    round_trip(os.urandom(32), b"context", address=f"[{h.address6}]")


@tap.case
def curl_with_http_1_0_wraps_and_unwraps():
    round_trip(os.urandom(32), None, "--http1.0")


@tap.case
def curl_with_a_chunked_body_wraps_and_unwraps():
    round_trip(os.urandom(5000), b"context", "-H", "Transfer-Encoding: chunked")


@tap.case
def curl_with_tls_1_2_wraps_and_unwraps():
    round_trip(os.urandom(32), None, "--tls-max", "1.2")


@tap.case
def curl_with_tls_1_3_wraps_and_unwraps():
    round_trip(os.urandom(32), None, "--tlsv1.3")


@tap.case
def curl_that_offers_h2_is_answered_in_http_1_1():
    round_trip(os.urandom(32), None, "--http2")


@tap.case
def curl_that_expects_100_continue_wraps_and_unwraps():
    round_trip(os.urandom(20000), None, "-H", "Expect: 100-continue", "--expect100-timeout", "50")


@tap.case
def the_largest_plaintext_and_aad_in_a_300_kb_body_go_through():
    plaintext, aad = os.urandom(128 * 1024), os.urandom(64 * 1024)
    body = client.wrap_body(plaintext, aad)
    round_trip(plaintext, aad, "--expect100-timeout", "50", pad=b" " * (300 * 1024 - len(body)))


@tap.case
def the_largest_body_in_chunks_over_ipv6_goes_through():
    round_trip(os.urandom(128 * 1024), os.urandom(64 * 1024), "-H", "Transfer-Encoding: chunked", address=f"[{h.address6}]")


def s_client(version, *arguments):
    """One request typed into openssl s_client; everything it printed."""
    query = client.request(h, f"{h.key}:wrap", client.wrap_body(b"typed"), fields=["Connection: close"])
    command = ["openssl", "s_client", "-connect", f"{h.address}:443", "-servername", house.HOST, "-CAfile", h.ca, "-verify_return_error",
               "-verify_hostname", house.HOST, "-ign_eof", version, *arguments]
    return client.patient(lambda: subprocess.run(command, input=query, capture_output=True, timeout=client.TIMEOUT).stdout,
                          lambda out: b"HTTP/1.1 " not in out)


@tap.case
def s_client_speaks_tls_1_2():
    out = s_client("-tls1_2")
    tap.check(b"Protocol  : TLSv1.2" in out and b"Verification: OK" in out, out)
    tap.check(b"HTTP/1.1 200" in out and b"wrappedBlob" in out, out)


@tap.case
def s_client_speaks_tls_1_3():
    out = s_client("-tls1_3")
    tap.check(b"New, TLSv1.3" in out and b"Verification: OK" in out, out)
    tap.check(b"HTTP/1.1 200" in out and b"wrappedBlob" in out, out)


@tap.case
def s_client_that_offers_h2_and_http_1_1_gets_http_1_1():
    tap.check(b"ALPN protocol: http/1.1" in s_client("-tls1_3", "-alpn", "h2,http/1.1"), "ALPN")


@tap.case
def tls_1_1_is_refused():
    out = s_client("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
    tap.check(b"wrappedBlob" not in out and b"Cipher is (NONE)" in out, out)


@tap.case
def a_hundred_requests_on_one_connection_are_answered():
    c = client.Connection(h)
    for i in range(50):
        data = os.urandom(i)
        tap.equal(c.unwrapped(c.wrapped(data, b"aad"), b"aad"), data)
    c.close()


@tap.case
def twenty_pipelined_requests_are_answered_in_their_order():
    c = client.Connection(h)
    data = [bytes([i]) * 40 for i in range(20)]
    c.send(b"".join(client.request(h, f"{h.key}:wrap", client.wrap_body(d)) for d in data))
    blobs = [base64.b64decode(c.reply().json()["wrappedBlob"]) for _ in data]
    c.send(b"".join(client.request(h, f"{h.key}:unwrap", client.unwrap_body(b)) for b in blobs))
    tap.equal([base64.b64decode(c.reply().json()["plaintext"]) for _ in data], data)
    c.close()


@tap.case
def a_refusal_amid_pipelined_requests_does_not_move_the_others():
    c = client.Connection(h)
    good, bad = client.request(h, f"{h.key}:wrap", client.wrap_body(b"x")), client.request(h, f"{h.key}:wrap", b'{"plaintext": 7}')
    c.send(good + bad + good)
    tap.equal([c.reply().status for _ in range(3)], [200, 400, 200])
    c.close()


@tap.case
def continue_is_said_before_the_body_is_sent():
    c = client.Connection(h)
    body = client.wrap_body(b"patient")
    query = client.request(h, f"{h.key}:wrap", body, fields=["Expect: 100-continue"])
    c.send(query[:-len(body)])
    tap.equal(c.reply().status, 100)
    c.send(body)
    tap.equal(c.reply().status, 200)
    c.close()


@tap.case
def an_http_1_0_connection_ends_after_its_reply():
    c = client.Connection(h)
    reply = c.wrap(b"old", version="1.0")
    tap.equal(reply.status, 200)
    tap.check(c.ended(), "the connection went on")


@tap.case
def connection_close_ends_the_connection_after_its_reply():
    c = client.Connection(h)
    reply = c.wrap(b"last", fields=["Connection: close"])
    tap.equal((reply.status, reply.fields.get("connection")), (200, "close"))
    tap.check(c.ended(), "the connection went on")


@tap.case
def a_request_cut_into_single_bytes_is_understood():
    c = client.Connection(h)
    for byte in client.request(h, f"{h.key}:wrap", client.wrap_body(b"slow"), chunks=[3, 1, 7]):
        c.send(bytes([byte]))
    tap.equal(c.reply().status, 200)
    c.close()


@tap.case
def an_empty_plaintext_wraps_and_unwraps():
    c = client.Connection(h)
    blob = c.wrapped(b"")
    tap.equal((len(blob), c.unwrapped(blob)), (84, b""))
    c.close()


@tap.case
def two_wraps_of_one_plaintext_are_two_blobs():
    c = client.Connection(h)
    tap.check(c.wrapped(b"same") != c.wrapped(b"same"), "the same blob twice")
    c.close()


@tap.case
def a_client_with_a_tiny_receive_buffer_gets_its_whole_reply():
    c = client.Connection(h, receive_buffer=2048)
    data = os.urandom(100 * 1024)
    tap.equal(c.unwrapped(c.wrapped(data)), data)
    c.close()


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
