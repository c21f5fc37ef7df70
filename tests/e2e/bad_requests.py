#!/usr/bin/python3
"""Bad bytes at every layer: each gets its refusal, its own connection's end where framing is lost, and moves nobody else."""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
bystander = None  # a connection from before all the bad ones; the last case uses it
GOOD = b'{"plaintext":"aGVsbG8="}'


def up():
    global bystander
    h.up()
    bystander = client.Connection(h)
    bystander.wrapped(b"before")


def answers(raw, status, closes):
    c = client.Connection(h)
    c.send(raw)
    reply = c.reply()
    tap.equal(reply.status, status, reply)
    if status >= 400:
        tap.check({"code", "message"} <= set(reply.json()), f"not a google.rpc.Status: {reply}")
    if closes:
        tap.check(c.ended(), "the connection went on")
    else:
        tap.equal(c.wrap(b"after").status, 200, "the connection did not go on")
    c.close()


def raw_head(*lines, body=b""):
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def head(*fields, line=None, host=True, body=b""):
    """A request head with the fields given besides the usual ones."""
    usual = [f"Host: {house.HOST}"] if host else []
    usual += ["Content-Type: application/json", f"Authorization: Bearer {h.token}"]
    return raw_head(line or f"POST /{h.key}:wrap HTTP/1.1", *usual, *fields, body=body)


def json_body(body, status=400, verb="wrap"):
    answers(client.request(h, f"{h.key}:{verb}", body), status, closes=False)


# --- framing: after any ambiguity the connection ends ---

@tap.case
def two_content_lengths_are_refused_and_close():
    answers(head(f"Content-Length: {len(GOOD)}", f"Content-Length: {len(GOOD)}", body=GOOD), 400, True)


