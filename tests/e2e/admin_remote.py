#!/usr/bin/python3
"""ww-ctrl in production manner: the remote door with client certificates, roles, signed approvals, and the admin log."""
import ctypes
import json
import os
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import daemon
import house
import tap

PORT, NAME = 8443, "admin.wirewrap.test"
CLONE_NEWNS = 0x20000
d = daemon.Daemon()
F = d.folder
KEY, POLICY = "v0/guarded/key", "callers: [a@x.test]\nreasons: all\n"


def network():
    """A network, and mounts, of this process and its children alone."""
    if ctypes.CDLL(None, use_errno=True).unshare(house.CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def authority(name):
    d.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{F}/{name}.key", "-subj",
              f"/CN={name}", "-days", "30", "-out", f"{F}/{name}.pem", "-addext", "keyUsage=critical,keyCertSign")


def certificate(name, by="ca", usage="clientAuth", days="30", san="", more=()):
    with open(f"{F}/ext", "w") as f:
        f.write(f"extendedKeyUsage={usage}\n" + (f"subjectAltName=DNS:{san}\n" if san else ""))
    d.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{F}/{name}.key", "-subj",
              f"/CN={name}", "-out", f"{F}/{name}.csr")
    d.openssl("x509", "-req", "-in", f"{F}/{name}.csr", "-CA", f"{F}/{by}.pem", "-CAkey", f"{F}/{by}.key", "-CAcreateserial", "-days", days,
              "-extfile", f"{F}/ext", "-out", f"{F}/{name}.pem", *more)


def people(**roles):
    return "".join(f"    - {{name: {name}, roles: \"{role}\"" + (f", approval_key_file: {F}/{name}.pub" if "approver" in role else "") + "}\n"
                   for name, role in roles.items())


def config(**roles):
    d.config(f"""admin:
  listen: 127.0.0.1:{PORT}
  certificate_file: {F}/door.pem
  key_file: {F}/door.key
  client_ca_file: {F}/ca.pem
  approvals: 2
  people:
""" + people(**roles))


ROLES = {"olga": "operator", "kim": "key_officer", "audrey": "auditor", "ann": "approver", "ben": "approver", "carl": "key_officer, approver"}


def up():
    network()
    authority("ca")
    authority("otherca")
    certificate("door", usage="serverAuth", san=NAME)
    for name in [*ROLES, "stranger"]:
        certificate(name)
    certificate("outsider", by="otherca")
    expired()
    d.approvers("ann", "ben", "carl")
    d.approving = ()  # each case signs for itself
    config(**ROLES)
    d.production()


def expired():
    """openssl ca is the one tool that takes dates."""
    os.makedirs(f"{F}/pki", exist_ok=True)
    open(f"{F}/pki/index", "w").close()
    with open(f"{F}/pki/cnf", "w") as f:
        f.write(f"[ca]\ndefault_ca=x\n[x]\ndatabase={F}/pki/index\nnew_certs_dir={F}/pki\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
                "x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nextendedKeyUsage=clientAuth\n")
    certificate("olaf")
    d.openssl("ca", "-batch", "-config", f"{F}/pki/cnf", "-cert", f"{F}/ca.pem", "-keyfile", f"{F}/ca.key", "-in", f"{F}/olaf.csr", "-startdate",
              "20200101000000Z", "-enddate", "20200201000000Z", "-out", f"{F}/olaf.pem", "-notext")


def remote(who, *arguments, ca="ca", name=NAME, text=""):
    show = ["--cert", f"{F}/{who}.pem", "--key", f"{F}/{who}.key"] if who else []
    return subprocess.run([d.binary("wwctl"), "--remote", f"127.0.0.1:{PORT}", "--server-name", name, "--ca", f"{F}/{ca}.pem", *show, *arguments],
                          input=text, capture_output=True, text=True, timeout=house.BOUND)


def ok(who, *arguments, text=""):
    done = remote(who, *arguments, "--json", text=text)
    tap.equal(done.returncode, 0, done.stderr)
    return json.loads(done.stdout)


def committed(who, *arguments):
    """No dataplane is there to ack what takes something away: exit status 3."""
    done = remote(who, *arguments, "--json")
    reply = json.loads(done.stdout)
    tap.equal((done.returncode, reply["committed"]), (3, True), done.stdout)
    return reply


def refused(who, code, *arguments, status=1, text=""):
    done = remote(who, *arguments, "--json", text=text)
    tap.equal(done.returncode, status, done.stdout + done.stderr)
    reply = json.loads(done.stdout)
    tap.equal(reply["error"]["code"], code)
    tap.check(reply["error"]["message"] and done.stderr, "no words")
    return reply


def counts():
    return d.json("status")["admin"]["counts"]


