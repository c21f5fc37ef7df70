"""The warm snapshot's sealing (docs/WIRE.md 8), written a second time: to read what the dataplane wrote, and to make files it must refuse."""
import os
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEAD, CHUNK, TAG = 80, 65536, 16
SNAPSHOT, FLOOR = 1, 2


def derive(key, nonce):
    """Kx and commitment: CMAC of four one-block messages."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    doubled = int.from_bytes(ecb.update(bytes(16)), "big") << 1
    k1 = (doubled ^ 0x87 if doubled >> 128 else doubled) & ((1 << 128) - 1)
    blocks = b"".join(ecb.update((int.from_bytes(bytes([0, i, 0x58, 0]) + nonce[:12], "big") ^ k1).to_bytes(16, "big")) for i in (1, 2, 3, 4))
    return blocks[:32], blocks[32:]


def place(nonce, index, last):
    number = int.from_bytes(nonce[16:], "big") ^ (2 * index + last)
    return nonce[12:16] + number.to_bytes(8, "big"), struct.pack(">QB", index, last)


def head(kind, shard, epoch, unix_s, nonce, commitment):
    return struct.pack(">BBHIQQ", 1, kind, shard, CHUNK, epoch, unix_s) + nonce + commitment


def opened(file, key):
    """(epoch, unix_s, stream)."""
    version, kind, _, chunk, epoch, unix_s = struct.unpack(">BBHIQQ", file[:24])
    nonce, commitment = file[24:48], file[48:80]
    kx, derived = derive(key, nonce)
    if (version, chunk, commitment) != (1, CHUNK, derived) or kind not in (SNAPSHOT, FLOOR):
        raise ValueError("not a file of this form and key")
    out, at, index = b"", HEAD, 0
    while at < len(file):
        sealed = file[at:at + CHUNK + TAG]
        at += len(sealed)
        gcm_nonce, number = place(nonce, index, at == len(file))
        out += AESGCM(kx).decrypt(gcm_nonce, sealed, file[:HEAD] + number)
        index += 1
    return epoch, unix_s, out


def sealed(kind, epoch, unix_s, stream, key, nonce=None):
    nonce = nonce or os.urandom(24)
    kx, commitment = derive(key, nonce)
    file = beginning = head(kind, 0, epoch, unix_s, nonce, commitment)
    chunks = [stream[i:i + CHUNK] for i in range(0, len(stream), CHUNK)] or [b""]
    for index, plain in enumerate(chunks):
        gcm_nonce, number = place(nonce, index, index == len(chunks) - 1)
        file += AESGCM(kx).encrypt(gcm_nonce, plain, beginning + number)
    return file


def messages(stream):
    """(type, epoch, body) of each ctl message."""
    at = 0
    while at < len(stream):
        _, kind, _, length, epoch = struct.unpack(">BBHIQ", stream[at:at + 16])
        yield kind, epoch, stream[at + 16:at + length]
        at += length
