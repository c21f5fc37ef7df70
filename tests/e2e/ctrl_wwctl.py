#!/usr/bin/python3
"""wwctl and ww-ctrl by themselves: commands, exit statuses, errors that say what to do, and guests at both sockets who misbehave."""
import base64
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import daemon
import house
import tap

d = daemon.Daemon()


def refused(status, *arguments, text=None):
    """What wwctl says on stderr."""
    done = d.run(*arguments, text=text)
    tap.equal(done.returncode, status, f"exit status of wwctl {' '.join(arguments)}: {done.stderr}")
    return done.stderr


def contains(text, *parts):
    for part in parts:
        tap.check(part in text, f"{part!r} is not in {text!r}")


@tap.case
def a_missing_store_is_not_made_without_being_asked():
    contains(d.fails_to_start(), "ww-ctrl does not start", "store_absent", "--init")


@tap.case
def status_tells_what_is_going_on():
    d.start()
    s = d.json("status")
    tap.equal((s["ok"], s["keys"], s["dataplane"]["attached"], s["dev"]), (True, 0, False, True))
    contains(d.ok("status"), "DEVELOPMENT MODE", "not attached")


@tap.case
def a_key_is_made_rotated_listed_and_shown():
    made = d.json("key", "create", "v0/a/key")
    tap.equal((made["committed"], made["acked"], made["dataplane"]), (True, False, "not attached"))
    rotated = d.json("key", "rotate", "v0/a/key")["key"]
    tap.equal((rotated["primary"], [v["state"] for v in rotated["versions"]]), (2, ["enabled", "enabled"]))
    tap.equal([k["path"] for k in d.json("key", "list")["keys"]], ["v0/a/key"])
    tap.equal(d.json("key", "show", "v0/a/key")["key"], rotated)


@tap.case
def a_disable_that_no_dataplane_acked_is_committed_and_exits_with_3():
    done = d.run("key", "disable", "v0/a/key", "--version", "1", "--json")
    reply = json.loads(done.stdout)
    tap.equal((done.returncode, reply["ok"], reply["committed"], reply["acked"]), (3, False, True, False))
    contains(done.stderr, "not acked by the dataplane", "wwctl status")
    tap.equal(d.json("key", "show", "v0/a/key")["key"]["versions"][0]["state"], "disabled")
    tap.equal(d.json("key", "enable", "v0/a/key", "--version", "1")["key"]["versions"][0]["state"], "enabled")


@tap.case
def a_refusal_exits_with_1_and_says_what_to_do():
    contains(refused(1, "key", "create", "v0/a/key"), "exists", "wwctl key rotate")
    contains(refused(1, "key", "show", "v0/none"), "v0/none: no such key", "wwctl key create")
    contains(refused(1, "key", "disable", "v0/a/key", "--version", "9"), "version 9: no such version")
    contains(refused(1, "key", "create", "/v0/a"), "bad segment at byte 0")
    done = d.run("key", "show", "v0/none", "--json")
    tap.equal(json.loads(done.stdout)["error"]["code"], "no_such_key")


@tap.case
def wrong_usage_exits_with_2_and_names_the_nearest_right_thing():
    contains(refused(2, "kee", "create", "x"), 'did you mean "wwctl key create"?')
    contains(refused(2, "key", "rotatte", "x"), 'did you mean "wwctl key rotate"?')
    contains(refused(2, "key", "disable", "x", "--versoin", "1"), "did you mean --version?")
    contains(refused(2, "key", "disable", "x", "--version", "one"), "wants a number")
    contains(refused(2, "key", "create"), "PATH is missing")
    contains(refused(2, "key", "create", "a", "b"), "one argument too many: b")
    contains(refused(2, "dev", "token", "--email", "a@b.example", "--audience", "x", "--expires", "soon"), "wants a duration")
    contains(refused(2), "usage: wwctl")


@tap.case
def help_is_there_for_every_command():
    text = d.ok("--help")
    for line in text.splitlines():
        if line.startswith("  ") and not line.startswith("  --"):
            name = line[2:20].split()
            contains(d.ok(*name, "--help"), "usage: wwctl " + " ".join(name))


@tap.case
def an_unreachable_ctrl_exits_with_3_and_names_the_socket():
    done = subprocess.run([d.binary("wwctl"), "--admin", f"{d.folder}/none.sock", "status"], capture_output=True, text=True)
    tap.equal(done.returncode, 3)
    contains(done.stderr, "none.sock", "$WW_ADMIN")


