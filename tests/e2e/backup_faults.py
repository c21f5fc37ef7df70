#!/usr/bin/python3
"""Backups to an S3-compatible store over TLS and to an SSH host that are silent, cut off, or not who they should be: named, counted, tried
again, nothing lost, and ww-ctrl answers all the while."""
import ctypes
import datetime
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import backups
import daemon
import house
import s3
import tap

CLONE_NEWNET = 0x40000000
SINKS = """backup:
  required: 1
  sinks:
    - {{name: disk, kind: directory, place: {folder}/disk, required: true}}
    - {{name: bucket, kind: s3, place: "{bucket}", {s3}}}
    - {{name: stranger, kind: s3, place: "{stranger}", {s3}}}
    - {{name: expired, kind: s3, place: "{expired}", {s3}}}
    - {{name: misnamed, kind: s3, place: "{misnamed}", {s3}}}
    - {{name: clear, kind: s3, place: "{clear}", {s3}}}
    - {{name: moved, kind: s3, place: "{moved}", {s3}}}
    - {{name: host, kind: sftp, place: "sftp://root@127.0.0.1:{port}{folder}/host", credentials_file: {folder}/ssh.key, trust_file: {folder}/known_hosts, patience: 1s}}
"""
S3 = "region: eu-test-1, bucket: backups, credentials_file: {folder}/s3.key, trust_file: {folder}/ca.pem, patience: 1s"
SSHD = 2222
d = daemon.Daemon()
stores, sshd, ssh = {}, None, None


# ---- who they are ----

def certificate(name, issuer=None, days=10, host="127.0.0.1"):
    """Files NAME.pem and NAME.key; issuer: (certificate, key), or itself."""
    now = datetime.datetime.utcnow()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    built = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0].subject if issuer else subject).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=20))
             .not_valid_after(now + datetime.timedelta(days=days)).add_extension(x509.BasicConstraints(not issuer, None), critical=True)
             .add_extension(x509.SubjectAlternativeName([alternative]), critical=False).sign(issuer[1] if issuer else key, hashes.SHA256()))
    with open(f"{d.folder}/{name}.pem", "wb") as f:
        f.write(built.public_bytes(serialization.Encoding.PEM))
    with open(f"{d.folder}/{name}.key", "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return built, key


def tls_store(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{d.folder}/{name}.pem", f"{d.folder}/{name}.key")
    stores[name] = s3.Store(context=context)


class Between:
    """A TCP port in front of another.  mode: "pass"; "silent": takes connections and says nothing; ("freeze", N), ("cut", N): after N bytes
    of the answer nothing more comes, or the connection ends."""

    def __init__(self, to):
        self.to, self.mode, self.taken, self.open = to, "pass", 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.taken += 1
            mode = self.mode
            self.open.append(near)
            if mode == "silent":
                continue
            far = socket.create_connection(("127.0.0.1", self.to))
            self.open.append(far)
            threading.Thread(target=self.carry, args=(near, far, "pass"), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, mode), daemon=True).start()

    def carry(self, near, far, mode):
        left = None if mode == "pass" else mode[1]
        try:
            while data := near.recv(4096):
                far.sendall(data if left is None else data[:left])
                if left is not None:
                    left -= min(left, len(data))
                if left == 0 and mode[0] == "freeze":
                    return
                if left == 0:
                    break
        except OSError:
            pass
        for s in (near, far):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        for s in (self.listener, *self.open):
            s.close()


def sshd_start():
    global sshd, ssh
    f = d.folder
    for name in ("ssh.key", "ssh_host.key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{f}/{name}"], check=True)
    with open(f"{f}/sshd_config", "w") as config:
        config.write(f"Port {SSHD}\nListenAddress 127.0.0.1\nHostKey {f}/ssh_host.key\nAuthorizedKeysFile {f}/ssh.key.pub\nMaxStartups 100\n"
                     "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n")
    os.makedirs("/run/sshd", exist_ok=True)
    sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{f}/sshd_config"], stdin=subprocess.DEVNULL, stderr=open(f"{f}/sshd.log", "w"))
    house.wait_for(lambda: subprocess.run(["nc", "-z", "127.0.0.1", str(SSHD)]).returncode == 0, "sshd to listen")
    ssh = Between(SSHD)
    with open(f"{f}/known_hosts", "w") as known, open(f"{f}/ssh_host.key.pub") as public:
        known.write(f"[127.0.0.1]:{ssh.port} {' '.join(public.read().split()[:2])}\n")