def signature(request, approver):
    done = remote(approver, "approval", "sign", request, "--signing-key", f"{F}/{approver}.sign")
    tap.equal(done.returncode, 0, done.stderr)
    return done.stdout.strip(), done.stderr


def submitted(request, approver):
    return ok(approver, "approval", "submit", request, "--signature", signature(request, approver)[0])


@tap.case
def a_person_comes_in_by_certificate():
    tap.equal(ok("audrey", "status")["admin"]["people"], len(ROLES))


@tap.case
def no_certificate_is_told_and_counted():
    before = counts()["no_certificate"]
    refused(None, "no_certificate", "status")
    tap.equal(counts()["no_certificate"], before + 1)


@tap.case
def a_certificate_of_another_authority_is_told_and_counted():
    before = counts()["untrusted"]
    refused("outsider", "certificate_untrusted", "status")
    tap.equal(counts()["untrusted"], before + 1)


@tap.case
def a_certificate_for_servers_is_no_client_certificate():
    refused("door", "certificate_untrusted", "status")


@tap.case
def an_expired_certificate_is_told_and_counted():
    before = counts()["expired"]
    refused("olaf", "certificate_expired", "status")
    tap.equal(counts()["expired"], before + 1)


@tap.case
def a_certificate_without_a_role_is_told_and_counted():
    before = counts()["no_role"]
    refused("stranger", "not_allowed", "status")
    tap.equal(counts()["no_role"], before + 1)


@tap.case
def wwctl_believes_no_other_server():
    for done in (remote("olga", "status", ca="otherca"), remote("olga", "status", name="other.wirewrap.test")):
        tap.equal(done.returncode, 3)
        tap.check("not ww-ctrl's certificate" in done.stderr, done.stderr)


def handshake(**how):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in how.items():
        context.set_ciphers(value) if name == "ciphers" else setattr(context, name, value)
    with socket.create_connection(("127.0.0.1", PORT), house.BOUND) as raw, context.wrap_socket(raw) as s:
        return s.version(), s.cipher()[0]


