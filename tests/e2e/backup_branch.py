#!/usr/bin/python3
"""A backup is restored on another host while the first one lives, and both are given the same sinks: who comes second is refused and told,
and nothing of either is lost."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import daemon
import house
import tap

away = tempfile.mkdtemp(prefix="wirewrap-away.")
one, two = daemon.Daemon(), daemon.Daemon()
config = backups.make_places(away)


def sinks(d):
    return {s["name"]: s for s in d.json("backup", "status")["sinks"]}


def until_all_hold(d):
    epoch = d.json("status")["epoch"]
    house.wait_for(lambda: all(s["epoch"] >= epoch and not s["problem"] for s in sinks(d).values()), "both sinks to hold everything")


def until_branched(d):
    house.wait_for(lambda: all(s["branched"] for s in sinks(d).values()), f"both sinks to be told: {sinks(d)}")


def files():
    return {f"{sink}/{n}" for sink in ("near", "far") for n in os.listdir(f"{away}/{sink}") if n.startswith("ww-")}


def before():
    one.config(config)
    one.start()
    backups.offline_slot(one, backups.recipient(f"{away}/first.key"), f"{away}/first.key")
    backups.change(one, "key", "create", "v0/shared")
    until_all_hold(one)


@tap.case
def a_restored_host_goes_on_in_sinks_that_hold_nothing_but_what_it_has():
    two.config(config)
    with open(f"{two.folder}/passphrase", "w") as f:
        f.write("the passphrase of the second host\n")
    tap.equal(two.spawn("--restore", "near", "--identity", f"{away}/first.key").wait(house.BOUND), 0)
    two.start()
    until_all_hold(two)
    backups.change(two, "key", "create", "v0/of/the/second")
    until_all_hold(two)
    tap.check(not any(s["branched"] for s in sinks(two).values()), sinks(two))


@tap.case
def the_first_host_finds_another_history_and_appends_nothing():
    tap.equal(one.stop(), 0)
    there = files()
    one.start()
    until_branched(one)
    refused = one.run("key", "create", "v0/of/the/first")
    tap.equal(refused.returncode, 1)
    tap.check("pending" in refused.stderr and "another history" in refused.stderr, refused.stderr)
    status = one.ok("status")
    tap.check("another history of this store" in status and "wwctl backup adopt --sink near" in status, status)
    tap.equal(one.json("status")["state"], "degraded")
    tap.equal(one.run("backup", "run").returncode, 1)
    tap.equal(files(), there)


@tap.case
def keys_that_serve_go_on_serving():
    tap.equal(one.json("key", "show", "v0/shared")["key"]["state"], "enabled")
    one.ok("key", "rotate", "v0/shared", "--period", "90d")


@tap.case
def it_stays_so_over_a_restart():
    one.kill()
    one.start()
    until_branched(one)


@tap.case
def who_has_decided_goes_on_and_loses_nothing():
    two.kill()
    for name in ("near", "far"):
        one.ok("backup", "adopt", "--sink", name)
    house.wait_for(lambda: one.json("key", "show", "v0/of/the/first")["key"]["state"] == "enabled", "the key to serve")
    until_all_hold(one)
    one.refused_as("nothing_to_adopt", "backup", "adopt", "--sink", "near")
    one.kill()
    one.start()
    until_all_hold(one)
    for sink in ("near", "far"):
        tap.equal(backups.restored(config, sink, "--identity", f"{away}/first.key"), backups.keys(one))


@tap.case
def the_other_host_is_refused_from_then_on():
    two.start()
    until_branched(two)


@tap.case
def a_new_root_key_is_no_other_history():
    two.kill()
    one.ok("root", "rotate")
    until_all_hold(one)
    one.kill()
    one.start()
    until_all_hold(one)
    tap.check(not any(s["branched"] for s in sinks(one).values()), sinks(one))


def after():
    one.end()
    two.end()
    shutil.rmtree(away, ignore_errors=True)


tap.run(before=before, after=after)
