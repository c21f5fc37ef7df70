#!/usr/bin/python3
"""ww-ctrl is killed at seeded moments while keys are made, root slots come and go, the root key is changed, and in the second half the chain of
changes is compacted: every key that was acknowledged is there afterwards, with its material, and some root slot opens it."""
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import daemon
import tap

KILLS, SEED = int(os.environ.get("WW_KILLS", 30)), 20260214
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
d = daemon.Daemon()
choose = random.Random(SEED)
acknowledged = {}  # path: the key as it was told


def ask(stream, **request):
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    line = stream.readline()
    if not line.endswith("\n"):
        raise EOFError
    reply = json.loads(line)
    if not reply["ok"]:
        raise AssertionError(reply)
    return reply


def change_root(stream, number):
    """A new root key, or one slot more, or that slot taken out again."""
    there = [s["slot"] for s in ask(stream, command="root slots list")["slots"] if s["kind"] == "age"]
    if number % 3 == 0:
        ask(stream, command="root rotate")
    elif there:
        ask(stream, command="root slots remove", slot=there[0])
    else:
        ask(stream, command="root slots add", age=RECIPIENT)


def make_keys(number):
    """Asks for one key after the other until ww-ctrl is gone; remembers what was acknowledged."""
    s = d.connect("admin.sock")
    stream = s.makefile("rw")
    try:
        for n in range(10000):
            path = f"v0/round{number}/key{n}"
            command = "key rotate" if n % 3 == 2 else "key create"
            if command == "key rotate":
                path = f"v0/round{number}/key{n - 1}"
            acknowledged[path] = ask(stream, command=command, path=path)["key"]
            if n % 4 == number % 4:
                change_root(stream, number + n)
            if number >= KILLS // 2 and n % 3 == number % 3:
                ask(stream, command="upgrade commit")
                ask(stream, command="store compact")
    except (OSError, EOFError):
        return
    finally:
        s.close()


def one_round(number):
    """The kill comes after a seeded number of acknowledgements and a moment more: somewhere inside the next change."""
    d.start()
    wanted = len(acknowledged) + choose.randint(0, 4)
    asking = threading.Thread(target=make_keys, args=[number])
    asking.start()
    give_up = time.monotonic() + 60
    while len(acknowledged) < wanted and time.monotonic() < give_up:
        time.sleep(0.0005)
    time.sleep(choose.uniform(0, 0.06))
    d.kill()
    asking.join()


def version_of(key, number):
    return next(v for v in key["versions"] if v["version"] == number)


@tap.case
def every_acknowledged_key_and_version_survives_every_kill():
    for number in range(KILLS):
        one_round(number)
    print(f"# seed {SEED}, {KILLS} kills: {len(acknowledged)} keys acknowledged")
    tap.check(len(acknowledged) > KILLS, "too few keys were acknowledged to say anything")
    d.start()
    now = keys_now()
    for path, told in acknowledged.items():
        tap.check(path in now, f"{path} is gone")
        tap.equal(now[path]["id"], told["id"], path)
        tap.check(now[path]["version_count"] >= told["version_count"], f"{path} lost a version")


def keys_now():
    return {k["path"]: k for k in d.json("key", "list")["keys"]}


@tap.case
def what_a_key_was_told_to_be_is_what_it_is():
    for path in choose.sample(sorted(acknowledged), min(20, len(acknowledged))):
        key = d.json("key", "show", path)["key"]
        for told in acknowledged[path]["versions"]:
            tap.equal(version_of(key, told["version"])["tag"], told["tag"], path)
        tap.equal({v["state"] for v in key["versions"]}, {"enabled"}, path)


@tap.case
def the_store_opens_without_dev_and_goes_on():
    tap.equal(d.stop(), 0, "exit status after SIGTERM")
    d.start("--init")
    d.ok("key", "disable", "v0/round0/key0", "--dry-run")
    done = d.run("key", "create", "v0/afterwards")
    tap.check(done.returncode == 1 and "still missing" in done.stderr, f"made with one slot: {done.stderr}")


tap.run(after=d.end)
