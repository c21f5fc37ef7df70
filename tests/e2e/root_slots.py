#!/usr/bin/python3
"""The root key's slots with an operator's hands: wwctl init, age-keygen's identity, paper shares, a SoftHSM2 token, a swtpm; each
opens a start alone; what somebody else wrote into the slot table is named; the root is changed and everything is still there."""
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import daemon
import house
import tap

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
d = daemon.Daemon()
tpm = None
shares, recipient, identity = [], "", f"{d.folder}/identity.txt"
known = {}


def contains(text, *parts):
    for part in parts:
        tap.check(part in text, f"{part!r} is not in {text!r}")


def refused(*arguments, text=None):
    done = d.run(*arguments, text=text)
    tap.equal(done.returncode, 1, f"exit status of wwctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stderr


def configure(passphrase=True):
    d.config(d.approvers("ann", "ben"))
    path = f"{d.folder}/wirewrap.yaml"
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("seal:\n", f"seal:\n  device_program: {d.binary('ww-seal')}\n").replace(
            "  passphrase_file:", "  passphrase_file:" if passphrase else "  # passphrase_file:"))


def log():
    with open(f"{d.folder}/log") as f:
        return f.read()


def restart(*options):
    tap.equal(d.stop(), 0, "exit status after SIGTERM")
    d.start(*(options or ("--init",)))


def slots():
    return {s["slot"]: s for s in d.json("root", "slots", "list")["slots"]}


def write(name, text):
    path = f"{d.folder}/{name}"
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


def run(*arguments, **more):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    tap.equal(done.returncode, 0, f"{arguments}: {done.stdout}")
    return done.stdout


