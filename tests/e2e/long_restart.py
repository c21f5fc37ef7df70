#!/usr/bin/python3
"""By the clock: a killed dataplane serves again within 5 s, every time; a killed ctrl answers again as soon."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
KILLS, SECONDS = 10, 5.0


def serves():
    try:
        c = client.Connection(h)
        status = c.wrap(b"x").status
        c.close()
        return status == 200
    except (OSError, client.Closed):
        return False


def longest(name, back):
    times = []
    for _ in range(KILLS):
        pid, killed = h.pid(name), time.monotonic()
        os.kill(pid, signal.SIGKILL)
        house.wait_for(lambda: h.pid(name) not in (0, pid) and back(), f"{name} to be back")
        times.append(time.monotonic() - killed)
    print(f"# {name} was back after", " ".join(f"{t:.2f}" for t in times), "s")
    return max(times)


@tap.case
def the_dataplane_serves_again_within_5_s():
    tap.check(longest("dataplane", serves) < SECONDS, "not within 5 s")


@tap.case
def ctrl_is_in_sync_again_within_5_s():
    tap.check(longest("ctrl", h.in_sync) < SECONDS, "not within 5 s")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