@tap.case
def a_policy_is_set_and_shown():
    d.ok("policy", "set", "v0/a/key", "--file", "-", text="callers: [a@b.example]\nreasons: [CUSTOMER_INITIATED_ACCESS]\ndeny_status: 400\n")
    tap.equal(d.json("policy", "show", "v0/a/key")["policy"],
              {"callers": ["a@b.example"], "reasons": ["CUSTOMER_INITIATED_ACCESS"], "allow_missing_reason": False,
               "allow_unknown_reason": False, "deny_status": 400})


@tap.case
def a_bad_policy_is_refused_with_its_place_and_changes_nothing():
    before = d.json("policy", "show", "v0/a/key")
    contains(refused(1, "policy", "set", "v0/a/key", "--file", "-", text="callers: []\nreason: all\n"),
             "line 2, column 1", 'did you mean "reasons"?')
    tap.equal(d.json("policy", "show", "v0/a/key"), before)


@tap.case
def taking_a_caller_away_needs_an_ack_and_adding_one_does_not():
    d.ok("policy", "set", "v0/a/key", "--file", "-", text="callers: [a@b.example, c@d.example]\nreasons: [CUSTOMER_INITIATED_ACCESS]\n")
    contains(refused(3, "policy", "set", "v0/a/key", "--file", "-", text="callers: [a@b.example]\nreasons: all\n"), "not acked")


def code(*arguments):
    done = d.run(*arguments, "--json")
    return json.loads(done.stdout).get("error", {}).get("code"), done.returncode


@tap.case
def a_key_is_doomed_shown_with_its_date_and_restored():
    d.ok("key", "create", "v0/doomed/key")
    tap.equal(code("key", "destroy", "v0/doomed/key"), ("disable_first", 1))
    tap.equal(code("key", "disable", "v0/doomed/key"), ("not_acked", 3))
    tap.equal(code("key", "destroy", "v0/doomed/key", "--after", "23h"), ("bad_window", 1))
    tap.equal(code("key", "destroy", "v0/doomed/key", "--after", "-5d"), ("bad_window", 1))
    tap.equal(code("key", "destroy", "v0/doomed/key", "--after", "40d"), ("not_acked", 3))
    key = d.json("key", "show", "v0/doomed/key")["key"]
    tap.equal((key["state"], key["window_s"]), ("destroy_scheduled", 40 * 86400))
    contains(d.ok("key", "show", "v0/doomed/key"), "to be destroyed " + key["destroy_at"])
    contains(d.ok("key", "list"), "to be destroyed " + key["destroy_at"])
    tap.equal(code("key", "destroy", "v0/doomed/key", "--after", "39d"), ("needs_approval", 1))
    tap.equal(code("key", "enable", "v0/doomed/key"), ("destroy_scheduled", 1))
    tap.equal(d.json("key", "restore", "v0/doomed/key")["key"]["state"], "disabled")
    tap.equal(d.json("key", "restore", "v0/doomed/key")["already"], True)
    tap.equal(d.json("key", "enable", "v0/doomed/key")["key"]["state"], "enabled")


@tap.case
def a_dry_run_shows_what_would_be_and_changes_nothing():
    before = d.json("status")["epoch"]
    made = d.json("key", "create", "v0/never/made", "--dry-run")
    tap.equal((made["dry_run"], made["key"]["state"], "committed" in made), (True, "enabled", False))
    contains(d.ok("key", "rotate", "v0/doomed/key", "--dry-run"), "nothing was changed", "version 2  enabled, primary")
    contains(d.ok("--dry-run", "policy", "set", "v0/a/key", "--file", "-", text="callers: [x@y.example]"), "nothing was changed", "x@y.example")
    tap.equal(code("status", "--dry-run"), ("no_dry_run", 1))
    tap.equal((d.json("status")["epoch"], code("key", "show", "v0/never/made")), (before, ("no_such_key", 1)))


@tap.case
def a_period_is_set_and_shown_with_its_next_date():
    key = d.json("key", "rotate", "v0/doomed/key", "--period", "90d")["key"]
    tap.equal((key["rotate_period_s"], key["version_count"]), (90 * 86400, 1))
    contains(d.ok("key", "show", "v0/doomed/key"), "rotates every 90 days, next " + key["rotates"])
    tap.equal(code("key", "rotate", "v0/doomed/key", "--period", "1h"), ("bad_period", 1))
    tap.check("rotates" not in d.json("key", "rotate", "v0/doomed/key", "--period", "0s")["key"], "still rotates")


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@tap.case
def a_development_token_carries_its_claims():
    c = claims(d.ok("dev", "token", "--email", "a@b.example", "--audience", "https://x", "--expires", "15m", "--claim", "email_verified=false",
                    "--claim", "extra=text", "--claim", "sub=null"))
    tap.equal((c["email"], c["aud"], c["email_verified"], c["extra"], c["exp"] - c["iat"]), ("a@b.example", "https://x", False, "text", 900))
    tap.check("sub" not in c, "sub was to be taken away")


