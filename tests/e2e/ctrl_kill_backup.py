#!/usr/bin/python3
"""ww-ctrl is killed at seeded moments while keys are made and carried to two sinks: every key that was acknowledged restores from either
sink alone, and what half-written files are left behind hinders nobody."""
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import daemon
import house
import tap

KILLS, SEED = int(os.environ.get("WW_KILLS", 20)), 20260311
d = daemon.Daemon()
away = tempfile.mkdtemp(prefix="wirewrap-away.")
choose = random.Random(SEED)
acknowledged = {}  # path: the key as it was told


def make_keys(number):
    """Asks for one key after the other until ww-ctrl is gone; remembers what was acknowledged as durable."""
    s = d.connect("admin.sock")
    stream = s.makefile("rw")
    try:
        for n in range(10000):
            path = f"v0/round{number}/key{n}"
            command = "key create"
            if n % 3 == 2:
                command, path = "key rotate", f"v0/round{number}/key{n - 1}"
            elif n % 5 == 3:
                stream.write(json.dumps({"command": "backup status"}) + "\n")
                stream.flush()
                stream.readline()
            stream.write(json.dumps({"command": command, "path": path}) + "\n")
            stream.flush()
            line = stream.readline()
            if not line.endswith("\n"):
                return
            reply = json.loads(line)
            if reply["ok"]:
                acknowledged[path] = reply["key"]
            elif reply["error"]["code"] != "pending":
                raise AssertionError(reply)
    except (OSError, ValueError):
        return
    finally:
        s.close()


def one_round(number):
    """A seeded number of acknowledgements and a moment more: in the store, in the file being made, or on its way to a sink."""
    d.start()
    wanted = len(acknowledged) + choose.randint(0, 3)
    asking = threading.Thread(target=make_keys, args=[number])
    asking.start()
    give_up = time.monotonic() + 60
    while len(acknowledged) < wanted and time.monotonic() < give_up:
        time.sleep(0.0005)
    if choose.random() < 0.3:
        d.run("backup", "run") if choose.random() < 0.5 else None
    time.sleep(choose.uniform(0, 0.08))
    d.kill()
    asking.join()


def before():
    config = backups.make_places(away)
    d.config(config)
    d.start()
    backups.offline_slot(d, backups.recipient(f"{away}/first.key"), f"{away}/first.key")
    d.kill()


@tap.case
def keys_are_made_over_many_kills():
    for number in range(KILLS):
        one_round(number)
    print(f"# seed {SEED}, {KILLS} kills: {len(acknowledged)} keys acknowledged as durable")
    tap.check(len(acknowledged) > KILLS / 2, "too few keys were acknowledged to say anything")


def found_in(keys):
    by_path = {path: (id, dict(versions)) for path, id, _, _, versions in keys}
    for path, told in acknowledged.items():
        tap.check(path in by_path, f"{path} is gone")
        tap.equal(by_path[path][0], told["id"], path)
        for version in told["versions"]:
            tap.check(version["tag"] in by_path[path][1], f"{path} lost version {version['version']}")


@tap.case
def every_acknowledged_key_restores_from_either_sink_as_it_was_left():
    for name in ("near", "far"):
        found_in(backups.restored(CONFIG, name, "--identity", f"{away}/first.key"))


@tap.case
def the_store_itself_goes_on_and_the_sinks_follow():
    d.start()
    backups.change(d, "key", "create", "v0/afterwards")
    found_in(backups.keys(d))
    epoch = d.json("status")["epoch"]
    house.wait_for(lambda: all(s["epoch"] >= epoch for s in d.json("backup", "status")["sinks"]), "both sinks to follow")
    tap.equal([s["drill"]["ok"] for s in d.json("drill")["sinks"]], [True, True])


@tap.case
def what_was_under_way_when_it_died_is_swept_up():
    house.wait_for(lambda: os.listdir(f"{d.folder}/store/backup") == [], "the folder to be empty")
    for name in ("near", "far"):
        parts = [n for n in os.listdir(f"{away}/{name}") if not n.endswith(".age")]
        tap.check(len(parts) <= 2, parts)


def after():
    d.end()
    shutil.rmtree(away, ignore_errors=True)


CONFIG = backups.CONFIG_NEAR.format(away=away) + f"    - {{name: far, kind: directory, place: {away}/far}}\n"
tap.run(before=before, after=after)
