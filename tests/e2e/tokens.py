#!/usr/bin/python3
"""Who asks: ID tokens of an issuer whose keys this test holds, each with one thing wrong, and a few that are right."""
import base64
import hashlib
import hmac
import json
import os
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import client
import house
import tap

h = house.House()
ISSUER, UNREAD_ISSUER = "https://issuer.example.test", "https://unread.example.test"
rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ec_key = ec.generate_private_key(ec.SECP256R1())
foreign_key = ec.generate_private_key(ec.SECP256R1())


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length=None):
    return b64url(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def jwks():
    r, e = rsa_key.public_key().public_numbers(), ec_key.public_key().public_numbers()
    return {"keys": [
        {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rsa", "n": number(r.n), "e": number(r.e)},
        {"kty": "EC", "alg": "ES256", "use": "sig", "kid": "ec", "crv": "P-256", "x": number(e.x, 32), "y": number(e.y, 32)},
    ]}


def up():
    with open(f"{h.state}/jwks.json", "w") as f:
        json.dump(jwks(), f)
    with open(f"{h.state}/issuers.yaml", "w") as f:
        f.write(f"- {{iss: '{ISSUER}', jwks_file: '{h.state}/jwks.json', jwks_fresh: 24h}}\n"
                f"- {{iss: '{UNREAD_ISSUER}', jwks_file: '{h.state}/no-such-file.json'}}\n")
    h.up()


def es256(signed, key=ec_key):
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def rs256(signed, key=rsa_key):
    return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def claims(**changed):
    now = int(time.time())
    c = {"iss": ISSUER, "aud": house.AUDIENCE, "email": house.CALLER, "email_verified": True, "sub": "1", "iat": now, "exp": now + 3600}
    c.update(changed)
    return {k: v for k, v in c.items() if v is not None}


def token(payload=None, sign=es256, **header):
    head = {"alg": "ES256", "kid": "ec", "typ": "JWT"}
    head.update(header)
    head = {k: v for k, v in head.items() if v is not None}
    signed = f"{b64url(json.dumps(head).encode())}.{b64url(json.dumps(payload or claims()).encode())}"
    return f"{signed}.{b64url(sign(signed.encode()))}"


def status(tok, path=None):
    c = client.Connection(h)
    reply = c.wrap(b"x", path=path, token=tok)
    c.close()
    if reply.status == 401:
        tap.check(reply.fields.get("www-authenticate", "").startswith("Bearer"), f"401 without WWW-Authenticate: {reply.fields}")
        tap.equal(reply.json()["code"], 16, "UNAUTHENTICATED")
    return reply.status


def gets(wanted, tok):
    tap.equal(status(tok), wanted)


@tap.case
def an_es256_token_is_accepted():
    gets(200, token())


@tap.case
def an_rs256_token_is_accepted():
    gets(200, token(sign=rs256, alg="RS256", kid="rsa"))


@tap.case
def a_token_of_the_development_issuer_is_accepted():
    gets(200, h.token_for(house.CALLER))


@tap.case
def no_token_is_401():
    gets(401, "")


@tap.case
def an_expired_token_is_401():
    gets(401, token(claims(exp=int(time.time()) - 3600)))


@tap.case
def a_token_without_exp_is_401():
    gets(401, token(claims(exp=None)))


@tap.case
def a_token_from_the_future_is_401():
    gets(401, token(claims(nbf=int(time.time()) + 3600, iat=int(time.time()) + 3600, exp=int(time.time()) + 7200)))


@tap.case
def another_audience_is_401():
    gets(401, token(claims(aud="https://other.example.test")))


@tap.case
def the_audience_with_a_slash_more_is_401():
    gets(401, token(claims(aud=house.AUDIENCE + "/")))


@tap.case
def an_unknown_issuer_is_401():
    gets(401, token(claims(iss="https://nobody.example.test")))


@tap.case
def an_email_that_is_not_verified_is_401():
    gets(401, token(claims(email_verified=False)))


@tap.case
def an_email_without_a_word_on_verification_is_401():
    gets(401, token(claims(email_verified=None)))


@tap.case
def a_valid_token_of_somebody_else_is_403():
    gets(403, token(claims(email="somebody-else@example.test")))


@tap.case
def the_callers_email_in_capitals_is_somebody_else():
    gets(403, token(claims(email=house.CALLER.upper())))


@tap.case
def alg_none_is_401():
    gets(401, token(sign=lambda _: b"", alg="none"))


@tap.case
def hs256_keyed_with_the_public_key_is_401():
    public = ec_key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    gets(401, token(sign=lambda signed: hmac.new(public, signed, hashlib.sha256).digest(), alg="HS256"))


@tap.case
def an_algorithm_that_is_not_the_keys_is_401():
    gets(401, token(sign=rs256, alg="RS256", kid="ec"))


@tap.case
def a_signature_of_another_key_is_401():
    gets(401, token(sign=lambda signed: es256(signed, foreign_key)))


@tap.case
def a_flipped_bit_in_the_signature_is_401_also_for_a_token_seen_before():
    good = token()
    gets(200, good)
    at = len(good) - 10
    gets(401, good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1:])
    gets(200, good)


@tap.case
def other_claims_under_a_seen_signature_are_401():
    good = token()
    gets(200, good)
    head, _, signature = good.split(".")
    gets(401, f"{head}.{b64url(json.dumps(claims(email='somebody-else@example.test')).encode())}.{signature}")


@tap.case
def a_key_id_unknown_to_a_fresh_jwks_is_401():
    gets(401, token(kid="unheard-of"))


@tap.case
def an_issuer_whose_keys_could_never_be_read_is_503():
    gets(503, token(claims(iss=UNREAD_ISSUER)))


@tap.case
def a_header_that_brings_its_own_key_is_401():
    e = foreign_key.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "x": number(e.x, 32), "y": number(e.y, 32)}
    gets(401, token(sign=lambda signed: es256(signed, foreign_key), jwk=jwk))


@tap.case
def a_header_with_crit_is_401():
    gets(401, token(crit=["exp"]))


@tap.case
def garbage_is_401():
    for tok in ("x", "a.b.c", "....", "a" * 3000):
        gets(401, tok)


@tap.case
def a_token_over_4_kib_is_401():
    gets(401, token(claims(padding="x" * 4096)))


@tap.case
def another_scheme_is_401():
    c = client.Connection(h)
    reply = c.wrap(b"x", token="", fields=["Authorization: Basic eDp5"])
    tap.equal(reply.status, 401)
    c.close()


@tap.case
def an_access_reason_that_is_not_on_the_list_is_403():
    h.key_make("v0/reasons/key", house.CALLER)
    h.policy_set("v0/reasons/key", house.CALLER, reasons=["CUSTOMER_INITIATED_ACCESS"])
    c = client.Connection(h)
    for reason, wanted in (("CUSTOMER_INITIATED_ACCESS", 200), ("GOOGLE_INITIATED_SERVICE", 403), (None, 403)):
        body = {"plaintext": "eA==", "additionalContext": {"accessReasonContext": {"reason": reason}} if reason else None}
        reply = c.post("v0/reasons/key:wrap", json.dumps(body).encode())
        tap.equal(reply.status, wanted, reason)
    c.close()


if __name__ == "__main__":
    tap.run(before=up, after=h.down)
