#!/usr/bin/python3
"""A revoke is true when it is acknowledged: not one 200 to a request that began after it, on cached tokens and contexts too."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()
KEY = "v0/revoked/key"


class Warm:
    """Connections that have just been served, so that verdict and cipher contexts are cached; and load beside them."""

    def __enter__(self):
        self.connections = [client.Connection(h) for _ in range(4)]
        self.blob = self.connections[0].wrapped(b"kept", path=KEY)
        self.load = load.Load(h, count=2, path=KEY).start()
        house.wait_for(lambda: self.load.count() > 50, "load")
        for c in self.connections:
            tap.equal(c.unwrapped(self.blob, path=KEY), b"kept")
        return self

    def __exit__(self, *_):
        self.load.stop()
        for c in self.connections:
            c.close()

    def revoked(self, revoke, restore, refusal):
        """Nothing that begins after revoke() returned and ends before restore() is called is answered 200."""
        revoke()
        acked, served = time.monotonic(), self.load.count()
        tap.equal(self.statuses(), {refusal})
        house.wait_for(lambda: self.load.count() > served + 20, "load during the revoke")
        restored = time.monotonic()
        restore()
        inside = {status for begun, ended, status in self.load.log if begun >= acked and ended <= restored}
        tap.equal(inside, {refusal})
        tap.equal(self.statuses(), {200})

    def statuses(self):
        """What requests get that begin now."""
        return {c.unwrap(self.blob, path=KEY).status for c in self.connections} | {
            c.wrap(b"x", path=KEY).status for c in self.connections}


def up():
    h.up()
    h.key_make(KEY, house.CALLER)


@tap.case
def no_200_after_a_disable_was_acknowledged():
    with Warm() as warm:
        for _ in range(5):
            warm.revoked(lambda: h.wwctl("key", "disable", KEY), lambda: h.wwctl("key", "enable", KEY), 400)
    tap.equal((warm.load.broken, set(warm.load.statuses) - {200, 400}), ([], set()))


@tap.case
def no_200_after_the_caller_was_removed():
    with Warm() as warm:
        for _ in range(5):
            warm.revoked(lambda: h.policy_set(KEY, "somebody-else@example.test"), lambda: h.policy_set(KEY, house.CALLER), 403)
    tap.equal((warm.load.broken, set(warm.load.statuses) - {200, 403}), ([], set()))


@tap.case
def another_keys_callers_notice_nothing_of_a_revoke():
    beside = load.Load(h, count=2).start()
    house.wait_for(lambda: beside.count() > 50, "load")
    for _ in range(5):
        h.wwctl("key", "disable", KEY)
        h.wwctl("key", "enable", KEY)
    beside.stop()
    tap.equal((beside.broken, set(beside.statuses)), ([], {200}))


@tap.case
def a_disabled_old_version_refuses_while_the_new_one_serves():
    c = client.Connection(h)
    old = c.wrapped(b"old", path=KEY)
    h.wwctl("key", "rotate", KEY)
    new = c.wrapped(b"new", path=KEY)
    h.wwctl("key", "disable", KEY, "--version", "1")
    reply = c.unwrap(old, path=KEY)
    tap.equal((reply.status, reply.json()["code"]), (400, 9), "FAILED_PRECONDITION")
    tap.equal(c.unwrapped(new, path=KEY), b"new")
    h.wwctl("key", "enable", KEY, "--version", "1")
    tap.equal(c.unwrapped(old, path=KEY), b"old")
    c.close()


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