@tap.case
def only_tls_1_2_with_ecdsa_and_aes_gcm_is_spoken():
    tap.equal(handshake(), ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"))
    before = counts()["handshake_failed"]
    for how in ({"minimum_version": ssl.TLSVersion.TLSv1_3}, {"ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305", "maximum_version": ssl.TLSVersion.TLSv1_2},
                {"ciphers": "ECDHE-ECDSA-AES128-SHA", "maximum_version": ssl.TLSVersion.TLSv1_2}):
        try:
            raise AssertionError(f"{how}: {handshake(**how)}")
        except (ssl.SSLError, OSError):
            pass
    tap.equal(counts()["handshake_failed"], before + 3)


@tap.case
def garbage_and_silence_hold_nobody_up():
    silent = [socket.create_connection(("127.0.0.1", PORT), house.BOUND) for _ in range(5)]
    with socket.create_connection(("127.0.0.1", PORT), house.BOUND) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while s.recv(4096):
            pass
    ok("audrey", "status")
    for s in silent:
        s.close()


@tap.case
def connections_are_bounded():
    many = [socket.create_connection(("127.0.0.1", PORT), house.BOUND) for _ in range(40)]
    house.wait_for(lambda: counts()["too_many"] > 0, "too_many")
    d.ok("key", "list")
    for s in many:
        s.close()
    house.wait_for(lambda: remote("audrey", "status").returncode == 0, "room")


@tap.case
def each_role_may_do_its_own_and_nothing_else():
    ok("kim", "key", "create", KEY)
    refused("olga", "not_allowed", "key", "create", "v0/olga/key")
    refused("audrey", "not_allowed", "key", "rotate", KEY)
    refused("ann", "not_allowed", "key", "rotate", KEY)
    refused("ann", "not_allowed", "audit", "acts")
    refused("kim", "not_allowed", "reload")
    for who in ("audrey", "ann"):
        refused(who, "not_allowed", "upgrade", "commit")
        refused(who, "not_allowed", "store", "compact")
    tap.equal(ok("audrey", "upgrade", "status")["level"], 1)
    refused("olga", "no_sinks", "upgrade", "commit")
    ok("olga", "key", "rotate", KEY)
    ok("audrey", "audit", "acts")


@tap.case
def widening_a_policy_waits_for_two_approvers():
    reply = refused("kim", "pending_approval", "policy", "set", KEY, "--file", "-", status=4, text=POLICY)
    request = reply["approval"]["id"]
    statement = ok("ann", "approval", "show", request)["statement"]
    tap.check("Widen a policy" in statement and "also by a@x.test" in statement and KEY in statement and "asked by: kim" in statement, statement)
    tap.equal(ok("kim", "policy", "show", KEY)["policy"]["callers"], [])
    tap.equal(submitted(request, "ann")["carried_out"], False)
    tap.equal(ok("kim", "policy", "show", KEY)["policy"]["callers"], [])
    tap.equal(submitted(request, "ben")["carried_out"], True)
    tap.equal(ok("kim", "policy", "show", KEY)["policy"]["callers"], ["a@x.test"])


@tap.case
def narrowing_a_policy_waits_for_nobody():
    remote("kim", "policy", "set", KEY, "--file", "-", text="callers: []\n")
    tap.equal(ok("kim", "policy", "show", KEY)["policy"]["callers"], [])


def disable(who):
    committed(who, "key", "disable", KEY)


def asked_to_destroy():
    return refused("kim", "pending_approval", "key", "destroy", KEY, status=4)["approval"]["id"]


@tap.case
def a_destruction_waits_and_says_what_it_means():
    disable("kim")
    request = asked_to_destroy()
    signed, shown = signature(request, "ann")
    tap.check("Destroy a key" in shown and "30 days" in shown and KEY in shown, shown)
    tap.equal(asked_to_destroy(), request, "the same request again")
    tap.equal(ok("kim", "key", "show", KEY)["key"]["state"], "disabled")
    tap.equal(len(ok("ben", "approval", "list")["approvals"]), 1)


@tap.case
def a_signature_counts_once_and_for_its_request_alone():
    request = asked_to_destroy()
    signed, _ = signature(request, "ann")
    for _ in range(2):
        tap.equal(ok("ann", "approval", "submit", request, "--signature", signed)["approval"]["good"], 1)
    other = refused("kim", "pending_approval", "policy", "set", KEY, "--file", "-", status=4, text=POLICY)["approval"]["id"]
    refused("ann", "bad_signature", "approval", "submit", other, "--signature", signed)
    ok("kim", "approval", "withdraw", other)


@tap.case
def a_strangers_signature_does_not_count():
    request = asked_to_destroy()
    d.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{F}/forged.sign")
    done = remote("olga", "approval", "sign", request, "--signing-key", f"{F}/forged.sign")
    refused("olga", "bad_signature", "approval", "submit", request, "--signature", done.stdout.strip())
    refused("olga", "bad_signature", "approval", "submit", request, "--signature", "00ff")


@tap.case
def nobody_approves_his_own_request():
    request = refused("carl", "pending_approval", "key", "destroy", KEY, "--after", "40d", status=4)["approval"]["id"]
    refused("carl", "own_request", "approval", "submit", request, "--signature", signature(request, "carl")[0])
    ok("carl", "approval", "withdraw", request)


@tap.case
def requests_and_signatures_survive_a_restart():
    request = asked_to_destroy()
    d.kill()
    d.start("--init")
    p = ok("ben", "approval", "show", request)["approval"]
    tap.equal((p["signed_by"], p["good"]), (["ann"], 1))


@tap.case
def the_last_signature_carries_it_out_and_a_replay_is_refused():
    request = asked_to_destroy()
    again = [signature(request, who)[0] for who in ("ann", "ben")]
    reply = committed("ben", "approval", "submit", request, "--signature", again[1])
    tap.equal((reply["carried_out"], reply["key"]["state"], reply["committed"]), (True, "destroy_scheduled", True))
    ok("kim", "key", "restore", KEY)
    for who, text in zip(("ann", "ben"), again):
        refused(who, "no_such_approval", "approval", "submit", request, "--signature", text)
    d.stop()
    os.rename(f"{F}/store/approvals/done/{request}.json", f"{F}/store/approvals/{request}.json")  # somebody with the disk brings it back
    d.start("--init")
    refused("ann", "approval_outdated", "approval", "submit", request, "--signature", again[0])
    tap.equal(ok("kim", "key", "show", KEY)["key"]["state"], "disabled")
    ok("kim", "approval", "withdraw", request)


@tap.case
def a_change_in_between_outdates_a_request():
    request = asked_to_destroy()
    submitted(request, "ann")
    ok("olga", "key", "enable", KEY)
    disable("olga")
    refused("ben", "approval_outdated", "approval", "submit", request, "--signature", signature(request, "ben")[0])
    tap.check(asked_to_destroy() != request, "the outdated request was given again")


@tap.case
def a_window_is_shortened_with_approval_alone():
    request = refused("kim", "pending_approval", "key", "destroy", KEY, "--after", "60d", status=4)["approval"]["id"]
    submitted(request, "ann")
    committed("ben", "approval", "submit", request, "--signature", signature(request, "ben")[0])
    tap.equal(ok("kim", "key", "show", KEY)["key"]["window_s"], 60 * 86400)
    committed("kim", "key", "destroy", KEY, "--after", "90d")  # later needs nobody
    request = refused("kim", "pending_approval", "key", "destroy", KEY, "--after", "2d", status=4)["approval"]["id"]
    tap.check("The date was a later one" in ok("ann", "approval", "show", request)["statement"], "")
    submitted(request, "ann")
    committed("ben", "approval", "submit", request, "--signature", signature(request, "ben")[0])
    tap.equal(ok("kim", "key", "show", KEY)["key"]["window_s"], 2 * 86400)


@tap.case
def a_dry_run_and_approval_request_are_there():
    ok("kim", "key", "create", "v0/dry/key")
    tap.equal(ok("kim", "--dry-run", "policy", "set", "v0/dry/key", "--file", "-", text=POLICY)["dry_run"], True)
    refused("kim", "no_approval_needed", "approval", "request", "key", "rotate", "v0/dry/key")
    refused("kim", "pending_approval", "approval", "request", "policy", "set", "v0/dry/key", "--file", "-", status=4, text=POLICY)


@tap.case
def root_is_no_approver_in_production_and_needs_them_too():
    d.refused_as("pending_approval", "policy", "set", "v0/dry/key", "--file", "-", status=4, text=POLICY)


@tap.case
def who_is_taken_away_by_a_reload_is_nobody_at_once():
    config(**{name: role for name, role in ROLES.items() if name != "audrey"})
    ok("olga", "reload")
    refused("audrey", "not_allowed", "status")
    config(**ROLES)
    ok("olga", "reload")
    ok("audrey", "status")


@tap.case
def a_local_user_without_a_role_is_turned_away():
    os.chmod(f"{F}", 0o755)
    os.chmod(f"{F}/admin.sock", 0o666)
    # From inside the folder, by a process that is there already: the way down from / may be barred to other users.
    script = ("import os, socket; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.settimeout(300); "
              "s.connect('admin.sock')\ntry: s.sendall(b'{\"command\":\"status\"}\\n'); print(s.recv(100))\nexcept OSError: print(b'')")
    done = subprocess.run([sys.executable, "-c", script], cwd=F, capture_output=True, text=True)
    tap.equal((done.returncode, done.stdout), (0, "b''\n"), done.stderr)
    tap.check(counts()["no_role"] > 0, "not counted")


@tap.case
def every_act_is_in_the_admin_log_and_no_alteration_passes():
    log = ok("audrey", "audit", "acts", "--count", "1000")
    tap.equal(log["whole"], True)
    begun = [a for a in log["acts"] if a["phase"] == "begin"]
    ended = {a["of"]: a["outcome"] for a in log["acts"] if a["phase"] == "end"}
    first = next(a for a in begun if a["command"] == "key create")
    tap.equal((first["who"], first["request"]["path"], ended[first["seq"]]), ("kim", KEY, "done"))
    tap.check(all(a["seq"] in ended for a in begun), "an act without an outcome")
    tap.check("not_allowed" in ended.values() and "pending_approval" in ended.values(), ended)
    tap.check(any(a["via"].startswith("approval ") for a in begun), "what approvals carried out is missing")
    with open(f"{F}/audit/admin.jsonl") as f:
        text = f.read()
    with open(f"{F}/audit/admin.jsonl", "w") as f:
        f.write(text.replace('"who":"kim"', '"who":"ann"', 1))
    tap.equal(ok("audrey", "audit", "acts")["whole"], False)
    with open(f"{F}/audit/admin.jsonl", "w") as f:
        f.write(text)


@tap.case
def what_cannot_be_recorded_is_not_done():
    d.stop()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", f"{F}/audit"]).returncode:
        raise tap.Skip("no file system can be mounted here")
    d.start("--init")
    d.ok("key", "rotate", "v0/dry/key")
    epoch = d.json("status")["epoch"]
    with open(f"{F}/audit/filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(1024))
        except OSError:
            pass
    done = None
    for _ in range(50):  # its last page has room left
        done = json.loads(d.run("key", "rotate", "v0/dry/key", "--json").stdout)
        if not done["ok"]:
            break
        epoch = done["epoch"]
    tap.equal(done["error"]["code"], "audit_unwritable")
    status = d.json("status")
    tap.equal(status["epoch"], epoch)
    tap.check("admin.jsonl" in status["admin"]["log_problem"], status["admin"])
    os.unlink(f"{F}/audit/filler")
    d.ok("key", "rotate", "v0/dry/key")
    tap.equal(d.json("audit", "acts")["whole"], True)


if __name__ == "__main__":
    def down():
        if d.process:
            d.kill()
        subprocess.run(["umount", "-q", f"{F}/audit"])
        d.end()

    tap.run(before=up, after=down)
