#!/usr/bin/python3
"""A key that is doomed answers 404 at once, restored and enabled it opens again what it wrapped; one version of it likewise."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
SECRET = b"a data key of the doomed"
first = second = None  # blobs of versions 1 and 2


def statuses():
    """Of wrap, and of unwrap of either version's blob."""
    c = client.Connection(h)
    got = (c.wrap(SECRET).status, c.unwrap(first).status, c.unwrap(second).status)
    c.close()
    return got


def up():
    global first, second
    h.up()
    c = client.Connection(h)
    first = c.wrapped(SECRET)
    h.wwctl("key", "rotate", h.key)
    second = c.wrapped(SECRET)
    c.close()


@tap.case
def everything_is_served_before():
    tap.equal(statuses(), (200, 200, 200))


@tap.case
def an_enabled_key_is_not_doomed_and_goes_on():
    tap.check("disable" in h.wwctl("key", "destroy", h.key, refused=True), "the next step is missing")
    tap.equal(statuses(), (200, 200, 200))


@tap.case
def a_dry_run_leaves_everything_served():
    reply = h.wwctl_json("key", "disable", h.key, "--dry-run")
    tap.equal((reply["dry_run"], reply["key"]["state"]), (True, "disabled"))
    tap.equal(statuses(), (200, 200, 200))


@tap.case
def blobs_of_a_doomed_version_are_404_and_the_rest_is_served():
    h.wwctl("key", "disable", h.key, "--version", "1")
    tap.equal(statuses(), (200, 400, 200))
    h.wwctl("key", "destroy", h.key, "--version", "1")
    tap.equal(statuses(), (200, 404, 200))


@tap.case
def a_restored_version_opens_again_what_it_wrapped():
    h.wwctl("key", "restore", h.key, "--version", "1")
    tap.equal(statuses(), (200, 400, 200))
    h.wwctl("key", "enable", h.key, "--version", "1")
    tap.equal(statuses(), (200, 200, 200))


@tap.case
def a_doomed_key_is_404_for_everything():
    h.wwctl("key", "disable", h.key)
    h.wwctl("key", "destroy", h.key, "--after", "40d")
    tap.equal(statuses(), (404, 404, 404))


@tap.case
def who_still_asks_for_it_is_shown():
    house.wait_for(lambda: h.wwctl_json("status")["still_asked"], "the audit to be drained")
    asked = h.wwctl_json("key", "show", h.key)["key"]["still_asked"]
    tap.equal((asked["callers"], h.wwctl_json("status")["still_asked"][0]["path"]), (1, h.key))
    tap.check("still asked for: 1 caller, " in h.wwctl("key", "show", h.key), "key show does not tell")
    tap.check(f"{h.key} (destroy_scheduled) is still asked for" in h.wwctl("status"), "status does not tell")


@tap.case
def a_restored_key_serves_as_before():
    h.wwctl("key", "restore", h.key)
    tap.equal(statuses(), (400, 400, 400))
    h.wwctl("key", "enable", h.key)
    tap.equal(statuses(), (200, 200, 200))
    tap.equal(h.wwctl_json("status")["still_asked"], [])


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
