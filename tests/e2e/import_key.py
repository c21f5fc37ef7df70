#!/usr/bin/python3
"""A key made elsewhere: wrapped by another program's RSA-OAEP and AES-KWP, imported, and its blobs opened here by docs/WIRE.md alone."""
import json
import os
import signal
import subprocess
import sys

from cryptography.hazmat.primitives import ciphers, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import aead

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import imports
import tap

h = house.House()
PATH, CALLER = "v0/imported/key", "imported-agent@example.test"
MATERIAL = bytes(range(40, 72))
SECRET, AAD = b"a data key under a key from elsewhere", b"aad"


def wrapped(material):
    return imports.wrapped(h, material)


def file_of(data):
    return imports.file_of(h, data)


def aes(key, block):
    return ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.ECB()).encryptor().update(block)


def opened(key, key_id, blob, aad):
    """Suite 1, section 1 of docs/WIRE.md."""
    nonce, commitment = blob[12:36], blob[36:68]
    left = int.from_bytes(aes(key, bytes(16)), "big") << 1
    k1 = (left ^ 0x87 if left >> 128 else left) & (1 << 128) - 1
    c = [aes(key, (int.from_bytes(bytes([0, i, 0x58, 0]) + nonce[:12], "big") ^ k1).to_bytes(16, "big")) for i in range(1, 5)]
    tap.equal(c[2] + c[3], commitment, "commitment")
    more = blob[:68] + key_id + len(aad).to_bytes(8, "big") + aad
    return aead.AESGCM(c[0] + c[1]).decrypt(nonce[12:], blob[68:], more)


@tap.case
def the_public_key_is_rsa_3072_and_stays_while_it_is_valid():
    pem = h.wwctl_json("key", "import-key")["public_key"]
    tap.equal(serialization.load_pem_public_key(pem.encode()).key_size, 3072)
    tap.equal(h.wwctl_json("key", "import-key")["public_key"], pem)


@tap.case
def a_file_that_does_not_open_makes_no_key():
    bad = bytearray(wrapped(MATERIAL))
    bad[7] ^= 1
    tap.check("does not open" in h.wwctl("key", "import", PATH, "--file", file_of(bad), refused=True), "not named")
    tap.check("must have 424 bytes" in h.wwctl("key", "import", PATH, "--file", file_of(b"x"), refused=True), "not named")
    h.wwctl("key", "show", PATH, refused=True)


@tap.case
def blobs_of_an_imported_key_open_with_the_material_that_was_imported():
    key = json.loads(h.wwctl("key", "import", PATH, "--file", file_of(wrapped(MATERIAL)), "--json"))["key"]
    h.policy_set(PATH, CALLER)
    c = client.Connection(h)
    blob = c.wrapped(SECRET, AAD, path=PATH, token=h.token_for(CALLER))
    c.close()
    tap.equal(opened(MATERIAL, bytes.fromhex(key["id"]), blob, AAD), SECRET)


@tap.case
def the_commands_of_the_manual_make_a_file_that_imports():
    with open(f"{house.ROOT}/docs/OPERATIONS.md") as f:
        text = f.read()
    script = text.split("### Importing a key")[1].split("```")[1]
    folder = f"{h.state}/elsewhere"
    os.mkdir(folder, 0o700)
    with open(f"{folder}/key", "wb") as f:
        f.write(os.urandom(32))
    with open(f"{folder}/wwctl", "w") as f:
        f.write(f'#!/bin/sh\nexec {h.binary("wwctl")} --admin {h.state}/admin.sock "$@"\n')
    os.chmod(f"{folder}/wwctl", 0o700)
    done = subprocess.run(["bash", "-euc", script], cwd=folder, env=dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}"),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    tap.equal(done.returncode, 0, done.stdout)
    tap.equal(h.wwctl_json("key", "show", "v0/team/key")["key"]["state"], "enabled")


# ---- private keys ----

SIGNS, signing = "v0/imported/signs", imports.ec_key()


