#!/usr/bin/python3
"""The dataplane is killed under load: the supervisor starts it again, ctrl pushes the keys again, the same blobs open."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()
before = None


def serves():
    try:
        c = client.Connection(h)
        status = c.wrap(b"x").status
        c.close()
        return status == 200
    except (OSError, client.Closed):
        return False


def kill_and_wait():
    pid = h.pid("dataplane")
    os.kill(pid, signal.SIGKILL)
    house.wait_for(lambda: h.pid("dataplane") not in (0, pid), "a new dataplane")
    house.wait_for(serves, "serving again")


@tap.case
def it_serves_again_after_kill_9_under_load():
    global before
    running = load.Load(h, count=2, reconnect=True).start()
    house.wait_for(lambda: running.count() > 50, "load")
    kill_and_wait()
    at = running.count()
    house.wait_for(lambda: running.count() > at + 50, "load after the restart")
    running.stop()
    before = running.blobs
    tap.check(running.broken, "no connection noticed that its process was killed")


@tap.case
def no_reply_but_a_success_or_a_503_is_ever_given_around_a_restart():
    running = load.Load(h, count=2, reconnect=True).start()
    house.wait_for(lambda: running.count() > 50, "load")
    kill_and_wait()
    running.stop()
    tap.check(set(running.statuses) <= {200, 503}, running.statuses)


@tap.case
def blobs_from_before_open_afterwards():
    c = client.Connection(h)
    tap.equal(sum(c.unwrapped(blob) != plaintext for blob, plaintext in before), 0)
    c.close()


@tap.case
def a_change_reaches_the_new_process():
    h.key_make("v0/after/restart", house.CALLER)
    c = client.Connection(h)
    c.wrapped(b"x", path="v0/after/restart")
    c.close()


@tap.case
def env_names_the_new_pid():
    with open(f"/proc/{h.pid('dataplane')}/comm") as f:
        tap.equal(f.read().strip(), "ww-dataplane")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
