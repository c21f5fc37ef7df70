#!/usr/bin/python3
"""ctrl is killed again and again while requests run: no caller notices, and no key is lost, also after everything was restarted."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()
WRAPS, KILLS = 1000, 5
blobs = []


def killed(name):
    """SIGKILL, and wait until the supervisor's next one is there."""
    pid = h.pid(name)
    os.kill(pid, signal.SIGKILL)
    house.wait_for(lambda: h.pid(name) not in (0, pid), f"a new {name}")


def ctrl_answers():
    try:
        return h.wwctl("status") is not None
    except AssertionError:
        return False


@tap.case
def a_thousand_wraps_succeed_while_ctrl_is_killed_five_times():
    running = load.Load(h, count=2, pace=0.01).start()
    for _ in range(KILLS):
        at = running.count()
        house.wait_for(lambda: running.count() >= at + WRAPS // (KILLS + 1), "the load to go on")
        killed("ctrl")
        house.wait_for(ctrl_answers, "ctrl")
    house.wait_for(lambda: running.count() >= WRAPS, "the load to go on")
    running.stop()
    blobs.extend(running.blobs)
    tap.equal((running.broken, set(running.statuses)), ([], {200}))
    tap.check(len(blobs) >= WRAPS, f"{len(blobs)} wraps")


@tap.case
def ctrl_attaches_again_and_pushes_a_change():
    house.wait_for(h.in_sync, "the dataplane to attach")
    h.key_make("v0/made/afterwards", house.CALLER)
    c = client.Connection(h)
    blobs_of_it = c.wrapped(b"x", path="v0/made/afterwards")
    tap.equal(c.unwrapped(blobs_of_it, path="v0/made/afterwards"), b"x")
    c.close()


def all_open():
    c = client.Connection(h)
    wrong = sum(c.unwrapped(blob) != plaintext for blob, plaintext in blobs)
    c.close()
    tap.equal(wrong, 0, f"of {len(blobs)} blobs opened wrongly")


@tap.case
def all_blobs_unwrap_afterwards():
    all_open()


@tap.case
def the_dataplane_was_never_restarted():
    with open(f"{h.state}/supervisor.log") as f:
        tap.equal(f.read().count("dataplane runs as"), 1)


@tap.case
def a_key_acknowledged_just_before_both_are_killed_is_still_there():
    h.key_make("v0/made/just/before", house.CALLER)
    pids = [h.pid("ctrl"), h.pid("dataplane")]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    house.wait_for(lambda: h.pid("ctrl") not in (0, pids[0]) and h.pid("dataplane") not in (0, pids[1]), "new processes")
    house.wait_for(serves, "serving again")
    c = client.Connection(h)
    c.wrapped(b"x", path="v0/made/just/before")
    c.close()


def serves():
    try:
        c = client.Connection(h)
        status = c.wrap(b"x").status
        c.close()
        return status == 200
    except (OSError, client.Closed):
        return False


@tap.case
def all_blobs_unwrap_after_everything_was_stopped_and_started():
    h.stop()
    h.up()
    all_open()


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