@tap.case
def development_tokens_verify_under_the_published_keys():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    def number(text):
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    with open(f"{d.folder}/store/dev-issuer.jwks.json") as f:
        keys = {k["alg"]: k for k in json.load(f)["keys"]}
    for algorithm in ("RS256", "ES256"):
        token = d.ok("dev", "token", "--email", "a@b.example", "--audience", "x", "--algorithm", algorithm).strip()
        signed, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        k = keys[algorithm]
        if algorithm == "RS256":
            public = rsa.RSAPublicNumbers(number(k["e"]), number(k["n"])).public_key()
            public.verify(raw, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        else:
            public = ec.EllipticCurvePublicNumbers(number(k["x"]), number(k["y"]), ec.SECP256R1()).public_key()
            der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            public.verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))


@tap.case
def a_running_ctrl_maps_no_other_tls_library():
    with open(f"/proc/{d.process.pid}/maps") as f:
        maps = f.read()
    contains(maps, "libmbedcrypto", "libsqlite3")
    for library in ("libcrypto", "libssl", "libgnutls", "libcurl"):
        tap.check(library not in maps, f"{library} is mapped")


@tap.case
def both_sockets_and_every_file_are_the_owners_alone():
    for folder, _, names in os.walk(d.folder):
        for name in names:
            if name in ("wirewrap.yaml", "log") or not os.path.lexists(f"{folder}/{name}"):  # a journal that is gone
                continue
            mode = os.lstat(f"{folder}/{name}").st_mode
            tap.equal(stat.S_IMODE(mode) & 0o077, 0, f"mode of {name}")


@tap.case
def another_user_is_turned_away():
    os.chmod(d.folder, 0o755)
    for name in ("admin.sock", "ctl.sock"):
        os.chmod(f"{d.folder}/{name}", 0o666)
        # From inside the folder: the way down from / may be barred to other users.
        script = ("import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.settimeout(300); "
                  "s.connect(sys.argv[2])\ntry:\n s.sendall(b'{\"command\":\"status\"}\\n'); got = s.recv(100)\n"
                  "except OSError: got = b''\nsys.exit(0 if got == b'' else 1)")
        done = subprocess.run([sys.executable, "-c", script, d.folder, name])
        os.chmod(f"{d.folder}/{name}", 0o600)
        tap.equal(done.returncode, 0, name)


def answer(s):
    data = b""
    while not data.endswith(b"\n"):
        part = s.recv(65536)
        if not part:
            break
        data += part
    return data


@tap.case
def garbage_at_the_admin_socket_is_refused_and_harms_nobody():
    for bad in (b"\n", b"nonsense\n", b"{}\n", b"[]\n", b'{"command":5}\n', b'{"command":"nothing"}\n', b"\x00\xff\xfe\n", b'{"command":"key show"}\n',
                b'{"command":"key show","path":"a\\u0000b"}\n', b'{"command":"dev token","email":"a","audience":"b","expires_s":1e400}\n',
                b'{"command":"key disable","path":"v0/a/key","version":-1}\n', b'{"command":"audit tail","count":0}\n',
                b'{"command":"status","command":"status"}\n', b'{"command":"policy set","path":"v0/a/key","text":"\\ud800"}\n'):
        s = d.connect("admin.sock")
        s.sendall(bad)
        tap.equal(json.loads(answer(s))["ok"], False, repr(bad))
        s.close()
    tap.equal(d.json("status")["ok"], True)


@tap.case
def an_endless_request_ends_its_connection():
    s = d.connect("admin.sock")
    try:
        for _ in range(200):
            s.sendall(b"x" * 8192)
        tap.equal(s.recv(1), b"")
    except (BrokenPipeError, ConnectionResetError):
        pass
    s.close()
    tap.equal(d.json("status")["ok"], True)


@tap.case
def many_requests_on_one_connection_are_answered_in_order():
    s = d.connect("admin.sock")
    s.sendall(b'{"command":"key show","path":"v0/a/key"}\n{"command":"status"}\n{"command":"key list"}\n')
    stream = s.makefile()
    got = [json.loads(stream.readline()) for _ in range(3)]
    tap.check("key" in got[0] and "epoch" in got[1] and "keys" in got[2], f"{got}")
    s.close()


@tap.case
def garbage_at_the_ctl_socket_ends_that_connection_and_is_counted():
    before = d.json("status")["dataplane"]["dropped_garbage"]
    for bad in (b"\xff" * 64, b"\x01\x01\x00\x00\x00\x00\x00\x10" + b"\x00" * 8, b"\x01\x02\x00\x00\x00\x00\x00\x10" + b"\x00" * 8,
                b"\x01\x01\x00\x00\xff\xff\xff\xff" + b"\x00" * 8):
        s = d.connect("ctl.sock")
        s.sendall(bad)
        tap.equal(s.recv(1), b"", repr(bad))
        s.close()
    house.wait_for(lambda: d.json("status")["dataplane"]["dropped_garbage"] == before + 4, "four counted")


