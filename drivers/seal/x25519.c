#include "drivers/seal/x25519.h"

#include "base/check.h"
#include "base/secret.h"

#include <mbedtls/ecp.h>

/* RFC 7748 5: the scalar's low three bits are cleared, its top bit is cleared, the next is set. */
static void load_scalar(const uint8_t scalar[X25519_LEN], mbedtls_mpi *out)
{
    uint8_t clamped[X25519_LEN];

    memcpy(clamped, scalar, sizeof clamped);
    clamped[0] &= 248;
    clamped[31] = (clamped[31] & 127) | 64;
    CHECK(mbedtls_mpi_read_binary_le(out, clamped, sizeof clamped) == 0);
    secret_wipe(clamped, sizeof clamped);
}

/* RFC 7748 5: the top bit of u is passed over. */
static void load_point(const uint8_t u[X25519_LEN], mbedtls_ecp_point *out)
{
    uint8_t masked[X25519_LEN];

    memcpy(masked, u, sizeof masked);
    masked[31] &= 127;
    CHECK(mbedtls_mpi_read_binary_le(&out->X, masked, sizeof masked) == 0);
    CHECK(mbedtls_mpi_lset(&out->Z, 1) == 0);
}

bool x25519(struct mbed_rng *rng, const uint8_t scalar[X25519_LEN], const uint8_t u[X25519_LEN],
            uint8_t out[X25519_LEN])
{
    static const uint8_t zero[X25519_LEN];
    mbedtls_ecp_group curve;
    mbedtls_ecp_point point, product;
    mbedtls_mpi m;

    mbedtls_ecp_group_init(&curve);
    mbedtls_ecp_point_init(&point);
    mbedtls_ecp_point_init(&product);
    mbedtls_mpi_init(&m);
    CHECK(mbedtls_ecp_group_load(&curve, MBEDTLS_ECP_DP_CURVE25519) == 0);
    load_scalar(scalar, &m);
    load_point(u, &point);
    memset(out, 0, X25519_LEN);
    int rc = mbedtls_ecp_mul(&curve, &product, &m, &point, mbed_rng_callback, rng);
    CHECK(rc == 0 || rc == MBEDTLS_ERR_ECP_INVALID_KEY);
    if (rc == 0)
        CHECK(mbedtls_mpi_write_binary_le(&product.X, out, X25519_LEN) == 0);
    mbedtls_mpi_free(&m);
    mbedtls_ecp_point_free(&product);
    mbedtls_ecp_point_free(&point);
    mbedtls_ecp_group_free(&curve);
    return !secret_equal(out, zero, X25519_LEN);
}

void x25519_public(struct mbed_rng *rng, const uint8_t scalar[X25519_LEN], uint8_t out[X25519_LEN])
{
    static const uint8_t base_point[X25519_LEN] = {9};

    CHECK(x25519(rng, scalar, base_point, out));
}
