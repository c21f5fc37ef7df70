#!/usr/bin/python3
"""The version before and this one take turns on one store while callers go on: keys made on either open on the other, until somebody
says `wwctl upgrade commit`; then the version before refuses by name, and this one goes on, compacts and restores.

The version before is build/debug's ww-ctrl-before: these sources without what the newest level of formats brought."""
import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import client
import house
import tap

h = house.House()
away = tempfile.mkdtemp(prefix="wirewrap-away.")
NOW = h.binary("ww-ctrl")
BEFORE = f"{house.ROOT}/build/debug/ctrl/ww-ctrl-before"
paths, blobs = [], []  # blobs: (path, plaintext, blob)


def use(program):
    """What the supervisor starts as ctrl from now on."""
    os.symlink(program, f"{away}/new")
    os.rename(f"{away}/new", f"{away}/ww-ctrl")


def up():
    with open(f"{h.state}/more.yaml", "w") as f:
        f.write(backups.make_places(away))
    os.environ["WW_CTRL"] = f"{away}/ww-ctrl"
    use(BEFORE)
    h.up()
    backups.offline_slot_of(h, f"{away}/first.key")


def down():
    try:
        h.down()
    finally:
        shutil.rmtree(away, ignore_errors=True)


class Caller(threading.Thread):
    """Unwraps one blob after the other; whatever is not its plaintext is a failure."""
    def __init__(self):
        super().__init__(daemon=True)
        self.known, self.over, self.count, self.failures = list(blobs), threading.Event(), 0, []

    def run(self):
        connection = client.Connection(h)
        while not self.over.is_set():
            path, plain, blob = self.known[self.count % len(self.known)]
            try:
                reply = connection.unwrap(blob, path=path)
                if reply.status != 200 or base64.b64decode(reply.json()["plaintext"]) != plain:
                    self.failures.append(reply)
            except (OSError, client.Closed) as e:
                self.failures.append(e)
                connection = client.Connection(h)
            self.count += 1


def switch_to(program):
    """ctrl alone is restarted, as another version; the dataplane stays, and its callers notice nothing."""
    caller = Caller()
    caller.start()
    use(program)
    pid = h.pid("ctrl")
    os.kill(pid, signal.SIGTERM)
    house.wait_for(lambda: h.pid("ctrl") not in (0, pid) and h.in_sync(), "the other version to be in sync")
    seen = caller.count
    house.wait_for(lambda: caller.count > seen + 20, "callers to go on")
    caller.over.set()
    caller.join(house.BOUND)
    tap.equal(caller.failures, [])
    tap.equal(os.readlink(f"/proc/{h.pid('ctrl')}/exe"), program)


def work(name):
    """Keys made, rotated, switched off and on, wrapped under."""
    path = f"v0/turns/{name}"
    backups.change(h, "key", "create", path)
    h.policy_set(path, house.CALLER)
    paths.append(path)
    connection = client.Connection(h)
    for each in paths:
        backups.change(h, "key", "rotate", each)
        h.wwctl("key", "disable", each)
        h.wwctl("key", "enable", each)
        for _ in range(4):
            plain = os.urandom(32)
            blobs.append((each, plain, connection.wrapped(plain, path=each)))
    connection.close()


def everything_unwraps():
    connection = client.Connection(h)
    for path, plain, blob in blobs:
        tap.equal(base64.b64decode(connection.unwrap(blob, path=path).json()["plaintext"]), plain)
    connection.close()


def files():
    names = [name for name in os.listdir(f"{away}/far") if name.startswith("ww-")]
    full = max((n for n in names if n.split("-")[3] == "000000000001"), key=lambda name: name.split("-")[2:])
    return [f"{away}/far/{n}" for n in names if n == full or n.split("-")[4] > full.split("-")[4]]