def before():
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name in ("disk", "host"):
        os.mkdir(f"{d.folder}/{name}")
    ca = certificate("ca")
    certificate("bucket", ca)
    certificate("stranger", certificate("another-ca"))
    certificate("expired", ca, days=-1)
    certificate("misnamed", ca, host="backups.example.test")
    certificate("moved", ca)
    for name in ("bucket", "stranger", "expired", "misnamed", "moved"):
        tls_store(name)
    stores["clear"], stores["target"] = s3.Store(), s3.Store()
    for command in ("GET", "PUT", "DELETE"):
        stores["moved"].faults[command] = stores["target"].url
    sshd_start()
    with open(f"{d.folder}/s3.key", "w") as f:
        f.write(f"{stores['bucket'].key_id}\n{stores['bucket'].secret}\n")
    urls = {name: store.url for name, store in stores.items()}
    urls["clear"] = urls["clear"].replace("http:", "https:")
    d.config(SINKS.format(folder=d.folder, port=ssh.port, s3=S3.format(folder=d.folder), **urls))
    d.start()
    backups.offline_slot(d, backups.identity(f"{d.folder}/offline.key"), f"{d.folder}/offline.key")


def sink(name):
    return next(s for s in d.json("backup", "status")["sinks"] if s["name"] == name)


def until(name, says):
    house.wait_for(lambda: says in sink(name)["problem"], f"{says} of {sink(name)}")


def until_whole(name):
    house.wait_for(lambda: sink(name)["problem"] == "" and sink(name)["epoch"] >= d.json("status")["epoch"], f"{name} to hold everything")


# ---- TLS ----

@tap.case
def a_store_over_tls_is_one_that_restores():
    backups.change(d, "key", "create", "v0/first")
    until_whole("bucket")
    tap.check(stores["bucket"].objects, "nothing is there")
    bare = "backup:\n  sinks:\n    - {name: bucket, kind: s3, place: \"" + stores["bucket"].url + "\", " + S3.format(folder=d.folder) + "}\n"
    tap.equal(backups.restored(bare, "bucket", "--identity", f"{d.folder}/offline.key"), backups.keys(d))


@tap.case
def one_that_is_not_who_it_should_be_is_refused_and_named():
    for name, says in (("stranger", "certificate"), ("expired", "certificate has expired"), ("misnamed", "127.0.0.1"), ("clear", "SSL"), ("moved", "answered 301")):
        until(name, says)
    status = d.ok("status")
    for name in ("stranger", "expired", "misnamed"):
        tap.check(name in status and "FAILS" in status, status)
        tap.equal((stores[name].requests, stores[name].objects), (0, {}), name)


@tap.case
def nothing_ever_goes_in_the_clear():
    tap.equal((stores["clear"].requests, stores["target"].requests), (0, 0))


# ---- silent, and cut off ----

def survives(name, fault, mend):
    """A change is made while that sink has a fault; ww-ctrl goes on; the sink is named, counted, and brought up to date when it is mended."""
    until_whole(name)
    failed = sink(name)["failed"]
    fault()
    key = backups.change(d, "key", "create", f"v0/{name}/{survives.count}")
    survives.count += 1
    tap.equal(key["state"], "enabled")
    house.wait_for(lambda: sink(name)["problem"] and sink(name)["failed"] > failed, f"{name} to be named")
    tap.check(f"sink         {name}" in d.ok("status") and "FAILS" in d.ok("status"), "status does not tell")
    mend()
    until_whole(name)


survives.count = 0


@tap.case
def a_store_that_is_silent_or_cuts_off_is_named_and_tried_again():
    store = stores["bucket"]
    for faults in ({"PUT": "stall"}, {"PUT": "close"}, {"GET": "stall halfway"}):
        survives("bucket", lambda faults=faults: store.faults.update(faults), store.mend)


@tap.case
def a_host_that_is_silent_or_cuts_off_is_named_and_tried_again():
    def mend():
        ssh.mode = "pass"

    for mode in ("silent", ("cut", 1500), ("freeze", 4000)):
        survives("host", lambda mode=mode: setattr(ssh, "mode", mode), mend)
    tap.check(not [n for n in os.listdir(f"{d.folder}/host") if n.endswith(".age") and os.path.getsize(f"{d.folder}/host/{n}") == 0], "an empty file")


@tap.case
def after_all_of_it_each_sink_restores_every_key():
    want = backups.keys(d)
    config = SINKS.format(folder=d.folder, port=ssh.port, s3=S3.format(folder=d.folder), **{name: store.url for name, store in stores.items()})
    for name in ("disk", "bucket", "host"):
        until_whole(name)
        tap.equal(backups.restored(config, name, "--identity", f"{d.folder}/offline.key"), want, name)


@tap.case
def no_secret_is_in_a_log():
    with open(f"{d.folder}/log") as f:
        log = f.read()
    for secret in (stores["bucket"].secret, "PRIVATE KEY", "AGE-SECRET-KEY"):
        tap.check(secret not in log, secret)


def after():
    d.end()
    for store in stores.values():
        store.stop()
    if ssh:
        ssh.stop()
    if sshd:
        sshd.terminate()
        sshd.wait()


tap.run(before=before, after=after)