def shown(path):
    return json.loads(h.wwctl("key", "show", path, "--json"))["key"]


@tap.case
def before_a_commit_a_private_key_is_refused():
    said = h.wwctl("key", "import", SIGNS, "--algorithm", "EC_SIGN_P256_SHA256", "--file", file_of(wrapped(imports.pkcs8(signing))), refused=True)
    tap.check("wwctl upgrade commit comes first" in said, said)
    h.wwctl("upgrade", "commit")


@tap.case
def a_private_key_is_imported_and_shown_by_its_public_half():
    h.wwctl("key", "import", SIGNS, "--algorithm", "EC_SIGN_P256_SHA256", "--file", file_of(wrapped(imports.pkcs8(signing))))
    key = shown(SIGNS)
    tap.equal((key["algorithm"], key["served"], key["state"]), ("EC_SIGN_P256_SHA256", False, "enabled"))
    tap.equal(key["versions"][0]["public_key"], imports.public_pem(signing))
    tap.check("not served yet" in h.wwctl("key", "show", SIGNS), "not told")


@tap.case
def its_next_version_is_imported_too_and_only_so():
    tap.check("key rotate PATH --file" in h.wwctl("key", "rotate", SIGNS, refused=True), "not named")
    other = imports.ec_key()
    h.wwctl("key", "rotate", SIGNS, "--file", file_of(wrapped(imports.pkcs8(other))))
    tap.equal([v["public_key"] for v in shown(SIGNS)["versions"]], [imports.public_pem(signing), imports.public_pem(other)])
    h.wwctl("key", "disable", SIGNS, "--version", "1")
    tap.equal(shown(SIGNS)["versions"][0]["state"], "disabled")


@tap.case
def what_it_is_not_for_is_answered_as_such():
    h.policy_set(SIGNS, CALLER)
    house.wait_for(h.in_sync, "the dataplane to have all")
    c, token = client.Connection(h), h.token_for(CALLER)
    answers = [c.wrap(SECRET, path=SIGNS, token=token), c.post(f"{SIGNS}:asymmetricSign", b"{}", token=token)]
    c.close()
    tap.equal([a.status for a in answers], [400, 501])
    tap.equal(json.loads(answers[0].body)["code"], 9)  # FAILED_PRECONDITION


@tap.case
def wrong_and_weak_keys_are_named():
    for key, algorithm, says in ((signing, "RSA_SIGN_PSS_2048_SHA256", "another kind"), (signing, "EC_SIGN_P384_SHA384", "P-384"),
                                 (signing, "EC_SIGN_P521", "the algorithms of private keys are"), (close_primes(), "RSA_SIGN_PSS_2048_SHA256", "too close")):
        done = h.wwctl("key", "import", "v0/no", "--algorithm", algorithm, "--file", file_of(wrapped(imports.pkcs8(key))), refused=True)
        tap.check(says in done, f"{done} does not say {says}")


def is_prime(n):
    return all(n % p for p in (3, 5, 7, 11, 13, 17, 19, 23)) and all(pow(a, n - 1, n) == 1 for a in (2, 3, 5))


def close_primes():
    """A modulus that Fermat's method factors at once."""
    p = int.from_bytes(os.urandom(128), "big") | 3 << 1022 | 1
    while not is_prime(p) or p % 65537 == 1:
        p += 2
    q = p + 2
    while not is_prime(q) or q % 65537 == 1:
        q += 2
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


@tap.case
def a_start_opens_it_again():
    before = shown(SIGNS)
    os.kill(h.pid("ctrl"), signal.SIGKILL)
    house.wait_for(h.in_sync, "ww-ctrl to be back")
    tap.equal(shown(SIGNS), before)


@tap.case
def no_log_and_no_file_holds_the_material():
    for path, data in house.files(h.state):
        tap.check(imports.pkcs8(signing)[36:68] not in data, f"the private key is in {path}")
        tap.check(MATERIAL not in data and MATERIAL.hex().encode() not in data, f"the material is in {path}")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
