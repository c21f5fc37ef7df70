#!/usr/bin/python3
"""Ten minutes of connections that come and go: no error, and the memory of the dataplane stands still."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()
SECONDS = 600


def resident_kib():
    with open(f"/proc/{h.pid('dataplane')}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def come_and_go(until):
    made = 0
    while time.monotonic() < until:
        c = client.Connection(h, tls=("1.2", "1.3")[made % 2], address=(h.address, h.address6)[made // 2 % 2])
        data = os.urandom(made % 3000)
        tap.equal(c.unwrapped(c.wrapped(data, b"soak"), b"soak"), data)
        c.close()
        made += 1
    return made


@tap.case
def connections_come_and_go_and_memory_stands_still():
    running = load.Load(h, count=2).start()
    come_and_go(time.monotonic() + SECONDS / 5)
    warm = resident_kib()
    made = come_and_go(time.monotonic() + SECONDS * 4 / 5)
    running.stop()
    tap.equal((running.broken, set(running.statuses)), ([], {200}))
    grown = resident_kib() - warm
    print(f"# {made} connections, {running.count()} wraps beside them, {grown} KiB grown from {warm} KiB")
    tap.check(grown < 4096, f"{grown} KiB grown over {made} connections")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
