/* Every fixed maximum, in one place, with its reason.  Lengths are bytes unless the name says otherwise. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* --- the API (ekm-api 1.5): Cloud KMS sends up to 64 KiB of plaintext plus its own layer, and 64 KiB of AAD
 * --- */
#define EKM_PLAINTEXT_MAX   (128 * 1024)
#define EKM_AAD_MAX         (64 * 1024)
#define EKM_BLOB_MAX        (192 * 1024)
#define EKM_KEY_PATH_MAX    256 /* without the leading slash and the verb */
#define EKM_RESOURCE_MAX    512 /* relativeResourceName */
#define EKM_CALLER_MAX      254 /* an e-mail address, RFC 5321 4.5.3.1 */
#define EKM_CALLERS_PER_KEY 64

/* --- HTTP --- */
#define HTTP_BODY_MAX       (512 * 1024)
#define HTTP_HEAD_MAX       (8 * 1024) /* request line and all fields */
#define HTTP_FIELDS_MAX     64
#define HTTP_SMALL_BODY_MAX (16 * 1024) /* a larger body takes one buffer of the worker's bounded pool */

/* --- tokens --- */
#define JWT_TOKEN_MAX        4096
#define JWT_KID_MAX          128
#define JWT_SKEW_S           60    /* how far the issuer's clock and ours may differ */
#define JWT_LIFETIME_MAX_S   86400 /* Google's ID tokens live an hour; one of more than a day is a mistake */
#define JWKS_KEYS_MAX        32
#define ISSUERS_MAX          8
#define AUDIENCES_MAX        8
#define JWT_ISSUER_MAX       256
#define JWT_AUDIENCE_MAX     512
#define JWK_RSA_MODULUS_MAX  512 /* 4096 bits */
#define JWK_RSA_EXPONENT_MAX 8

/* --- keys --- */
#define KEY_ID_LEN           16
#define KEY_MATERIAL_LEN     32 /* AES-256 */
#define KEY_VERSION_TAG_LEN  8
#define KEY_VERSIONS_PER_KEY 4096

/* --- the wrapped blob, suite 1 (docs/WIRE.md) --- */
#define BLOB_NONCE_LEN      24
#define BLOB_COMMITMENT_LEN 32
#define BLOB_GCM_TAG_LEN    16
#define BLOB_HEAD_LEN       (1 + 1 + 2 + KEY_VERSION_TAG_LEN + BLOB_NONCE_LEN + BLOB_COMMITMENT_LEN)
#define BLOB_OVERHEAD       (BLOB_HEAD_LEN + BLOB_GCM_TAG_LEN)

_Static_assert(BLOB_HEAD_LEN == 68, "the GCM AAD starts with blob bytes 0..67");
_Static_assert(BLOB_OVERHEAD == 84, "a wrapped blob is its plaintext and 84 bytes");
_Static_assert(EKM_PLAINTEXT_MAX + BLOB_OVERHEAD <= EKM_BLOB_MAX, "what we wrap, we must accept back");
_Static_assert((EKM_BLOB_MAX + EKM_AAD_MAX) / 3 * 4 + 2048 <= HTTP_BODY_MAX,
               "the largest legal request fits a body");

/* --- IP fragments of one worker (dataplane/net/frag.c): pieces are rare among our peers, a flood of them is
 * not --- */
#define FRAG_DATAGRAMS        128
#define FRAG_SOURCE_DATAGRAMS 16
#define FRAG_BYTES            (1024 * 1024)
#define FRAG_SOURCE_BYTES     (128 * 1024)

/* --- workers --- */
#define WORKERS_MAX   16
#define NIC_BURST_MAX 32

/* --- ctl --- */
#define CTL_MESSAGE_MAX (64 * 1024)

#endif
