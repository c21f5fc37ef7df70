#!/usr/bin/python3
"""Keys are made and 1 000 blobs wrapped; everything of Wirewrap is lost; the `age` program, docs/recover-keys and one offline slot open
every blob.  No program of Wirewrap runs in the second half."""
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

BLOBS = 1000
h = house.House()
away = tempfile.mkdtemp(prefix="wirewrap-away.")
paths = ["v0/orphan/one", "v0/orphan/two"]
blobs = {path: [] for path in paths}  # (plaintext, AAD, blob)
SIGNS, signing = "v0/orphan/signs", imports.ec_key()


def up():
    with open(f"{h.state}/more.yaml", "w") as f:
        f.write(backups.make_places(away))
    h.up()
    for name in ("first", "second"):
        backups.offline_slot_of(h, f"{away}/{name}.key")
    c = client.Connection(h)
    for path in paths:
        backups.change(h, "key", "create", path)
        h.policy_set(path, house.CALLER)
    backups.newest_level(h)
    backups.change(h, "key", "import", SIGNS, "--algorithm", "EC_SIGN_P256_SHA256", "--file",
                   imports.file_of(h, imports.wrapped(h, imports.pkcs8(signing))))
    for n in range(BLOBS):
        path = paths[n % 2]
        if n in (250, 500, 750):
            backups.change(h, "key", "rotate", path)
        plain, aad = os.urandom(n % 200), os.urandom(n % 7)
        blobs[path].append((plain, aad, c.wrapped(plain, aad, path=path)))
    c.close()
    epoch = h.wwctl_json("status")["epoch"]
    house.wait_for(lambda: all(s["epoch"] >= epoch for s in h.wwctl_json("backup", "status")["sinks"]), "both sinks to hold everything")
    h.stop()
    shutil.rmtree(h.state)
    shutil.rmtree(f"{away}/near")


def files():
    """The newest full file and all later ones, as the script asks for them."""
    names = [name for name in os.listdir(f"{away}/far") if name.startswith("ww-")]
    full = max((n for n in names if n.split("-")[3] == "000000000001"), key=lambda name: name.split("-")[2:])
    return [f"{away}/far/{n}" for n in names if n == full or n.split("-")[4] > full.split("-")[4]]


def recover(*arguments, text=""):
    return subprocess.run([f"{house.ROOT}/docs/recover-keys", f"{away}/second.key", *arguments], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


@tap.case
def the_script_is_a_hundred_lines_and_uses_nothing_of_wirewrap():
    with open(f"{house.ROOT}/docs/recover-keys") as f:
        text = f.read()
    tap.check(len(text.splitlines()) <= 100, "it is longer")
    imports = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    tap.equal(imports - {"base64", "hashlib", "json", "subprocess", "sys", "cryptography"}, set())


@tap.case
def the_age_program_opens_every_file_with_one_offline_identity():
    for path in files():
        subprocess.run(["age", "-d", "-i", f"{away}/first.key", path], check=True, stdout=subprocess.DEVNULL)


@tap.case
def every_key_and_version_is_listed():
    done = recover("keys", *files())
    tap.equal(done.returncode, 0, done.stderr)
    listed = {line.split()[0]: len(line.split()) - 2 for line in done.stdout.splitlines()}
    tap.equal((listed[paths[0]], listed[paths[1]]), (4, 1))


@tap.case
def a_private_key_comes_out_as_pkcs8():
    line = next(line for line in recover("keys", *files()).stdout.splitlines() if line.startswith(SIGNS))
    version, key = line.split()[2].split(":")
    tap.equal((version, bytes.fromhex(key)), ("1", imports.pkcs8(signing)))


@tap.case
def every_blob_unwraps():
    opened = 0
    for path in paths:
        lines = "".join(f"{client.b64(blob)} {client.b64(aad)}\n" for _, aad, blob in blobs[path])
        done = recover("unwrap", path, *files(), text=lines)
        tap.equal(done.returncode, 0, done.stderr)
        opened += sum(got == client.b64(plain) for got, (plain, _, _) in zip(done.stdout.splitlines(), blobs[path]))
    tap.equal(opened, BLOBS)


@tap.case
def another_identity_opens_nothing():
    backups.identity(f"{away}/stranger.key")
    done = subprocess.run([f"{house.ROOT}/docs/recover-keys", f"{away}/stranger.key", "keys", *files()], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    tap.check(done.returncode != 0 and done.stdout == "", done.stdout)


@tap.case
def the_drills_identity_alone_opens_no_key():
    done = subprocess.run([f"{house.ROOT}/docs/recover-keys", f"{away}/drill.key", "keys", *files()], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    tap.check(done.returncode != 0 and "no slot opens" in done.stderr and done.stdout == "", done.stdout + done.stderr)


@tap.case
def a_blob_of_another_key_or_altered_does_not_unwrap():
    (_, aad, blob), other = blobs[paths[0]][0], paths[1]
    tap.check(recover("unwrap", other, *files(), text=f"{client.b64(blob)} {client.b64(aad)}\n").returncode != 0, "another key")
    bad = blob[:-1] + bytes([blob[-1] ^ 1])
    tap.check(recover("unwrap", paths[0], *files(), text=f"{client.b64(bad)} {client.b64(aad)}\n").returncode != 0, "altered")


def down():
    """Where up did not come to its end, there is a house to take down."""
    try:
        if os.path.exists(h.state):
            h.down()
    finally:
        shutil.rmtree(away, ignore_errors=True)


tap.run(before=up, after=down)
