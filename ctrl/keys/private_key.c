#include "ctrl/keys/private_key.h"

#include "base/check.h"

#include <mbedtls/asn1.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>

#define PRIME_ROUNDS                                                                                         \
    20 /* Miller-Rabin with random bases: 4^-20 for whoever made a number to be taken for a prime */
#define FAR_BITS     100 /* FIPS 186-4 B.3.3, 5.4: |p - q| > 2^(bits / 2 - 100) */
#define EXPONENT_MIN 65537

static const char next_step[] = "make the key anew where it comes from, for the algorithm that is named";

static bool weak(struct refusal *why, const char *what)
{
    return refuse(why, "bad_material", next_step, "the private key is refused: %s", what);
}

/* PrivateKeyInfo: SEQUENCE { INTEGER 0, AlgorithmIdentifier SEQUENCE, ... } and nothing behind it.  The library would take a key
 * in its older forms, too. */
static bool is_pkcs8(struct span der)
{
    unsigned char *p = (unsigned char *)(uintptr_t)der.ptr;
    const unsigned char *end = p + der.len;
    size_t len;
    int version;

    return mbedtls_asn1_get_tag(&p, end, &len, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) == 0 &&
           p + len == end && mbedtls_asn1_get_int(&p, end, &version) == 0 && version == 0 &&
           mbedtls_asn1_get_tag(&p, end, &len, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) == 0;
}

/* ---- RSA ---- */

struct rsa_parts {
    mbedtls_mpi n, p, q, d, e, apart;
};

static bool primes_are_good(struct rsa_parts *r, size_t bits, struct mbed_rng *rng, struct refusal *why)
{
    if (mbedtls_mpi_sub_mpi(&r->apart, &r->p, &r->q) != 0 ||
        mbedtls_mpi_bitlen(&r->apart) + FAR_BITS <= bits / 2)
        return weak(why, "its two primes are too close to each other");
    if (mbedtls_mpi_is_prime_ext(&r->p, PRIME_ROUNDS, mbed_rng_callback, rng) != 0 ||
        mbedtls_mpi_is_prime_ext(&r->q, PRIME_ROUNDS, mbed_rng_callback, rng) != 0)
        return weak(why, "its factors are no primes");
    return true;
}

static bool parts_are_good(const mbedtls_rsa_context *rsa, struct rsa_parts *r, size_t bits,
                           struct mbed_rng *rng, struct refusal *why)
{
    if (mbedtls_rsa_export(rsa, &r->n, &r->p, &r->q, &r->d, &r->e) != 0)
        return weak(why, "it does not hold all parts of an RSA key");
    if (mbedtls_mpi_cmp_int(&r->e, EXPONENT_MIN) < 0 || mbedtls_mpi_bitlen(&r->e) > 32 ||
        mbedtls_mpi_get_bit(&r->e, 0) == 0)
        return weak(why, "its public exponent must be odd, from 65537 to 32 bits");
    if (mbedtls_mpi_bitlen(&r->d) <= bits / 2)
        return weak(why, "its private exponent is too small");
    if (mbedtls_rsa_check_privkey(rsa) != 0)
        return weak(why, "its parts do not go together");
    return primes_are_good(r, bits, rng, why);
}

static bool check_rsa(const mbedtls_rsa_context *rsa, const struct algorithm *a, struct mbed_rng *rng,
                      struct refusal *why)
{
    struct rsa_parts r;
    size_t bits = mbedtls_rsa_get_len(rsa) * 8;

    mbedtls_mpi *const all[] = {&r.n, &r.p, &r.q, &r.d, &r.e, &r.apart};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        mbedtls_mpi_init(all[i]);
    bool ok = bits == a->bits ||
              refuse(why, "wrong_algorithm", next_step, "%s takes RSA of %u bits, and this key has %zu",
                     a->name, (unsigned)a->bits, bits);
    ok = ok && parts_are_good(rsa, &r, bits, rng, why);
    ok = ok && (mbedtls_mpi_bitlen(&r.n) == bits || weak(why, "its modulus is shorter than it says"));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        mbedtls_mpi_free(all[i]);
    return ok;
}

/* ---- EC ---- */

static bool check_ec(const mbedtls_ecp_keypair *ec, const struct algorithm *a, struct refusal *why)
{
    mbedtls_ecp_group_id want = a->bits == 256 ? MBEDTLS_ECP_DP_SECP256R1 : MBEDTLS_ECP_DP_SECP384R1;

    if (ec->grp.id != want)
        return refuse(why, "wrong_algorithm", next_step,
                      "%s takes a key on the curve P-%u, and this one is on another", a->name,
                      (unsigned)a->bits);
    if (mbedtls_ecp_check_privkey(&ec->grp, &ec->d) != 0 || mbedtls_ecp_check_pubkey(&ec->grp, &ec->Q) != 0)
        return weak(why, "it is not of its curve");
    if (mbedtls_mpi_bitlen(&ec->d) <= a->bits / 2u)
        return weak(why, "its secret is too small to have been chosen at random");
    return mbedtls_ecp_check_pub_priv(ec, ec) == 0 || weak(why, "its public point is not its own");
}

/* ---- either ---- */

static bool check_parsed(const mbedtls_pk_context *pk, const struct algorithm *a, struct mbed_rng *rng,
                         struct refusal *why)
{
    switch (mbedtls_pk_get_type(pk)) {
    case MBEDTLS_PK_RSA:
        if (a->kind == ALGORITHM_RSA)
            return check_rsa(mbedtls_pk_rsa(*pk), a, rng, why);
        break;
    case MBEDTLS_PK_ECKEY:
        if (a->kind == ALGORITHM_EC)
            return check_ec(mbedtls_pk_ec(*pk), a, why);
        break;
    default:
        break;
    }
    return refuse(why, "wrong_algorithm", next_step, "%s takes %s, and this key is of another kind", a->name,
                  a->kind == ALGORITHM_RSA ? "an RSA key" : "an EC key");
}

bool private_key_check(struct span der, const struct algorithm *a, struct mbed_rng *rng, struct refusal *why)
{
    mbedtls_pk_context pk;

    if (der.len > PRIVATE_KEY_MAX || !is_pkcs8(der))
        return weak(why, "it is no PKCS#8 in DER, unencrypted and of at most 3072 bytes");
    mbedtls_pk_init(&pk);
    bool ok = mbedtls_pk_parse_key(&pk, der.ptr, der.len, NULL, 0) == 0
                  ? check_parsed(&pk, a, rng, why)
                  : weak(why, "it does not parse, or its parts do not go together");
    mbedtls_pk_free(&pk);
    return ok;
}

void private_key_public_pem(struct span der, char out[PRIVATE_KEY_PEM_MAX])
{
    mbedtls_pk_context pk;

    mbedtls_pk_init(&pk);
    CHECK(mbedtls_pk_parse_key(&pk, der.ptr, der.len, NULL, 0) == 0);
    CHECK(mbedtls_pk_write_pubkey_pem(&pk, (unsigned char *)out, PRIVATE_KEY_PEM_MAX) == 0);
    mbedtls_pk_free(&pk);
}
