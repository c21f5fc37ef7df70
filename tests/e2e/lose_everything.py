#!/usr/bin/python3
"""Keys are made and 1 000 blobs wrapped; the whole state directory is deleted; one sink and one offline slot bring everything back."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import client
import house
import imports
import tap

BLOBS, KEYS = 1000, 5
h = house.House()
away = tempfile.mkdtemp(prefix="wirewrap-away.")  # what is elsewhere: the sinks, and what people hold
blobs = []  # (path of the key, plaintext, AAD, blob)
epoch = drilled = None
SIGNS, signing = "v0/lost/signs", imports.ec_key()


def wrap_all():
    c = client.Connection(h)
    paths = [f"v0/lost/key{n}" for n in range(KEYS)]
    for path in paths:
        backups.change(h, "key", "create", path)
        h.policy_set(path, house.CALLER)
    for n in range(BLOBS):
        path = paths[n % KEYS]
        if n in (300, 600):
            backups.change(h, "key", "rotate", path)
        plain, aad = os.urandom(32), b"context %d" % n if n % 2 else b""
        blobs.append((path, plain, aad, c.wrapped(plain, aad, path=path)))
    h.wwctl("key", "disable", paths[0], "--version", "1")
    c.close()


def unwrap_all():
    c = client.Connection(h)
    opened = sum(c.unwrapped(blob, aad, path=path) == plain for path, plain, aad, blob in blobs)
    c.close()
    return opened


def up():
    global epoch
    with open(f"{h.state}/more.yaml", "w") as f:
        f.write(backups.make_places(away))
    h.up()
    for name in ("first", "second"):
        backups.offline_slot_of(h, f"{away}/{name}.key")
    wrap_all()
    backups.newest_level(h)
    backups.change(h, "key", "import", SIGNS, "--algorithm", "EC_SIGN_P256_SHA256", "--file",
                   imports.file_of(h, imports.wrapped(h, imports.pkcs8(signing))))
    h.wwctl("key", "enable", "v0/lost/key0", "--version", "1")
    epoch = h.wwctl_json("status")["epoch"]
    house.wait_for(lambda: all(s["epoch"] >= epoch for s in h.wwctl_json("backup", "status")["sinks"]), "both sinks to hold everything")


@tap.case
def every_blob_unwraps_before():
    tap.equal(unwrap_all(), BLOBS)


@tap.case
def a_challenge_is_answered_with_an_offline_slot_and_the_files_alone():
    """The drill that an operator does: it shows, before the loss, that what is held elsewhere is enough."""
    challenge = h.wwctl_json("drill", "offline-root")["challenge"]
    alone = tempfile.mkdtemp(prefix="wirewrap-alone.")
    try:
        with open(f"{alone}/wirewrap.yaml", "w") as f, open(f"{h.state}/wirewrap.yaml") as config:
            f.write(config.read().replace(h.state, alone))
        out = subprocess.run([h.binary("ww-ctrl"), "--config", f"{alone}/wirewrap.yaml", "--drill", f"{away}/far", "--identity",
                              f"{away}/second.key", "--challenge", challenge], check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        shutil.rmtree(alone)
    answer = backups.last_json(out)
    tap.equal((answer["ok"], answer["epoch"]), (True, epoch))
    h.wwctl("drill", "prove", "--proof", answer["proof"][::-1], refused=True)
    h.wwctl("drill", "prove", "--proof", answer["proof"])
    tap.check(h.wwctl_json("status")["backup"]["offline_drill"], "it is not noted")


@tap.case
def the_drill_shows_that_both_sinks_restore():
    sinks = h.wwctl_json("drill")["sinks"]
    tap.equal([(s["drill"]["ok"], s["drill"]["level"], s["drill"]["epoch"]) for s in sinks], [(True, 2, epoch)] * 2)
    tap.check("restored " in h.wwctl("status"), "status does not tell")


@tap.case
def a_store_that_is_there_is_never_overwritten():
    done = restore(f"{away}/near")
    tap.equal(done.returncode, 1)
    tap.check("store_there" in done.stderr, done.stderr)
    tap.equal(h.wwctl_json("status")["epoch"], epoch)


def restore(source, identity="first"):
    return subprocess.run([h.binary("ww-ctrl"), "--config", f"{h.state}/wirewrap.yaml", "--restore", source, "--identity",
                           f"{away}/{identity}.key"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@tap.case
def the_state_directory_is_lost_and_made_again_from_one_sink_with_one_slot():
    h.stop()
    shutil.rmtree(h.state)
    shutil.rmtree(f"{away}/far")
    os.remove(f"{away}/drill.key")
    os.makedirs(h.state)
    bare_config()
    done = restore("near")
    tap.equal(done.returncode, 0, done.stderr)
    tap.check(f"epoch={epoch} " in done.stderr, done.stderr)
    h.up()
    tap.check(h.wwctl_json("status")["keys"] > KEYS, "keys are missing")
    key = h.wwctl_json("key", "show", SIGNS)["key"]
    tap.equal((key["state"], key["versions"][0]["public_key"]), ("enabled", imports.public_pem(signing)))


def bare_config():
    """What an operator writes on a new host: the old configuration, a new passphrase, the sink that is left."""
    os.mkdir(f"{h.state}/store")
    with open(f"{h.state}/passphrase", "w") as f:
        f.write("another passphrase for another host\n")
    with open(f"{h.state}/more.yaml", "w") as f:
        f.write(backups.CONFIG_NEAR.format(away=away))
    with open(f"{h.state}/wirewrap.yaml", "w") as f:
        f.write(backups.MINIMAL.format(state=h.state) + backups.CONFIG_NEAR.format(away=away))


@tap.case
def every_blob_unwraps_after():
    tap.equal(unwrap_all(), BLOBS)


@tap.case
def the_restored_host_wraps_rotates_and_goes_on_with_its_backup():
    c = client.Connection(h)
    backups.change(h, "key", "rotate", "v0/lost/key1")
    tap.equal(c.unwrapped(c.wrapped(b"after the loss", path="v0/lost/key1"), path="v0/lost/key1"), b"after the loss")
    c.close()
    now = h.wwctl_json("status")["epoch"]
    house.wait_for(lambda: h.wwctl_json("backup", "status")["sinks"][0]["epoch"] >= now, "the sink to follow")


@tap.case
def the_old_hosts_slot_is_gone_and_the_offline_ones_are_there():
    slots = h.wwctl_json("root", "slots", "list")["slots"]
    tap.equal(sorted(s["kind"] for s in slots), ["age", "age", "passphrase"])


def down():
    try:
        h.down()
    finally:
        shutil.rmtree(away, ignore_errors=True)


tap.run(before=up, after=down)