def recovered():
    """Paths that docs/recover-keys finds in the sink."""
    out = subprocess.run([f"{house.ROOT}/docs/recover-keys", f"{away}/first.key", "keys", *files()], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {line.split()[0] for line in out.splitlines()}


def sinks_hold_everything():
    epoch = h.wwctl_json("status")["epoch"]
    house.wait_for(lambda: all(s["epoch"] >= epoch for s in h.wwctl_json("backup", "status")["sinks"]), "both sinks to hold everything")


def run_by_hand(program, *options):
    """Exit status, and what it says; nothing of it is running otherwise."""
    done = subprocess.run([program, "--config", f"{h.state}/wirewrap.yaml", *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=house.BOUND)
    return done.returncode, done.stdout


def digest(folder):
    return {name: hashlib.sha256(open(f"{folder}/{name}", "rb").read()).hexdigest() for name in os.listdir(folder) if name.startswith("store.db")}


def restored(program):
    """The store is lost, and comes back from a sink by that version."""
    h.stop()
    shutil.rmtree(f"{h.state}/store")
    status, text = run_by_hand(program, "--restore", "near", "--identity", f"{away}/first.key")
    tap.equal(status, 0, text[-2000:])
    h.up()


@tap.case
def the_version_before_makes_keys():
    work("made-before")
    tap.equal(h.wwctl_json("upgrade", "status")["reads"], [1, 1])


@tap.case
def this_version_opens_them_and_makes_keys_rotates_and_wraps():
    switch_to(NOW)
    status = h.wwctl_json("upgrade", "status")
    tap.equal((status["level"], status["reads"], status["newest"]), (1, [1, 2], False))
    everything_unwraps()
    work("made-now")
    tap.equal(h.wwctl_json("upgrade", "status")["level"], 1)
    tap.check("store_level" in h.wwctl("store", "compact", "--json", refused=True), "compacted below its level")


@tap.case
def the_version_before_opens_all_of_it_again():
    switch_to(BEFORE)
    everything_unwraps()
    work("made-before-again")
    everything_unwraps()


@tap.case
def the_version_before_restores_what_this_one_backed_up():
    switch_to(NOW)
    work("backed-up-now")
    h.wwctl("backup", "run")
    sinks_hold_everything()
    use(BEFORE)
    restored(BEFORE)
    everything_unwraps()
    sinks_hold_everything()
    tap.check(set(paths) <= recovered(), recovered())
    switch_to(NOW)


@tap.case
def a_commit_is_refused_while_a_sink_lacks_anything():
    os.rename(f"{away}/far", f"{away}/gone")
    h.wwctl("key", "rotate", "--period", "90d", paths[0])
    tap.check("backup_behind" in h.wwctl("upgrade", "commit", "--json", refused=True), "committed without a sink")
    tap.equal(h.wwctl_json("upgrade", "status")["may_commit"], False)
    os.rename(f"{away}/gone", f"{away}/far")
    house.wait_for(lambda: h.wwctl_json("upgrade", "status")["may_commit"], "the sink to be back")
    tap.equal(h.wwctl_json("upgrade", "commit", "--dry-run")["dry_run"], True)
    tap.equal(h.wwctl_json("upgrade", "status")["level"], 1)


@tap.case
def after_the_commit_this_version_goes_on():
    house.wait_for(lambda: h.wwctl_json("upgrade", "status")["may_commit"], "no backup to be under way")
    done = h.wwctl_json("upgrade", "commit")
    tap.equal((done["level"], done["committed"], done["newest"]), (2, True, True))
    tap.equal(h.wwctl_json("upgrade", "commit")["already"], True)
    acts = [a.get("command") for a in h.wwctl_json("audit", "acts", "--count", "10")["acts"]]
    tap.check("upgrade commit" in acts, acts)
    everything_unwraps()
    work("made-after")
    sinks_hold_everything()
    backups.compact(h)
    work("made-after-an-anchor")
    everything_unwraps()


@tap.case
def the_version_before_refuses_by_name_and_touches_nothing():
    sinks_hold_everything()
    h.stop()
    before = digest(f"{h.state}/store")
    status, text = run_by_hand(BEFORE, "--dev")
    tap.equal(status, 1, text)
    tap.check("store_newer" in text and "format level 2" in text and "reads 1..1" in text, text)
    tap.equal(digest(f"{h.state}/store"), before)
    os.rename(f"{h.state}/store", f"{h.state}/kept")
    os.mkdir(f"{h.state}/store")
    status, text = run_by_hand(BEFORE, "--restore", "near", "--identity", f"{away}/first.key")
    tap.equal(status, 1, text)
    tap.check("backup_newer" in text, text)
    tap.equal(digest(f"{h.state}/store"), {})
    shutil.rmtree(f"{h.state}/store")
    os.rename(f"{h.state}/kept", f"{h.state}/store")
    use(NOW)
    h.up()
    everything_unwraps()


@tap.case
def this_version_restores_across_the_anchor_and_so_does_the_script():
    sinks_hold_everything()
    tap.check(set(paths) <= recovered(), recovered())
    restored(NOW)
    everything_unwraps()
    tap.equal(h.wwctl_json("upgrade", "status")["level"], 2)


tap.run(before=up, after=down)