def make_certificate():
    """What --dev would make; without it the operator brings one."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=ekm.wirewrap.test",
        "-addext", "subjectAltName=DNS:ekm.wirewrap.test", "-days", "30", "-keyout", f"{d.folder}/server.key", "-out",
        f"{d.folder}/server.pem")


@tap.case
def a_new_store_makes_no_key_before_it_has_enough_slots():
    global recipient
    configure()
    make_certificate()
    write("passphrase", "correct horse battery\n")
    recipient = run("age-keygen", "-o", identity).split()[-1]
    d.start("--init")
    contains(refused("key", "create", "v0/a/key"), "still missing: 0 online and 2 offline slots", "wwctl init")
    s = d.json("status")
    contains(d.ok("status"), "root slots   1 online and 0 offline were seen to open: TOO FEW")
    tap.equal((s["state"], s["root"]["online"], s["root"]["offline"], s["root"]["enough"]), ("degraded", 1, 0, False))


@tap.case
def init_does_not_finish_where_the_answers_end_early():
    done = d.run("init", text=f"{recipient}\n")
    tap.equal(done.returncode, 1)
    contains(done.stdout, "NOT ENOUGH", "was never opened", "Not finished")
    contains(refused("key", "create", "v0/a/key"), "still missing")


@tap.case
def init_goes_on_with_an_identity_and_with_shares_typed_from_paper():
    """A conversation: the shares are read off the terminal as a person would, and typed back in as printed."""
    p = subprocess.Popen([d.binary("wwctl"), "--admin", f"{d.folder}/admin.sock", "init"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, bufsize=1)

    def asked(text=None):
        """What it says up to its next question, after this answer."""
        if text is not None:
            p.stdin.write(text + "\n")
        said = ""
        while not said.endswith("\n> "):
            ch = p.stdout.read(1)
            tap.check(ch != "", f"it ended: {said}")
            said += ch
        return said

    contains(asked(), "Slot 1 (age) was never opened")
    contains(asked(f"{d.folder}/nothing"), "No such file")
    contains(asked(identity), "it opens", "age recipients")
    contains(asked("3/2"), "refused: shares are K/N")
    paper = asked("2/3")
    contains(paper, "Slot 2 (shares) was never opened")
    for part in re.findall(r"share \d of 3[^\n]*\n((?:    [^\n]+\n)+)", paper):
        shares.append(part)
    tap.equal(len(shares), 3, paper)
    contains(asked("wwshare1 qqqq"), "the next line")
    contains(asked(""), "refused", "share 1 in it")
    for line in shares[2].splitlines() + shares[0].splitlines():
        contains(asked(line.strip()), "the next line")
    p.stdin.write("\n")
    out, _ = p.communicate(timeout=house.BOUND)
    tap.equal(p.returncode, 0, out)
    contains(out, "Done: keys can be made")
    d.ok("key", "create", "v0/a/key")
    d.ok("key", "rotate", "v0/a/key")
    known["v0/a/key"] = d.json("key", "show", "v0/a/key")["key"]


@tap.case
def below_the_minimum_nothing_is_taken_out():
    contains(refused("root", "slots", "remove", "1"), "0 online and 1 offline slot that", "add another first")
    contains(refused("root", "slots", "remove", "0", "--dry-run"), "1 online and 0 offline slots that")
    contains(refused("root", "slots", "remove", "9"), "there is no slot 9")


@tap.case
def the_age_identity_opens_a_start_alone():
    with open(f"{d.folder}/passphrase") as f:
        kept = f.read()
    write("passphrase", "another one entirely\n")
    tap.equal(d.stop(), 0)
    contains(d.fails_to_start(), "wrong_passphrase", "slot 0 (passphrase): wrong passphrase, from ")
    d.start("--identity", identity)
    tap.equal(d.json("key", "show", "v0/a/key")["key"], known["v0/a/key"])
    write("passphrase", kept)


@tap.case
def paper_shares_open_a_start_alone():
    kept = open(f"{d.folder}/passphrase").read()
    write("passphrase", "another one entirely\n")
    one, two = write("share1", shares[0]), write("shares", shares[1] + "# the second\n" + shares[2])
    tap.equal(d.stop(), 0)
    contains(d.fails_to_start("--shares", one), "wrong_passphrase")
    contains(log(), "slot 2 (shares): 1 of its shares are given, it takes 2")
    d.start("--shares", two)
    tap.equal(d.json("key", "show", "v0/a/key")["key"], known["v0/a/key"])
    write("passphrase", kept)
    restart()


@tap.case
def a_token_becomes_a_slot_is_opened_at_once_and_opens_a_start_alone():
    token = f"{d.folder}/token"
    os.makedirs(f"{token}/tokens")
    write("token/softhsm2.conf", f"directories.tokendir = {token}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    write("token/key", "an AES key for tests, 32 bytes!!")
    write("token/pin", "1234\n")
    os.environ["SOFTHSM2_CONF"] = f"{token}/softhsm2.conf"
    run("softhsm2-util", "--init-token", "--free", "--label", "ww", "--pin", "1234", "--so-pin", "5678")
    run("softhsm2-util", "--import", f"{token}/key", "--aes", "--token", "ww", "--label", "one", "--id", "01", "--pin", "1234")
    restart()
    add = ["root", "slots", "add", "--pkcs11", MODULE, "--token", "ww", "--pin", f"{token}/pin"]
    contains(refused(*add, "--key", "two"), 'has no AES key "two"')
    epoch = d.json("status")["epoch"]
    d.ok(*add, "--key", "one", "--dry-run")
    tap.equal(d.json("status")["epoch"], epoch, "a dry run changed something")
    reply = d.json(*add, "--key", "one")
    tap.equal((reply["slot"], reply["is"]["counts"], reply["is"]["kind"]), (3, True, "pkcs11"))
    d.ok("root", "slots", "remove", "0")
    configure(passphrase=False)
    os.remove(f"{d.folder}/passphrase")
    restart()

    tap.equal(sorted(slots()), [1, 2, 3])


@tap.case
def a_wrong_pin_is_tried_once_however_often_it_is_started():
    write("token/pin", "9999\n")
    tap.equal(d.stop(), 0)
    contains(d.fails_to_start(), "wrong_pin", "wrong PIN for the token")
    for _ in range(3):
        text = d.fails_to_start()
        contains(text, "wrong_pin", "refused this PIN before")
        tap.check("wrong PIN for the token" not in text, "the token was asked again")
    write("token/pin", "1234\n\n")
    d.start("--init")


@tap.case
def a_token_that_is_gone_is_named_and_the_age_identity_opens():
    os.rename(f"{d.folder}/token/tokens", f"{d.folder}/token/away")
    os.mkdir(f"{d.folder}/token/tokens")
    tap.equal(d.stop(), 0)
    contains(d.fails_to_start(), 'has no token', "slot 3 (pkcs11)")
    d.start("--identity", identity)
    os.rmdir(f"{d.folder}/token/tokens")
    os.rename(f"{d.folder}/token/away", f"{d.folder}/token/tokens")
    restart()


@tap.case
def a_tpm_becomes_a_slot_and_opens_a_start_alone():
    reply = d.json("root", "slots", "add", "--tpm2", f"swtpm:path={d.folder}/tpm/sock", "--pcrs", "16")
    tap.equal((reply["slot"], reply["is"]["counts"], reply["is"]["kind"]), (0, True, "tpm2"))
    d.ok("root", "slots", "remove", "3")
    restart()
    tap.equal(sorted(slots()), [0, 1, 2])


def start_tpm():
    global tpm
    os.mkdir(f"{d.folder}/tpm")
    sock = f"{d.folder}/tpm/sock"
    tpm = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={d.folder}/tpm", "--server", f"type=unixio,path={sock}",
                            "--ctrl", f"type=unixio,path={sock}.ctrl", "--flags", "not-need-init,startup-clear"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    house.wait_for(lambda: os.path.exists(sock), "swtpm")


@tap.case
def what_was_done_to_the_slot_table_from_outside_is_named_and_put_back():
    before = slots()
    for code, sql in (("slot_removed", "DELETE FROM slot WHERE number = 2"),
                      ("slot_added", "INSERT INTO slot SELECT 7, record FROM slot WHERE number = 1"),
                      ("slot_altered", "UPDATE slot SET record = (SELECT record FROM slot WHERE number = 1) WHERE number = 2")):
        tap.equal(d.stop(), 0)
        db = sqlite3.connect(f"{d.folder}/store/store.db", isolation_level=None)
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute(sql)
        db.close()
        d.start("--init")
        contains(d.json("status")["root"]["problem"], code)
        contains(d.ok("root", "slots", "list"), "FOUND AT START", code)
        tap.equal(slots(), before)
        restart()
        tap.equal(d.json("status")["root"]["problem"], "")


@tap.case
def every_change_of_slots_and_root_waits_for_two_approvers():
    spare = d.json("root", "slots", "add", "--age", recipient, "--identity", identity)["slot"]
    before, epoch = d.json("root", "slots", "list")["slots"], d.json("status")["epoch"]
    offline = next(s["slot"] for s in before if s["kind"] == "age")
    for change in (("slots", "add", "--age", recipient), ("slots", "rotate", str(offline)), ("slots", "remove", str(spare)), ("rotate",)):
        done = d.run_once("root", *change)
        tap.equal(done.returncode, 4, f"{change}: {done.stdout}{done.stderr}")
        contains(done.stderr, "waits for 2 signatures")
    tap.equal((d.json("root", "slots", "list")["slots"], d.json("status")["epoch"]), (before, epoch))
    for request in d.json("approval", "list")["approvals"]:
        d.ok("approval", "withdraw", request["id"])
    d.ok("root", "slots", "remove", str(spare))


@tap.case
def the_root_is_changed_with_no_offline_holder_there():
    before = d.json("status")["epoch"]
    d.ok("root", "rotate", "--dry-run")
    tap.equal(d.json("status")["epoch"], before)
    tap.equal(d.json("root", "rotate")["epoch"], before + 1)
    tap.equal(d.json("key", "show", "v0/a/key")["key"], known["v0/a/key"])
    d.ok("key", "rotate", "v0/a/key")
    known["v0/a/key"] = d.json("key", "show", "v0/a/key")["key"]
    restart()
    tap.equal(d.json("key", "show", "v0/a/key")["key"], known["v0/a/key"])


@tap.case
def after_it_the_same_identity_and_the_same_paper_open():
    for options in (("--identity", identity), ("--shares", f"{d.folder}/shares")):
        os.rename(f"{d.folder}/tpm/sock", f"{d.folder}/tpm/away")
        tap.equal(d.stop(), 0)
        contains(d.fails_to_start(), "slot 0 (tpm2)")
        d.start(*options)
        os.rename(f"{d.folder}/tpm/away", f"{d.folder}/tpm/sock")
        tap.equal(d.json("key", "show", "v0/a/key")["key"], known["v0/a/key"])
        d.ok("root", "slots", "verify", "1", "--identity", identity)
        d.ok("root", "slots", "verify", "2", "--shares-file", f"{d.folder}/shares")


@tap.case
def without_us_age_opens_the_slot_and_gives_the_root_key():
    """docs/WIRE.md, "Kind 2": cut the slot behind its recipients and before its last 8 bytes."""
    tap.equal(d.stop(), 0)
    db = sqlite3.connect(f"{d.folder}/store/store.db")
    slot = db.execute("SELECT record FROM slot WHERE number = 1").fetchone()[0]
    db.close()
    with open(f"{d.folder}/slot.age", "wb") as f:
        f.write(slot[7 + 32 * slot[6]:-8])
    plain = subprocess.check_output(["age", "-d", "-i", identity, f"{d.folder}/slot.age"])
    tap.equal((len(plain), plain[:6]), (38, slot[:6]))
    with open(f"{d.folder}/log", "rb") as f:
        tap.check(plain[-32:].hex().encode() not in f.read(), "the root key is in the log")


@tap.case
def no_log_holds_a_share():
    text = log()
    tap.check("wwshare" not in text, "a share is in the log")


def end():
    d.end()
    if tpm is not None:
        tpm.kill()
        tpm.wait()


if __name__ == "__main__":
    tap.run(before=start_tpm, after=end)
