#!/usr/bin/python3
"""One request now and then on an otherwise idle dataplane, which sleeps in between: what the sleep and the loop add to the answer.

The bounds are far above what is seen (well below a millisecond) and far below what a timer of 10 ms or more, or a pause to fill a
batch, would add on each of many requests: the median decides, a busy machine does not."""
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()


def waits(count, pause):
    """Milliseconds of each of so many wraps, that long apart."""
    c, took = client.Connection(h), []
    c.wrapped(b"warm")
    for _ in range(count):
        time.sleep(pause)
        begun = time.monotonic()
        c.wrapped(b"now and then")
        took.append(1000 * (time.monotonic() - begun))
    c.close()
    print(f"# {count} wraps {pause} s apart: median {statistics.median(took):.2f} ms, longest {max(took):.2f} ms")
    return took


@tap.case
def b26_a_request_a_second_does_not_wait_for_an_idle_loop():
    tap.check(statistics.median(waits(30, 1)) < 8, "the median of thirty")


@tap.case
def b24_one_request_at_a_time_is_not_held_back_for_a_batch():
    tap.check(statistics.median(waits(2000, 0)) < 4, "the median of two thousand")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
