#!/usr/bin/python3
"""Slow clients hold what is theirs and nothing else: fast ones beside them are served, and the slow ones get their answer or a refusal."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()
SLOW = 200
BODY = 512 * 1024


def fast_ones_are_served(count=100):
    running = load.Load(h, count=2, wraps=count).start().join()
    tap.equal((running.broken, running.statuses), ([], {200: count}))


def large_request():
    body = client.wrap_body(os.urandom(1000))
    return client.request(h, f"{h.key}:wrap", body + b" " * (BODY - len(body)))


@tap.case
def a_client_that_sends_byte_after_byte_is_answered():
    c = client.Connection(h)
    query = client.request(h, f"{h.key}:wrap", client.wrap_body(b"slow"))
    for i, byte in enumerate(query):
        c.send(bytes([byte]))
        if i % 200 == 0:
            fast_ones_are_served(10)
    tap.equal(c.reply().status, 200)
    c.close()


@tap.case
def two_hundred_half_sent_heads_hinder_nobody():
    waiting = [client.Connection(h) for _ in range(SLOW)]
    query = client.request(h, f"{h.key}:wrap", client.wrap_body(b"late"))
    for c in waiting:
        c.send(query[:100])
    fast_ones_are_served()
    for c in waiting:
        c.send(query[100:])
    tap.equal({c.reply().status for c in waiting}, {200})
    for c in waiting:
        c.close()


def drip(c, query, outcome):
    """Sends in slices with pauses, and stops when the answer comes before the end."""
    at = 0
    try:
        while at < len(query) and not c.answered():
            c.send(query[at:at + 16384])
            at += 16384
            time.sleep(0.05)
        outcome.append(c.reply().status)
    except (OSError, client.Closed) as why:
        outcome.append(type(why).__name__)


@tap.case
def two_hundred_slow_512_kb_bodies_beside_fast_ones_hinder_nobody():
    query, outcome = large_request(), []
    slow = [threading.Thread(target=drip, args=(client.Connection(h), query, outcome), daemon=True) for _ in range(SLOW)]
    for t in slow:
        t.start()
    fast_ones_are_served(300)
    for t in slow:
        t.join(house.BOUND)
    tap.equal(len(outcome), SLOW, "slow clients that came to an end")
    print("# slow clients:", {o: outcome.count(o) for o in set(outcome)})
    tap.check(set(outcome) <= {200, 503}, f"neither served nor told to come again: {set(outcome)}")
    tap.check(200 in outcome, "not one large body was served")


@tap.case
def large_bodies_are_served_again_afterwards():
    c = client.Connection(h)
    for _ in range(20):
        c.send(large_request())
        tap.equal(c.reply().status, 200)
    c.close()


@tap.case
def a_client_that_reads_its_reply_late_gets_it_whole():
    c = client.Connection(h, receive_buffer=4096)
    data = os.urandom(128 * 1024)
    c.send(client.request(h, f"{h.key}:wrap", client.wrap_body(data)))
    fast_ones_are_served()
    blob = client.base64.b64decode(c.reply().json()["wrappedBlob"])
    tap.equal(c.unwrapped(blob), data)
    c.close()


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