@tap.case
def a_second_ctrl_on_the_same_store_is_refused_and_the_first_goes_on():
    contains(d.fails_to_start("--dev"), "store_held", "exactly one holder")
    tap.equal(d.json("status")["ok"], True)


@tap.case
def reload_takes_a_new_certificate_and_keeps_the_last_good_one():
    before = d.json("cert", "list")["certificates"][0]["sha256"]
    with open(f"{d.folder}/server.pem") as f:
        good = f.read()
    with open(f"{d.folder}/server.pem", "w") as f:
        f.write("nonsense")
    contains(d.json("reload")["certificate_problem"], "does not parse")
    tap.equal(d.json("cert", "list")["certificates"][0]["sha256"], before)
    contains(d.ok("status"), "last read failed")
    with open(f"{d.folder}/server.pem", "w") as f:
        f.write(good)
    d.process.send_signal(signal.SIGHUP)
    house.wait_for(lambda: d.json("cert", "list")["problem"] == "", "SIGHUP to be followed")


@tap.case
def a_bad_configuration_on_reload_is_refused_with_its_line():
    d.config("nonsense: true\n")
    said = refused(1, "reload")
    d.config()
    contains(said, f"line {daemon.CONFIG.count(chr(10)) + 1}:", "unknown key nonsense")
    d.ok("reload")


@tap.case
def stats_without_a_dataplane_are_refused_by_name():
    contains(refused(1, "dataplane", "stats"), "no dataplane has connected", "start ww-dataplane")


@tap.case
def keys_are_listed_by_path():
    paths = [k["path"] for k in d.json("key", "list")["keys"]]
    tap.check(len(paths) > 1, f"only {paths}")
    tap.equal(paths, sorted(paths))


@tap.case
def stop_is_clean_and_everything_is_there_again():
    before = d.json("key", "list")
    tap.equal(d.stop(), 0, "exit status")
    tap.check(not os.path.exists(f"{d.folder}/admin.sock"), "the socket was left behind")
    d.start("--init")
    tap.equal(d.json("key", "list"), before)


@tap.case
def tokens_are_refused_by_name_without_dev():
    contains(refused(1, "dev", "token", "--email", "a@b.example", "--audience", "x"), "only where ww-ctrl runs with --dev")
    d.stop()


@tap.case
def a_wrong_passphrase_names_the_slot_and_the_next_step():
    with open(f"{d.folder}/passphrase") as f:
        good = f.read()
    with open(f"{d.folder}/passphrase", "w") as f:
        f.write("not the right one\n")
    contains(d.fails_to_start("--dev"), "wrong_passphrase", "slot 0", "wrong passphrase", "that this slot was made with")
    with open(f"{d.folder}/passphrase", "w") as f:
        f.write(good)


def with_store(*statements):
    """Runs SQL on the store of a ctrl that is down, and lets go of it; the rows of the last statement."""
    store = sqlite3.connect(f"{d.folder}/store/store.db")
    rows = [store.execute(*statement).fetchall() for statement in statements]
    store.commit()
    store.close()
    return rows[-1]


def slot():
    return with_store(["SELECT record FROM slot"])[0][0]


@tap.case
def a_damaged_slot_is_told_from_a_wrong_passphrase():
    good = slot()
    damaged = bytearray(good)
    damaged[50] ^= 1
    with_store(["UPDATE slot SET record = ?", [bytes(damaged)]])
    said = d.fails_to_start("--dev")
    with_store(["UPDATE slot SET record = ?", [good]])
    contains(said, "slot_damaged", "slot 0")


@tap.case
def a_store_without_its_slot_is_not_given_a_new_root():
    good = slot()
    with_store(["DELETE FROM slot"])
    said = d.fails_to_start("--dev")
    with_store(["INSERT INTO slot VALUES(0, ?)", [good]])
    contains(said, "no_slot", "restore a backup")
    d.start()
    d.ok("key", "show", "v0/a/key")


@tap.case
def an_altered_row_keeps_ctrl_from_starting_and_is_named():
    d.stop()
    with_store(["UPDATE sealed_row SET record = CAST(substr(record, 1, length(record) - 1) || "
                "iif(substr(record, -1) = x'00', x'01', x'00') AS BLOB) WHERE kind = 2"])
    contains(d.fails_to_start("--dev"), "store_row_changed", "the row version", "restore a backup")


tap.run(after=d.end)
