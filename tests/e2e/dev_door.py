#!/usr/bin/python3
"""The doors of ./dev that others rely on: env, two states at once, down that stops only its own, refusals in words."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

chosen = house.options()
one, two = house.House(chosen), house.House(chosen)
PROMISED = ("WW_NETNS WW_URL WW_RESOLVE WW_ADDR WW_ADDR6 WW_CA WW_KEY_PATH WW_TOKEN WW_ADMIN WW_PID_DATAPLANE WW_PID_CTRL").split()


def up():
    one.dev("up", "--state", one.state)
    two.dev("up", "--state", two.state)


def down():
    one.down()
    two.down()


def dev(*arguments):
    return subprocess.run([f"{house.ROOT}/dev", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)


def the_pasted_line(state):
    """What the README tells a person to paste, in a shell of its own."""
    line = """. %s/env && ip netns exec $WW_NETNS curl -sS --resolve "$WW_RESOLVE" --cacert $WW_CA -H "Authorization: Bearer $WW_TOKEN" \
        -H 'Content-Type: application/json' -d '{"plaintext":"aGVsbG8="}' $WW_URL/$WW_KEY_PATH:wrap""" % state
    return subprocess.run(["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=house.BOUND).stdout


@tap.case
def env_holds_every_promised_name():
    for name in PROMISED:
        tap.check(one.env(name), f"{name} is empty")


@tap.case
def the_pasted_line_wraps():
    tap.check("wrappedBlob" in the_pasted_line(one.state), "no blob")


@tap.case
def the_name_resolves_inside_the_namespace():
    done = subprocess.run(["ip", "netns", "exec", one.env("WW_NETNS"), "getent", "ahostsv4", house.HOST], capture_output=True, text=True)
    tap.check(done.stdout.startswith(one.address), done.stdout)


@tap.case
def two_states_are_two_houses():
    tap.check(one.env("WW_NETNS") != two.env("WW_NETNS"), "one namespace for both")
    one.enter()
    c = client.Connection(one)
    blob = c.wrapped(b"of the first")
    c.close()
    two.enter()
    c = client.Connection(two)
    tap.equal(c.unwrap(blob).status, 400, "the other house on the first one's blob")
    tap.equal(c.wrap(b"x", token=one.token).status, 401, "the other house on the first one's token")
    c.close()
    house.setns(one.home)


@tap.case
def up_on_a_state_that_is_up_is_refused():
    done = dev("up", "--state", one.state)
    tap.check(done.returncode != 0 and "already up" in done.stderr, done)


@tap.case
def down_stops_only_its_own():
    one.dev("down", "--state", one.state)
    tap.check(not os.path.exists(f"{one.state}/env"), "env is still there")
    tap.check("wrappedBlob" in the_pasted_line(two.state), "the other house does not serve")


@tap.case
def a_state_that_comes_up_again_has_its_old_key():
    two.enter()
    c = client.Connection(two)
    blob = c.wrapped(b"kept")
    c.close()
    two.stop()
    two.up()
    c = client.Connection(two)
    tap.equal(c.unwrapped(blob), b"kept")
    c.close()
    house.setns(two.home)


@tap.case
def down_where_nothing_runs_is_fine():
    with tempfile.TemporaryDirectory() as folder:
        tap.equal(dev("down", "--state", folder).returncode, 0)


@tap.case
def a_mistyped_verb_gets_the_nearest_one():
    done = dev("demmo")
    tap.check(done.returncode == 1 and "did you mean 'demo'" in done.stderr, done)


@tap.case
def what_a_verb_does_not_take_is_refused_in_words():
    for arguments, said in ((["up", "--state"], "--state needs a value"), (["up", "--nick", "tap"], "did you mean '--nic'"),
                            (["build", "--release"], "build takes no arguments"), (["fuzz", "jsno"], "did you mean 'json'")):
        done = dev(*arguments)
        tap.check(done.returncode == 2 and said in done.stderr, done)


@tap.case
def a_number_of_workers_that_cannot_be_is_refused_with_the_range():
    for workers in ("0", "17", "two"):
        done = dev("up", "--workers", workers)
        tap.check(done.returncode == 2 and "from 1 to 16" in done.stderr, done)


@tap.case
def the_demo_walks_through_every_step():
    done = subprocess.run([f"{house.ROOT}/dev", "demo"], env=dict(os.environ, WW_BUILD=one.build), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=house.BOUND)
    tap.check(done.returncode == 0 and "WRONG" not in done.stdout, done)
    tap.check(done.stdout.count("  ok  ") >= 10, done.stdout)


if __name__ == "__main__":
    tap.run(before=up, after=down)
