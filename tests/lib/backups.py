"""What the tests of backups share: age identities, offline slots, and keys compared."""
import json
import os
import re
import subprocess

import daemon
import house
import tap


def identity(path):
    """A new age identity in a file; its recipient."""
    out = subprocess.run(["age-keygen", "-o", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True).stderr
    return out.split()[-1]


def recipient(path):
    """Of the identity in that file."""
    return subprocess.run(["age-keygen", "-y", path], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def keys(d):
    """All of a daemon's keys, in every detail that a restore must bring back."""
    shown = [d.json("key", "show", key["path"])["key"] for key in d.json("key", "list")["keys"]]
    return sorted(((k["path"], k["id"], k["state"], k["primary"], [(v["tag"], v["state"]) for v in k["versions"]]) for k in shown))


def change(of, *arguments):
    """A key create or rotate of a Daemon or a House: over when its newest version serves.  A machine may be slower than wwctl waits."""
    socket = f"{of.folder if isinstance(of, daemon.Daemon) else of.state}/admin.sock"
    wwctl = [of.binary("wwctl"), "--admin", socket]
    done = subprocess.run([*wwctl, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    tap.check(done.returncode == 0 or "is stored and pending" in done.stderr, done.stderr)

    def key():
        shown = subprocess.run([*wwctl, "key", "show", arguments[2], "--json"], stdout=subprocess.PIPE, check=True).stdout
        return json.loads(shown)["key"]
    house.wait_for(lambda: key()["versions"][-1]["state"] == "enabled", f"{arguments} to be durable")
    return key()


def offline_slot(d, recipient, identity_file):
    """A slot for that recipient, opened once."""
    d.ok("root", "slots", "add", "--age", recipient, "--identity", identity_file)


def restored(config, source, *how):
    """The keys of a new host that has nothing but that configuration, a backup, and what is brought to open it.  It makes no
    backups of its own: the host that it comes from is still there.  It is patient with sinks, which nobody else tries again."""
    bare = daemon.Daemon()
    try:
        bare.config(re.sub(r"patience: \d+s", "patience: 120s", config))
        with open(f"{bare.folder}/passphrase", "w") as f:
            f.write("the passphrase of the new host\n")
        status = bare.spawn("--restore", source, *how).wait(house.BOUND)
        with open(f"{bare.folder}/log") as f:
            tap.equal(status, 0, f.read()[-2000:])
        bare.config()
        bare.start()
        return keys(bare)
    finally:
        bare.end()


def last_json(text):
    """The one JSON object among lines of a log."""
    return json.loads(next(line for line in reversed(text.splitlines()) if line.startswith("{")))


# Two sinks elsewhere, both demanded; two recipients who are elsewhere, too; an identity for drills.
CONFIG = """backup:
  required: 2
  recipients: [{first}, {second}]
  drill_identity_file: {away}/drill.key
  sinks:
    - {{name: near, kind: directory, place: {away}/near}}
    - {{name: far, kind: directory, place: {away}/far}}
"""
CONFIG_NEAR = """backup:
  sinks:
    - {{name: near, kind: directory, place: {away}/near}}
"""
# As much of a configuration as a restore needs.
MINIMAL = """nic:
  device: tap:ww0
net:
  addresses: [192.0.2.2/24]
ctrl:
  state_dir: {state}/store
seal:
  passphrase_file: {state}/passphrase
tls:
  certificate_file: {state}/server.pem
  key_file: {state}/server.key
auth:
  audiences: [https://ekm.wirewrap.test]
"""


def make_places(away):
    """Folders for the two sinks, identities for the two recipients and the drill; the configuration for them."""
    for name in ("near", "far"):
        os.mkdir(f"{away}/{name}")
    identity(f"{away}/drill.key")
    return CONFIG.format(away=away, first=identity(f"{away}/first.key"), second=identity(f"{away}/second.key"))


def offline_slot_of(h, path):
    """A slot for the age identity in that file, in a running house."""
    h.wwctl("root", "slots", "add", "--age", recipient(path), "--identity", path)


def newest_level(h):
    """A running house takes up what its version brought; refused while a backup is under way."""
    house.wait_for(lambda: h.wwctl_json("upgrade", "status")["may_commit"], "the sinks to hold everything")
    h.wwctl("upgrade", "commit")


def compact(h):
    """The changes so far become an anchor; refused, and tried again, while a backup or a drill is under way."""
    def done():
        out = subprocess.run([h.binary("wwctl"), "--admin", f"{h.state}/admin.sock", "--json", "store", "compact"], stdout=subprocess.PIPE, text=True)
        reply = json.loads(out.stdout)
        tap.check(out.returncode == 0 or reply["error"]["code"] in ("backup_running", "backup_behind"), reply)
        return out.returncode == 0 and reply["anchor_epoch"] > 0
    house.wait_for(done, "the compaction")
