#!/usr/bin/python3
"""Everything is killed, ctl socket, store and audit are taken away, and only ww-dataplane starts again: from its warm snapshot.
First with a systemd credential for a key, then with one that a TPM (swtpm) sealed and ww-seal fetches."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap
import warm

OTHER = "v0/other/key"
KEY_MESSAGE, END_MESSAGE = 18, 25
h = house.House()
credentials = tempfile.mkdtemp(prefix="wirewrap-test.", dir="/dev/shm")  # a file system in memory, as systemd's is
folder = f"{h.state}/warm"
warm_key = os.urandom(32)
blobs = []  # (path, blob, plaintext)
process = None


def credential(where, key=warm_key):
    os.makedirs(where, exist_ok=True)
    with open(f"{where}/warm", "wb") as f:
        f.write(key)
    os.environ["CREDENTIALS_DIRECTORY"] = where


def up():
    credential(credentials)
    with open(f"{h.state}/dataplane.yaml", "w") as f:
        f.write(f"warm_key: credential:warm\nwarm_dir: {folder}\n")
    h.up()


def status():
    try:
        with open(f"{folder}/status.json") as f:
            return json.load(f)
    except FileNotFoundError:
        return {"source": "none", "epoch": 0, "warm": {"snapshot_epoch": 0, "problem": ""}}


def snapshot_is_current():
    return status()["warm"]["snapshot_epoch"] == h.wwctl_json("status")["epoch"]


def make_blobs(count):
    c = client.Connection(h)
    for path in (h.key, OTHER):
        for _ in range(count):
            plaintext = os.urandom(32)
            blobs.append((path, c.wrapped(plaintext, path=path), plaintext))
    c.close()


def opened():
    c = client.Connection(h)
    count = sum(c.unwrapped(blob, path=path) == plaintext for path, blob, plaintext in blobs)
    c.close()
    return count


def kill_everything():
    with open(f"{h.state}/supervisor.pid") as f:
        supervisor = int(f.read().split()[0])
    pids = [h.pid("ctrl"), h.pid("dataplane"), supervisor]
    os.kill(supervisor, signal.SIGSTOP)  # or it would start them again, and its death would end them gently
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    house.wait_for(lambda: not any(alive(pid) for pid in pids), "the end of all processes")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start():
    global process
    log = open(f"{h.state}/dataplane.log", "ab")
    if os.path.exists(f"{folder}/status.json"):
        os.unlink(f"{folder}/status.json")
    process = subprocess.Popen([h.binary("ww-dataplane"), "--config", f"{h.state}/wirewrap.yaml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def stop():
    process.terminate()
    tap.equal(process.wait(house.BOUND), 0, "exit status")


def serves():
    return status()["source"] == "warm"


def refused(problem):
    """A start alone that must come to nothing, and say why."""
    start()
    house.wait_for(lambda: status()["warm"]["problem"] == problem, f"{problem} in status.json")
    tap.equal((status()["source"], status()["epoch"]), ("none", 0))
    c = None
    try:
        c = client.Connection(h)
        raise AssertionError("a TLS connection was served")
    except (OSError, client.Closed):
        pass
    finally:
        if c:
            c.close()
        stop()


def replace(name, content):
    with open(f"{folder}/{name}", "wb") as f:
        f.write(content)


def saved(name):
    with open(f"{h.state}/{name}.saved", "rb") as f:
        return f.read()


@tap.case
def the_snapshot_follows_each_change():
    h.key_make(OTHER, house.CALLER)
    make_blobs(5)
    h.wwctl("key", "rotate", OTHER)
    make_blobs(20)
    house.wait_for(snapshot_is_current, "a snapshot of the newest epoch")
    tap.equal(status()["source"], "ctrl")


@tap.case
def an_independent_reader_finds_the_keys_in_it_and_no_root_or_slot():
    with open(f"{folder}/snapshot", "rb") as f:
        file = f.read()
    epoch, _, stream = warm.opened(file, warm_key)
    tap.equal(epoch, h.wwctl_json("status")["epoch"])
    kinds = [kind for kind, _, _ in warm.messages(stream)]
    tap.check(kinds[0] == 17 and kinds[-1] == END_MESSAGE and kinds.count(KEY_MESSAGE) == 2, kinds)
    tap.check(set(kinds) <= set(range(17, 26)), kinds)
    tap.check(OTHER.encode() not in file and b"PRIVATE KEY" not in file, "something is in the clear")


@tap.case
def alone_it_opens_every_blob_and_wraps():
    kill_everything()
    move_ctrls_files(away=True)
    os.unlink(f"{h.state}/ctl.sock")
    begun = time.monotonic()
    start()
    house.wait_for(serves, "a warm start")
    print(f"# {time.monotonic() - begun:.1f} s until it served")
    tap.equal(opened(), len(blobs))
    make_blobs(5)
    tap.equal(opened(), len(blobs))


@tap.case
def its_status_says_warm():
    s = status()
    tap.equal((s["source"], s["serving"], s["ctrl"], s["keys"], s["warm"]["problem"]), ("warm", True, "absent", 2, ""))


@tap.case
def policies_hold():
    c = client.Connection(h)
    tap.equal(c.wrap(b"x", token="garbled").status, 401)
    tap.equal(c.wrap(b"x", path="v0/no/such").status, 404)
    c.close()


@tap.case
def a_second_start_alone_serves_too():
    stop()
    start()
    house.wait_for(serves, "a warm start")
    tap.equal(opened(), len(blobs))
    stop()
    for name in ("snapshot", "floor"):
        shutil.copy(f"{folder}/{name}", f"{h.state}/{name}.saved")


@tap.case
def a_tampered_snapshot_is_refused_and_named():
    file = bytearray(saved("snapshot"))
    file[len(file) // 2] ^= 1
    replace("snapshot", file)
    refused("warm_damaged")


@tap.case
def a_stale_snapshot_is_refused_and_named():
    epoch, unix_s, stream = warm.opened(saved("snapshot"), warm_key)
    replace("snapshot", warm.sealed(warm.SNAPSHOT, epoch, unix_s - 8 * 86400, stream, warm_key))
    replace("floor", warm.sealed(warm.FLOOR, epoch, unix_s - 8 * 86400, b"", warm_key))
    refused("warm_too_old")


@tap.case
def a_snapshot_below_the_floor_is_refused_and_named():
    epoch, unix_s, _ = warm.opened(saved("snapshot"), warm_key)
    replace("snapshot", saved("snapshot"))
    replace("floor", warm.sealed(warm.FLOOR, epoch + 1, unix_s, b"", warm_key))
    refused("warm_below_floor")
    replace("floor", saved("floor"))


@tap.case
def a_key_that_lies_beside_the_snapshot_does_not_count():
    credential(folder)
    start()
    house.wait_for(lambda: logged("warm_key_beside"), "the refusal in the log")
    stop()
    os.unlink(f"{folder}/warm")


@tap.case
def a_key_on_a_disk_does_not_count():
    kind = subprocess.run(["stat", "-f", "-c", "%T", h.state], capture_output=True, text=True).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        raise tap.Skip(f"temporary files lie on {kind} here")
    credential(f"{h.state}/credentials")
    start()
    try:
        house.wait_for(lambda: logged("warm_key_on_disk"), "the refusal in the log")
    finally:
        stop()
        shutil.rmtree(f"{h.state}/credentials")
        os.environ["CREDENTIALS_DIRECTORY"] = credentials


def logged(code):
    with open(f"{h.state}/dataplane.log") as f:
        return f"code={code}" in f.read().replace('"', "")


@tap.case
def the_configuration_takes_no_key_file():
    with open(f"{h.state}/wirewrap.yaml") as f:
        text = f.read()
    with open(f"{h.state}/beside.yaml", "w") as f:
        f.write(text.replace("credential:warm", f"{folder}/warm.key"))
    done = subprocess.run([h.binary("ww-dataplane"), "--config", f"{h.state}/beside.yaml"], capture_output=True, text=True)
    tap.equal(done.returncode, 2)
    tap.check("warm_key" in done.stderr and "beside the snapshot" in done.stderr, done.stderr)


def start_ctrl():
    log = open(f"{h.state}/ctrl.log", "ab")
    return subprocess.Popen([h.binary("ww-ctrl"), "--config", f"{h.state}/wirewrap.yaml", "--dev"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def move_ctrls_files(away):
    for name in ("store", "audit", "passphrase"):
        os.rename(f"{h.state}/{name}{'' if away else '.away'}", f"{h.state}/{name}{'.away' if away else ''}")


@tap.case
def ctrl_is_taken_again_when_it_is_back():
    replace("snapshot", saved("snapshot"))
    start()
    house.wait_for(serves, "a warm start")
    move_ctrls_files(away=False)
    ctrl = start_ctrl()
    try:
        house.wait_for(lambda: status()["source"] == "ctrl", "ctrl's own snapshot")
        h.wwctl("key", "disable", OTHER)
        c = client.Connection(h)
        tap.equal(c.wrap(b"x", path=OTHER).status, 400)
        c.close()
        house.wait_for(snapshot_is_current, "a snapshot of the newest epoch")
    finally:
        ctrl.terminate()
        tap.equal(ctrl.wait(house.BOUND), 0)
        stop()


# ---- the same with a TPM ----

SEALED, PORT, PCR = f"{h.state}/warm.sealed", 2321, 16
TCTI = f"swtpm:host=127.0.0.1,port={PORT}"
swtpm = None


def tpm_start(name):
    """In the house's network, as everything that this test starts."""
    global swtpm
    os.makedirs(f"{h.state}/{name}", exist_ok=True)
    swtpm = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={h.state}/{name}", "--server", f"type=tcp,port={PORT}", "--ctrl",
                              f"type=tcp,port={PORT + 1}", "--flags", "not-need-init,startup-clear"], stdin=subprocess.DEVNULL)
    house.wait_for(lambda: listens(PORT), "swtpm")


