#!/usr/bin/python3
"""A client that really sends one byte a second is answered in the end, and fast ones beside it never notice."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()
SECONDS = 90


@tap.case
def one_byte_a_second_is_answered_beside_fast_clients():
    c = client.Connection(h)
    query = client.request(h, f"{h.key}:wrap", client.wrap_body(b"slow"))
    running = load.Load(h, count=2, pace=0.01).start()
    c.send(query[:-SECONDS])
    for byte in query[-SECONDS:]:
        time.sleep(1)
        c.send(bytes([byte]))
    tap.equal(c.reply().status, 200)
    c.close()
    running.stop()
    tap.equal((running.broken, set(running.statuses)), ([], {200}))


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
