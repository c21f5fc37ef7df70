#!/usr/bin/python3
"""A ledger of blobs, wrapped while keys are made, rotated, switched off and on, both processes are killed, the chain of changes is compacted and
the store is lost and restored: at the end every one of them unwraps.  Seeded; long_ledger.py is the same with 100 000 blobs."""
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import client
import house
import tap

SEED = 20260401


class Ledger:
    def __init__(self, blobs, events):
        self.blobs, self.events = blobs, events
        self.house = house.House()
        self.away = tempfile.mkdtemp(prefix="wirewrap-away.")
        self.choose = random.Random(SEED)
        self.paths, self.entries, self.connection = [], [], None  # entries: (path, plaintext seed, blob)
        self.done = {}

    def up(self):
        with open(f"{self.house.state}/more.yaml", "w") as f:
            f.write(backups.make_places(self.away))
        self.house.up()
        backups.offline_slot_of(self.house, f"{self.away}/first.key")
        self.create()

    def down(self):
        try:
            self.house.down()
        finally:
            shutil.rmtree(self.away, ignore_errors=True)

    # ---- what happens to it ----

    def create(self):
        path = f"v0/ledger/key{len(self.paths)}"
        backups.change(self.house, "key", "create", path)
        self.house.policy_set(path, house.CALLER)
        self.paths.append(path)

    def rotate(self):
        backups.change(self.house, "key", "rotate", self.choose.choice(self.paths))

    def off_and_on(self):
        """A key, or one version of it, is off for a while: what it wrapped is refused, and opens again."""
        path, _, blob = self.choose.choice(self.entries)
        self.house.wwctl("key", "disable", path)
        reply = self.try_once("unwrap", blob, path)
        tap.check(reply is None or reply.status == 400, reply)
        self.house.wwctl("key", "enable", path)

    def kill(self, name):
        pid = self.house.pid(name)
        if pid:
            os.kill(pid, signal.SIGKILL)
        house.wait_for(lambda: self.house.pid(name) not in (0, pid) and self.house.in_sync(), f"{name} to be back")

    def kill_ctrl(self):
        self.kill("ctrl")

    def kill_dataplane(self):
        self.kill("dataplane")

    def compact(self):
        """The first time, it goes to the level that has anchors."""
        if not self.house.wwctl_json("upgrade", "status")["newest"]:
            backups.newest_level(self.house)
        backups.compact(self.house)

    def lose_the_store(self):
        """Everything that was acknowledged is in both sinks: nothing is lost with the disk."""
        source = self.choose.choice(["near", "far"])
        self.drop()
        self.house.stop()
        shutil.rmtree(f"{self.house.state}/store")
        subprocess.run([self.house.binary("ww-ctrl"), "--config", f"{self.house.state}/wirewrap.yaml", "--restore", source, "--identity",
                        f"{self.away}/first.key"], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.house.up()

    # ---- blobs ----

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def try_once(self, verb, data, path):
        try:
            self.connection = self.connection or client.Connection(self.house)
            return getattr(self.connection, verb)(data, path=path)
        except (OSError, client.Closed, ValueError):
            self.drop()
            return None

    def until_ok(self, verb, data, path):
        until = time.monotonic() + house.BOUND
        while True:
            reply = self.try_once(verb, data, path)
            if reply is not None and reply.status == 200:
                return reply.json()
            tap.check(time.monotonic() < until, f"{verb} of {path}: {reply}")
            time.sleep(0.02)

    def plaintext(self, n):
        return random.Random(n).randbytes(16 + n % 48)

    def wrap(self, count):
        for _ in range(count):
            n, path = len(self.entries), self.choose.choice(self.paths)
            reply = self.until_ok("wrap", self.plaintext(n), path)
            self.entries.append((path, n, client.base64.b64decode(reply["wrappedBlob"])))

    def run(self):
        kinds = [self.create, self.rotate, self.off_and_on, self.rotate, self.kill_ctrl, self.kill_dataplane, self.compact, self.lose_the_store]
        for number in range(self.events):
            self.wrap(self.blobs // self.events)
            event = kinds[number % len(kinds)] if number < len(kinds) else self.choose.choice(kinds)
            event()
            self.done[event.__name__] = self.done.get(event.__name__, 0) + 1
        self.wrap(self.blobs - len(self.entries))
        print(f"# seed {SEED}: {len(self.entries)} blobs, {self.done}")

    def check(self):
        for path, n, blob in self.entries:
            got = client.base64.b64decode(self.until_ok("unwrap", blob, path)["plaintext"])
            tap.check(got == self.plaintext(n), f"blob {n} of {path} came back as something else")


def main(blobs, events):
    ledger = Ledger(blobs, events)

    @tap.case
    def blobs_are_wrapped_through_everything():
        ledger.run()
        tap.check(set(ledger.done) >= {"rotate", "off_and_on", "kill_ctrl", "kill_dataplane", "compact", "lose_the_store"}, ledger.done)

    @tap.case
    def every_blob_unwraps_at_the_end():
        ledger.check()

    @tap.case
    def and_from_a_store_restored_once_more():
        ledger.lose_the_store()
        ledger.check()

    tap.run(before=ledger.up, after=ledger.down)


if __name__ == "__main__":
    main(1500, 8)
