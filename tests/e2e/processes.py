#!/usr/bin/python3
"""What the two processes hold, seen from outside: libraries, sockets, open files, and what they leave in logs."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
PLAINTEXT = b"a data key that must not be found anywhere"
CONTEXT = b"additional data of a caller"


def up():
    h.up()
    c = client.Connection(h)
    tap.equal(c.unwrapped(c.wrapped(PLAINTEXT, CONTEXT), CONTEXT), PLAINTEXT)
    c.unwrap(b"\1\1" + bytes(100))
    c.wrap(b"x", token="garbled")
    c.close()


def libraries(name):
    with open(f"/proc/{h.pid(name)}/maps") as f:
        return {os.path.basename(line.split()[-1]) for line in f if ".so" in line}


def open_files(name):
    folder = f"/proc/{h.pid(name)}/fd"
    return [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]


def texts():
    """Every file in the state folder that a process wrote as a log or a record."""
    return ((path, content) for path, content in house.files(h.state) if path.endswith(".log") or "/audit" in path)


@tap.case
def ctrl_maps_no_library_of_the_dataplane():
    bad = [lib for lib in libraries("ctrl") if lib.startswith(("libcrypto", "libssl", "libgnutls", "librte"))]
    tap.equal(bad, [])


@tap.case
def the_dataplane_maps_no_library_of_ctrl():
    bad = [lib for lib in libraries("dataplane") if lib.startswith(("libmbed", "libsqlite", "libuv", "libcurl"))]
    tap.equal(bad, [])


@tap.case
def both_have_given_up_the_calls_that_they_never_need():
    """Of every thread: new ones begin with what their maker has."""
    for name in ("ctrl", "dataplane"):
        folder = f"/proc/{h.pid(name)}/task"
        for task in os.listdir(folder):
            with open(f"{folder}/{task}/status") as f:
                fields = dict(line.split(":", 1) for line in f if ":" in line)
            tap.equal((fields["Seccomp"].strip(), fields["NoNewPrivs"].strip()), ("2", "1"), f"{name} {fields['Name'].strip()}")


@tap.case
def ctrl_listens_on_no_network():
    out = subprocess.run(["nsenter", "-t", str(h.pid("ctrl")), "-n", "ss", "-H", "-lntup"], capture_output=True, text=True).stdout
    tap.check(f"pid={h.pid('ctrl')}," not in out, out)


@tap.case
def the_dataplane_opens_nothing_of_the_store():
    bad = [f for f in open_files("dataplane") if f.startswith(f"{h.state}/store") or f.startswith(f"{h.state}/audit")
           or "passphrase" in f or f.endswith(".key")]
    tap.equal(bad, [])


def mappings(name):
    """(what is mapped, its flags) of each (proc(5), smaps)."""
    with open(f"/proc/{h.pid(name)}/smaps") as f:
        lines = [line.split() for line in f]
    names = [line[5] if len(line) > 5 else "" for line in lines if "-" in line[0]]
    return list(zip(names, [line[1:] for line in lines if line[0] == "VmFlags:"]))


def secret_pages(name):
    """Nothing else asks to be wiped on fork."""
    pages = [flags for _, flags in mappings(name) if "wf" in flags]
    tap.check(pages, "there is none")
    return pages


@tap.case
def a_crypto_engine_that_is_not_there_is_refused_at_the_start():
    """In one line that says where it was looked for, before the device or anything else is touched."""
    with open(f"{h.state}/wirewrap.yaml") as f:
        text = f.read()
    with open(f"{h.state}/engine.yaml", "w") as f:
        f.write(text + "crypto:\n  engine: qatnowhere\n")
    done = subprocess.run([h.binary("ww-dataplane"), "--config", f"{h.state}/engine.yaml"], capture_output=True, text=True)
    tap.equal(done.returncode, 1)
    said = [line for line in done.stderr.splitlines() if "crypto.engine" in line]
    tap.check(len(said) == 1 and said[0].count("/qatnowhere.so") >= 2 and "leave crypto.engine empty" in said[0], done.stderr)
    tap.check("device" not in done.stderr, done.stderr)


@tap.case
def the_dataplane_locks_its_key_memory():
    heap = [flags for what, flags in mappings("dataplane") if what == "[heap]"]  # OpenSSL's contexts
    tap.equal([flags for flags in secret_pages("dataplane") + heap if "lo" not in flags], [])


@tap.case
def ctrl_locks_the_memory_of_its_root_key():
    tap.equal([flags for flags in secret_pages("ctrl") if "lo" not in flags], [])


@tap.case
def secret_pages_are_left_out_of_dumps():
    tap.equal([flags for name in ("dataplane", "ctrl") for flags in secret_pages(name) if "dd" not in flags], [])


@tap.case
def no_plaintext_token_or_passphrase_is_in_a_log_or_record():
    with open(f"{h.state}/passphrase", "rb") as f:
        passphrase = f.read().strip()
    for path, content in texts():
        for secret in (PLAINTEXT, CONTEXT, client.b64(PLAINTEXT).encode(), h.token.encode(), h.token.split(".")[2].encode(), passphrase):
            tap.check(secret not in content, f"a secret is in {path}")


@tap.case
def secrets_on_disk_are_for_their_owner_alone():
    for path in ("passphrase", "server.key", "ca.key"):
        mode = os.stat(f"{h.state}/{path}").st_mode & 0o777
        tap.equal(mode & 0o077, 0, path)


@tap.case
def the_store_holds_neither_passphrase_nor_plaintext():
    with open(f"{h.state}/passphrase", "rb") as f:
        passphrase = f.read().strip()
    for path, content in house.files(f"{h.state}/store"):
        tap.check(passphrase not in content and PLAINTEXT not in content, path)


@tap.case
def every_request_left_an_audit_record():
    made = [("wrap", 200), ("unwrap", 200), ("unwrap", 400), ("wrap", 401)]

    def recorded():
        entries = h.wwctl_json("audit", "tail", "--count", "100")["entries"]
        return [(e["op"], e["status"]) for e in entries if e["kind"] == "record"]
    house.wait_for(lambda: recorded()[-len(made):] == made, f"records of {made}")


@tap.case
def a_record_says_who_did_what_with_which_version():
    record = next(e for e in h.wwctl_json("audit", "tail", "--count", "100")["entries"] if e.get("op") == "unwrap")
    tap.equal((record["key"], record["version"], record["caller"], record["caller_proven"], record["verdict"]),
              (h.key, 1, house.CALLER, True, "ekm_unwrap_ok"))


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
