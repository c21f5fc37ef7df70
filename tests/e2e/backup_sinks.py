#!/usr/bin/python3
"""Backups to a directory, an S3-compatible store and a real sshd; sinks that stall, fail, truncate; each alone restores everything."""
import ctypes
import glob
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import daemon
import house
import s3
import tap

CLONE_NEWNET = 0x40000000
SINKS = """backup:
  required: 2
  drill_identity_file: {folder}/drill.key
  sinks:
    - {{name: disk, kind: directory, place: {folder}/disk, required: true}}
    - {{name: bucket, kind: s3, place: "{s3}", region: eu-test-1, bucket: backups, prefix: "site 1/", credentials_file: {folder}/s3.key, patience: 5s}}
    - {{name: host, kind: sftp, place: "sftp://root@127.0.0.1:{port}{folder}/host", credentials_file: {folder}/ssh.key, trust_file: {folder}/known_hosts, patience: 5s}}
"""
PORT = 2222
d = daemon.Daemon()
store = sshd = offline = None


def network_of_its_own():
    """This process and what it starts, nobody else; it goes away with them."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def sshd_start():
    global sshd
    f = d.folder
    for name in ("ssh.key", "ssh_host.key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{f}/{name}"], check=True)
    with open(f"{f}/known_hosts", "w") as known, open(f"{f}/ssh_host.key.pub") as public:
        known.write(f"[127.0.0.1]:{PORT} {' '.join(public.read().split()[:2])}\n")
    with open(f"{f}/sshd_config", "w") as config:
        config.write(f"Port {PORT}\nListenAddress 127.0.0.1\nHostKey {f}/ssh_host.key\nAuthorizedKeysFile {f}/ssh.key.pub\n"
                     "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n")
    os.makedirs("/run/sshd", exist_ok=True)
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{f}/sshd_config"], stdin=subprocess.DEVNULL,
                            stderr=open(f"{f}/sshd.log", "w"))
    house.wait_for(lambda: subprocess.run(["nc", "-z", "127.0.0.1", str(PORT)]).returncode == 0, "sshd to listen")


def before():
    global store, offline
    network_of_its_own()
    for name in ("disk", "host"):
        os.mkdir(f"{d.folder}/{name}")
    sshd_start()
    store = s3.Store()
    with open(f"{d.folder}/s3.key", "w") as f:
        f.write(f"{store.key_id}\n{store.secret}\n")
    backups.identity(f"{d.folder}/drill.key")
    offline = backups.identity(f"{d.folder}/offline.key")
    d.config(SINKS.format(folder=d.folder, s3=store.url, port=PORT))
    d.start()
    backups.offline_slot(d, offline, f"{d.folder}/offline.key")


def sink(name):
    return next(s for s in d.json("backup", "status")["sinks"] if s["name"] == name)


def until_all_hold():
    epoch = d.json("status")["epoch"]
    house.wait_for(lambda: all(s["epoch"] >= epoch for s in d.json("backup", "status")["sinks"]), "every sink to hold every epoch")


@tap.case
def a_key_is_enabled_once_it_is_in_the_sinks_that_are_demanded():
    key = backups.change(d, "key", "create", "v0/first")
    tap.equal((key["state"], key["primary"]), ("enabled", 1))
    backups.change(d, "key", "rotate", "v0/first")
    until_all_hold()


@tap.case
def every_sink_has_files_that_the_age_program_opens():
    remote = {name: data for name, data in store.objects.items()}
    tap.check(remote and all(name.startswith("site 1/ww-") for name in remote), remote.keys())
    for folder in ("disk", "host"):
        files = glob.glob(f"{d.folder}/{folder}/ww-*.age")
        tap.check(files, folder)
        for path in files:
            out = subprocess.run(["age", "-d", "-i", f"{d.folder}/offline.key", path], check=True, stdout=subprocess.PIPE).stdout
            tap.equal(json.loads(out.splitlines()[0])["wirewrap_backup"], 1)
    tap.equal(store.refused, [])


def restored(name, *how):
    """The keys of a host that has nothing but the sink and what is brought.  It makes no backups: its elder still does."""
    return backups.restored(SINKS.format(folder=d.folder, s3=store.url, port=PORT), name, *how)


@tap.case
def each_sink_alone_restores_every_key_with_the_offline_slot():
    want = backups.keys(d)
    for name in ("disk", "bucket", "host"):
        tap.equal(restored(name, "--identity", f"{d.folder}/offline.key"), want, name)


@tap.case
def paper_shares_restore_as_well():
    made = d.json("root", "slots", "add", "--shares", "2/3")
    with open(f"{d.folder}/shares", "w") as f:
        f.write(f"# the first\n{made['shares'][0]}\n# the third\n{made['shares'][2]}\n")
    d.ok("root", "slots", "verify", str(made["is"]["slot"]), "--shares-file", f"{d.folder}/shares")
    d.ok("backup", "run")  # a slot is no epoch: what holds every epoch may not be encrypted to it yet
    until_all_hold()
    tap.equal(restored("host", "--shares", f"{d.folder}/shares"), backups.keys(d))


@tap.case
def a_sink_that_stalls_delays_nothing_that_can_do_without_it():
    store.faults["PUT"] = "stall"
    backups.change(d, "key", "create", "v0/second")
    house.wait_for(lambda: sink("bucket")["problem"], "the stalled sink to be told")


@tap.case
def a_sink_that_is_demanded_and_fails_keeps_a_new_key_pending_and_is_named():
    os.rename(f"{d.folder}/disk", f"{d.folder}/away")
    refused = d.run("key", "create", "v0/third")
    tap.equal(refused.returncode, 1)
    tap.check("sink disk" in refused.stderr and "pending" in d.ok("key", "show", "v0/third"), refused.stderr)
    tap.equal(d.json("key", "show", "v0/second")["key"]["state"], "enabled")
    tap.equal(d.json("status")["state"], "degraded")
    os.rename(f"{d.folder}/away", f"{d.folder}/disk")
    house.wait_for(lambda: d.json("key", "show", "v0/third")["key"]["state"] == "enabled", "the key to serve")


def until_bucket_says(text):
    house.wait_for(lambda: text in sink("bucket")["problem"], f"{text} of {sink('bucket')}")


@tap.case
def a_store_that_keeps_half_is_found_by_reading_back():
    store.faults = {"PUT": "truncate"}
    store.released.set()
    backups.change(d, "key", "create", "v0/fourth")
    until_bucket_says("reads back as something else")


@tap.case
def a_store_that_sends_half_is_found():
    store.faults = {"GET": "truncate"}
    backups.change(d, "key", "create", "v0/fifth")
    until_bucket_says("127.0.0.1")


@tap.case
def a_store_that_fails_is_named_with_its_own_words():
    store.faults = {"PUT": "fail"}
    backups.change(d, "key", "create", "v0/sixth")
    until_bucket_says("500 InternalError")


@tap.case
def a_secret_that_is_wrong_is_denied():
    with open(f"{d.folder}/s3.key", "w") as f:
        f.write(f"{store.key_id}\nanother secret\n")
    store.faults = {}
    backups.change(d, "key", "create", "v0/seventh")
    until_bucket_says("403 SignatureDoesNotMatch")


@tap.case
def a_store_that_works_again_is_brought_up_to_date():
    with open(f"{d.folder}/s3.key", "w") as f:
        f.write(f"{store.key_id}\n{store.secret}\n")
    house.wait_for(lambda: sink("bucket")["problem"] == "" and sink("bucket")["known"], "the bucket to work again")
    until_all_hold()
    tap.equal(restored("bucket", "--identity", f"{d.folder}/offline.key"), backups.keys(d))


@tap.case
def a_host_with_another_key_gets_nothing():
    with open(f"{d.folder}/known_hosts") as f:
        right = f.read()
    with open(f"{d.folder}/known_hosts", "w") as f, open(f"{d.folder}/ssh.key.pub") as other:
        f.write(f"[127.0.0.1]:{PORT} {' '.join(other.read().split()[:2])}\n")
    backups.change(d, "key", "create", "v0/eighth")
    house.wait_for(lambda: sink("host")["problem"], "the wrong host to be told")
    with open(f"{d.folder}/known_hosts", "w") as f:
        f.write(right)
    house.wait_for(lambda: sink("host")["problem"] == "" and sink("host")["known"], "the host to be trusted again")


@tap.case
def the_drill_proves_every_sink():
    until_all_hold()
    sinks = []

    def drilled():
        """A sink that stood still for longer than its patience is drilled again."""
        sinks[:] = json.loads(d.run("drill", "--json").stdout)["sinks"]
        return all(s["drill"] and "timed out" not in s["drill"]["text"] for s in sinks)
    house.wait_for(drilled, "a drill")
    epoch = d.json("status")["epoch"]
    tap.equal([(s["name"], s["drill"]["ok"], s["drill"]["level"], s["drill"]["epoch"]) for s in sinks],
              [(name, True, 2, epoch) for name in ("disk", "bucket", "host")])


@tap.case
def a_drill_finds_what_was_damaged_and_a_full_backup_mends_it():
    for path in glob.glob(f"{d.folder}/disk/ww-*.age"):
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) // 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 1]))
    refused = d.run("drill", "--sink", "disk")
    tap.equal(refused.returncode, 1, refused.stdout)
    tap.check("sink disk" in refused.stderr and "ww-" in refused.stderr, refused.stderr)
    tap.check("FAILED" in d.ok("status"), "status does not tell")
    d.ok("backup", "run")
    d.ok("drill", "--sink", "disk")


@tap.case
def ctrl_maps_no_library_of_those_that_carry_its_backups():
    with open(f"/proc/{d.process.pid}/maps") as f:
        names = {os.path.basename(line.split()[-1]) for line in f if ".so" in line}
    tap.equal([n for n in names if n.startswith(("libcrypto", "libssl", "libgnutls", "libcurl", "libssh"))], [])


@tap.case
def no_credential_or_key_is_in_a_log():
    with open(f"{d.folder}/log") as f:
        log = f.read()
    for secret in (store.secret, "AGE-SECRET-KEY", "PRIVATE KEY", "wwshare1"):
        tap.check(secret not in log, secret)


def after():
    d.end()
    if sshd:
        sshd.terminate()
        sshd.wait()


tap.run(before=before, after=after)
