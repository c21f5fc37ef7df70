"""Keys from elsewhere: made and wrapped here as another program would."""
import os

from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding


def wrapped(h, material, kek=None):
    """Under the import key of a running house: RSA-OAEP and AES-KWP."""
    public = serialization.load_pem_public_key(h.wwctl_json("key", "import-key")["public_key"].encode())
    kek = kek or os.urandom(32)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return public.encrypt(kek, oaep) + keywrap.aes_key_wrap_with_padding(kek, material)


def file_of(h, data):
    name = f"{h.state}/wrapped-by-a-test"
    with open(name, "wb") as f:
        f.write(data)
    return name


def pkcs8(key):
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())