@tap.case
def content_length_beside_transfer_encoding_is_refused_and_closes():
    answers(head(f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked", body=GOOD), 400, True)


@tap.case
def a_signed_content_length_is_refused_and_closes():
    answers(head(f"Content-Length: +{len(GOOD)}", body=GOOD), 400, True)


@tap.case
def a_bare_line_feed_is_refused_and_closes():
    answers(head().replace(b"\r\n", b"\n"), 400, True)


@tap.case
def a_folded_field_is_refused_and_closes():
    answers(head("X-Long: one", " two"), 400, True)


@tap.case
def a_space_before_the_colon_is_refused_and_closes():
    answers(head(f"Content-Length : {len(GOOD)}", body=GOOD), 400, True)


@tap.case
def a_request_without_host_is_refused_and_closes():
    answers(head(f"Content-Length: {len(GOOD)}", host=False, body=GOOD), 400, True)


@tap.case
def two_hosts_are_refused_and_close():
    answers(head("Host: other.test", f"Content-Length: {len(GOOD)}", body=GOOD), 400, True)


@tap.case
def two_authorizations_are_refused_and_close():
    answers(head("Authorization: Bearer x", f"Content-Length: {len(GOOD)}", body=GOOD), 400, True)


@tap.case
def an_unknown_transfer_coding_is_501_and_closes():
    answers(head("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501, True)


@tap.case
def a_malformed_chunk_size_is_refused_and_closes():
    answers(head("Transfer-Encoding: chunked", body=b"5g\r\nhello\r\n0\r\n\r\n"), 400, True)


@tap.case
def http_2_0_is_505_and_closes():
    answers(head(line=f"POST /{h.key}:wrap HTTP/2.0"), 505, True)


@tap.case
def an_absolute_target_is_refused_and_closes():
    answers(head(line=f"POST https://{house.HOST}/{h.key}:wrap HTTP/1.1"), 400, True)


@tap.case
def a_head_over_8_kib_is_431_and_closes():
    answers(head("X-Long: " + "a" * 9000), 431, True)


@tap.case
def a_body_over_512_kib_is_413_before_it_is_sent():
    answers(head(f"Content-Length: {512 * 1024 + 1}"), 413, True)


@tap.case
def an_unknown_expectation_is_417_and_closes():
    answers(head("Expect: a-miracle", f"Content-Length: {len(GOOD)}", body=GOOD), 417, True)


@tap.case
def the_preface_of_http_2_is_refused_and_closes():
    answers(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, True)


# --- the API: refused, and the connection goes on ---

@tap.case
def another_path_is_404():
    answers(client.request(h, "v0/no/such/key:wrap", GOOD), 404, False)


@tap.case
def a_percent_encoded_path_is_another_path():
    answers(client.request(h, h.key.replace("demo", "%64emo") + ":wrap", GOOD), 404, False)


@tap.case
def a_path_with_dot_segments_is_another_path():
    answers(client.request(h, f"v0/x/../{h.key[3:]}:wrap", GOOD), 404, False)


@tap.case
def a_trailing_slash_is_another_path():
    answers(client.request(h, f"{h.key}/:wrap", GOOD), 404, False)


@tap.case
def another_verb_is_404():
    answers(client.request(h, f"{h.key}:transmogrify", GOOD), 404, False)


@tap.case
def get_is_405_with_allow():
    c = client.Connection(h)
    reply = c.post(f"{h.key}:wrap", b"", method="GET")
    tap.equal((reply.status, reply.fields.get("allow")), (405, "POST"))
    c.close()


@tap.case
def text_that_is_no_json_is_400():
    json_body(b"plaintext=aGVsbG8=")


@tap.case
def an_empty_body_is_400():
    json_body(b"")


@tap.case
def bytes_behind_the_json_are_400():
    json_body(GOOD + b"{}")


@tap.case
def a_name_that_comes_twice_is_400():
    json_body(b'{"plaintext":"aGVsbG8=","plaintext":"aGVsbG8="}')


@tap.case
def camel_and_snake_form_of_one_name_are_400():
    json_body(b'{"plaintext":"aGVsbG8=","additionalAuthenticatedData":"","additional_authenticated_data":""}')


@tap.case
def plaintext_that_is_no_base64_is_400_and_names_the_field():
    c = client.Connection(h)
    reply = c.post(f"{h.key}:wrap", b'{"plaintext":"aGVs*G8="}')
    tap.equal(reply.status, 400)
    tap.equal(reply.json()["details"][0]["fieldViolations"][0]["field"], "plaintext", reply)
    c.close()


@tap.case
def plaintext_that_is_a_number_is_400():
    json_body(b'{"plaintext":5}')


@tap.case
def a_plaintext_over_its_limit_is_400():
    json_body(client.wrap_body(b"x" * (128 * 1024 + 1)))


@tap.case
def an_aad_over_its_limit_is_400():
    json_body(client.wrap_body(b"x", b"y" * (64 * 1024 + 1)))


@tap.case
def json_nested_too_deep_is_400():
    json_body(b'{"plaintext":"aGVsbG8=","x":' + b"[" * 5000 + b"]" * 5000 + b"}")


@tap.case
def unknown_names_and_null_are_accepted():
    json_body(b'{"plaintext":"aGVsbG8=","additionalContext":null,"brandNew":{"a":[1,2]}}', 200)


@tap.case
def authentication_comes_before_the_body_is_looked_at():
    answers(client.request(h, f"{h.key}:wrap", b"no json", token="garbled"), 401, False)


# --- unwrap: one answer for every cause ---

def refusals_of(blob, *others):
    c = client.Connection(h)
    answers_ = [c.unwrap(b, aad) for b, aad in ((blob, b"another context"), *others)]
    c.close()
    return {(a.status, a.body) for a in answers_}


@tap.case
def every_way_to_spoil_a_blob_gets_the_same_400():
    c = client.Connection(h)
    blob = c.wrapped(b"0123456789abcdef", b"aad")
    c.close()
    flipped = [bytes(b ^ (1 if i == at else 0) for i, b in enumerate(blob)) for at in range(len(blob))]
    cut = [blob[:n] for n in (1, 11, 12, 67, 68, 83, len(blob) - 1)] + [blob + b"\0"]
    suite_0 = blob[:1] + b"\0" + blob[2:]
    got = refusals_of(blob, *((b, b"aad") for b in [*flipped, *cut, suite_0]), (blob, None), (blob, b""))
    tap.equal(len(got), 1, f"{len(got)} different answers")
    status, body = got.pop()
    tap.equal((status, json.loads(body)["code"]), (400, 3))


@tap.case
def the_blob_itself_still_opens():
    c = client.Connection(h)
    tap.equal(c.unwrapped(c.wrapped(b"kept", b"aad"), b"aad"), b"kept")
    c.close()


# --- below HTTP ---

def silence_or_alert(raw):
    s = client.tcp(h.address)
    s.settimeout(client.TIMEOUT)
    s.sendall(raw)
    s.shutdown(socket.SHUT_WR)
    got = b""
    try:
        while more := s.recv(4096):
            got += more
    except ConnectionResetError:
        pass
    s.close()
    tap.check(got == b"" or got[0] == 21, f"neither silence nor an alert: {got!r}")


@tap.case
def plain_http_on_the_tls_port_gets_no_http():
    silence_or_alert(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


@tap.case
def garbage_instead_of_a_client_hello_gets_no_more_than_an_alert():
    silence_or_alert(os.urandom(2000))


@tap.case
def a_client_hello_cut_in_the_middle_gets_no_more_than_an_alert():
    silence_or_alert(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))


@tap.case
def a_spoiled_record_ends_its_connection():
    c = client.Connection(h)
    raw = socket.socket(fileno=os.dup(c.socket.fileno()))
    raw.settimeout(client.TIMEOUT)
    raw.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
    got = b""
    try:
        while more := raw.recv(4096):
            got += more
    except ConnectionResetError:
        pass
    raw.close()
    tap.check(b"HTTP/1.1" not in got, got)


@tap.case
def a_port_without_a_listener_is_refused():
    try:
        client.tcp(h.address, 444).close()
    except ConnectionRefusedError:
        return
    raise AssertionError("port 444 is open")


@tap.case
def a_bystander_from_before_was_not_moved():
    tap.equal(bystander.unwrapped(bystander.wrapped(b"still here")), b"still here")


@tap.case
def the_process_is_still_the_first_one():
    with open(f"{h.state}/supervisor.log") as f:
        tap.equal(f.read().count("dataplane runs as"), 1)


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
