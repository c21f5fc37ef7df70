#!/usr/bin/python3
"""A new certificate is put in place: new connections see it, old ones go on, and a bad one changes nothing."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import load
import tap

h = house.House()


def presented():
    c = client.Connection(h)
    der = c.socket.getpeercert(binary_form=True)
    c.close()
    return der


def issue(name):
    """NAME.pem and NAME.key in the state folder, signed by its authority."""
    base = f"{h.state}/{name}"
    ext = "subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\n" % house.HOST
    with open(f"{base}.ext", "w") as f:
        f.write(ext)
    for command in (["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{base}.key"],
                    ["req", "-new", "-key", f"{base}.key", "-subj", f"/CN={house.HOST}", "-out", f"{base}.csr"],
                    ["x509", "-req", "-in", f"{base}.csr", "-CA", f"{h.state}/ca.pem", "-CAkey", f"{h.state}/ca.key", "-set_serial",
                     str(int.from_bytes(os.urandom(8), "big")), "-days", "30", "-extfile", f"{base}.ext", "-out", f"{base}.pem"]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)


def put(certificate, key):
    for source, target in ((certificate, "server.pem"), (key, "server.key")):
        shutil.copy(source, f"{h.state}/new")
        os.rename(f"{h.state}/new", f"{h.state}/{target}")
    h.wwctl("reload")


def refused():
    return h.wwctl_json("cert", "list")["problem"] != ""


@tap.case
def new_connections_see_the_new_certificate_and_old_ones_go_on():
    old = client.Connection(h)
    tap.equal(old.wrap(b"x").status, 200)
    running = load.Load(h, count=2).start()
    house.wait_for(lambda: running.count() > 20, "load")
    before = presented()
    issue("next")
    put(f"{h.state}/next.pem", f"{h.state}/next.key")
    house.wait_for(lambda: presented() != before, "the new certificate")
    at = running.count()
    house.wait_for(lambda: running.count() > at + 20, "load after the reload")
    running.stop()
    tap.equal((running.broken, set(running.statuses)), ([], {200}))
    tap.equal(old.wrap(b"x").status, 200, "the old connection")
    old.close()


@tap.case
def a_key_that_does_not_belong_to_the_certificate_changes_nothing():
    before = presented()
    issue("wrong")
    put(f"{h.state}/wrong.pem", f"{h.state}/next.key")
    tap.check(refused(), "no problem is reported")
    for _ in range(20):
        tap.check(presented() == before, "another certificate")
    put(f"{h.state}/next.pem", f"{h.state}/next.key")


@tap.case
def a_file_that_is_no_certificate_changes_nothing():
    before = presented()
    with open(f"{h.state}/garbage.pem", "w") as f:
        f.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    put(f"{h.state}/garbage.pem", f"{h.state}/next.key")
    tap.check(refused(), "no problem is reported")
    for _ in range(20):
        tap.check(presented() == before, "another certificate")
    put(f"{h.state}/next.pem", f"{h.state}/next.key")


@tap.case
def a_good_one_after_bad_ones_is_taken():
    before = presented()
    issue("last")
    put(f"{h.state}/last.pem", f"{h.state}/last.key")
    house.wait_for(lambda: presented() != before, "the new certificate")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