def listens(port):
    with open("/proc/thread-self/net/tcp") as f:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in f.readlines()[1:])


def tpm_stop():
    swtpm.terminate()
    swtpm.wait(house.BOUND)


def tpm_extend():
    """What firmware does when it loads another program than the last time: TPM2_PCR_Extend, part 3, 22.2."""
    body = struct.pack(">IIIHBHIH", PCR, 9, 0x40000009, 0, 0, 0, 1, 0x000B) + bytes(32)
    with socket.create_connection(("127.0.0.1", PORT)) as s:
        s.sendall(struct.pack(">HII", 0x8002, 10 + len(body), 0x182) + body)
        tap.equal(s.recv(10)[6:10], bytes(4), "the TPM's answer")


def make_sealed_key(*arguments):
    return subprocess.run([h.binary("ww-seal"), "warm-key", SEALED, "--tpm2", TCTI, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)


@tap.case
def ww_seal_makes_a_key_that_no_file_holds_and_does_not_overwrite_one():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    tap.check("no TPM at" in make_sealed_key().stderr, "a missing TPM is not named")
    tpm_start("tpm")
    done = make_sealed_key("--pcrs", str(PCR))
    tap.check(done.returncode == 0 and "this TPM opens it" in done.stdout, done.stderr)
    again = make_sealed_key()
    tap.check(again.returncode == 1 and "move it away first" in again.stderr, again.stderr)
    tap.equal(os.stat(SEALED).st_mode & 0o777, 0o600)


@tap.case
def with_the_tpm_the_dataplane_keeps_a_snapshot():
    os.environ.pop("CREDENTIALS_DIRECTORY")
    with open(f"{h.state}/wirewrap.yaml") as f:
        text = f.read().replace("credential:warm", f'"tpm2:{SEALED}"').replace("\nseal:\n", f"\nseal:\n  device_program: {h.binary('ww-seal')}\n")
    with open(f"{h.state}/wirewrap.yaml", "w") as f:
        f.write(text)
    for name in ("snapshot", "floor"):
        os.unlink(f"{folder}/{name}")
    ctrl = start_ctrl()
    start()
    try:
        house.wait_for(lambda: status()["source"] == "ctrl", "ctrl's own snapshot")
        h.wwctl("key", "enable", OTHER)
        make_blobs(5)
        house.wait_for(snapshot_is_current, "a snapshot of the newest epoch")
        with open(f"/proc/{process.pid}/maps") as f:
            tap.check("tss2" not in f.read(), "a TPM library is in ww-dataplane")
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
            tap.equal(f.read().split(), [], "children that are left")
    finally:
        ctrl.kill()
        ctrl.wait()
        process.kill()
        process.wait()
    move_ctrls_files(away=True)
    os.unlink(f"{h.state}/ctl.sock")


@tap.case
def alone_with_the_tpm_it_opens_every_blob():
    start()
    house.wait_for(serves, "a warm start")
    tap.equal(opened(), len(blobs))
    stop()


@tap.case
def another_tpm_is_refused_and_named():
    tpm_stop()
    tpm_start("other-tpm")
    refused("warm_key_other_tpm")
    tpm_stop()


@tap.case
def a_tpm_that_is_gone_is_named():
    refused("warm_key_no_tpm")


@tap.case
def a_machine_that_started_another_way_is_refused_and_named():
    tpm_start("tpm")
    start()
    house.wait_for(serves, "a warm start")
    stop()
    tpm_extend()
    refused("warm_key_policy")


@tap.case
def a_sealed_key_that_was_altered_is_refused_and_named():
    with open(SEALED, "r+b") as f:
        content = bytearray(f.read())
        content[-1] ^= 1
        f.seek(0)
        f.write(content)
    refused("warm_key_other_tpm")


def down():
    if swtpm and swtpm.poll() is None:
        swtpm.kill()
        swtpm.wait()
    if process and process.poll() is None:
        process.kill()
        process.wait()
    shutil.rmtree(credentials, ignore_errors=True)
    h.down()


if __name__ == "__main__":
    tap.run(before=up, after=down)
