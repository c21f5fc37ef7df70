#!/usr/bin/python3
"""Two keys, and a caller that is allowed on one of them: no blob of the other opens, by any path, tag or suite byte."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
OTHER_KEY, OTHER_CALLER = "v0/other/key", "other-agent@example.test"
TAG = slice(4, 12)
other_token = None
own_blob = other_blob = None  # of one plaintext, one per key
SECRET = b"the other tenant's data key"


def up():
    global other_token, own_blob, other_blob
    h.up()
    h.key_make(OTHER_KEY, OTHER_CALLER)
    other_token = h.token_for(OTHER_CALLER)
    c = client.Connection(h)
    own_blob = c.wrapped(SECRET, b"aad")
    other_blob = c.wrapped(SECRET, b"aad", path=OTHER_KEY, token=other_token)
    c.close()


def unwrap(blob, path=None, token=None):
    c = client.Connection(h)
    reply = c.unwrap(blob, b"aad", path, token=token)
    c.close()
    tap.check(reply.status == 200 or client.b64(SECRET).encode() not in reply.body, "a plaintext left")
    return reply


@tap.case
def each_caller_opens_its_own_blob():
    tap.equal(unwrap(own_blob).status, 200)
    tap.equal(unwrap(other_blob, OTHER_KEY, other_token).status, 200)


@tap.case
def wrap_on_the_other_key_is_403():
    c = client.Connection(h)
    tap.equal(c.wrap(b"x", path=OTHER_KEY).status, 403)
    c.close()


@tap.case
def unwrap_on_the_other_key_is_403():
    tap.equal(unwrap(other_blob, OTHER_KEY).status, 403)


@tap.case
def the_other_keys_blob_on_the_own_path_is_400():
    tap.equal(unwrap(other_blob).status, 400)


@tap.case
def the_other_keys_blob_with_the_own_tag_is_400():
    tap.equal(unwrap(other_blob[:4] + own_blob[TAG] + other_blob[12:]).status, 400)


@tap.case
def the_own_blob_with_the_other_keys_tag_is_400():
    tap.equal(unwrap(own_blob[:4] + other_blob[TAG] + own_blob[12:]).status, 400)


@tap.case
def no_format_or_suite_byte_opens_the_other_keys_blob():
    statuses = {unwrap(bytes([f, s]) + other_blob[2:4] + tag + other_blob[12:]).status
                for f in (0, 1, 2, 255) for s in (0, 1, 2, 255) for tag in (own_blob[TAG], other_blob[TAG])}
    tap.equal(statuses, {400})


@tap.case
def the_refusal_of_the_other_keys_blob_is_that_of_a_bad_tag():
    random_tag = own_blob[:4] + os.urandom(8) + own_blob[12:]
    tap.equal(unwrap(other_blob).body, unwrap(random_tag).body)


@tap.case
def a_valid_token_on_a_path_without_a_key_is_404_like_any():
    tap.equal(unwrap(other_blob, "v0/no/such/key").status, 404)


@tap.case
def pipelined_requests_of_two_callers_keep_their_own_verdicts():
    c = client.Connection(h)
    turns = [(None, None, 200), (OTHER_KEY, None, 403), (OTHER_KEY, other_token, 200), (None, other_token, 403)] * 5
    c.send(b"".join(client.request(h, f"{path or h.key}:wrap", client.wrap_body(b"x"), token=token) for path, token, _ in turns))
    tap.equal([c.reply().status for _ in turns], [status for _, _, status in turns])
    c.close()


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
