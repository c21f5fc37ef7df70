#!/usr/bin/python3
"""A key made elsewhere: wrapped by another program's RSA-OAEP and AES-KWP, imported, and its blobs opened here by docs/WIRE.md alone."""
import json
import os
import subprocess
import sys

from cryptography.hazmat.primitives import ciphers, hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import aead

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
PATH, CALLER = "v0/imported/key", "imported-agent@example.test"
MATERIAL = bytes(range(40, 72))
SECRET, AAD = b"a data key under a key from elsewhere", b"aad"


def wrapped(material, kek=None):
    public = serialization.load_pem_public_key(h.wwctl_json("key", "import-key")["public_key"].encode())
    kek = kek or os.urandom(32)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return public.encrypt(kek, oaep) + keywrap.aes_key_wrap_with_padding(kek, material)


def file_of(data):
    name = f"{h.state}/wrapped-by-a-test"
    with open(name, "wb") as f:
        f.write(data)
    return name


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


@tap.case
def no_log_and_no_file_holds_the_material():
    for folder, _, names in os.walk(h.state):
        for name in names:
            if not os.path.isfile(f"{folder}/{name}"):
                continue
            with open(f"{folder}/{name}", "rb") as f:
                data = f.read()
            tap.check(MATERIAL not in data and MATERIAL.hex().encode() not in data, f"the material is in {name}")


if __name__ == "__main__":
    tap.run(before=h.up, after=h.down)
