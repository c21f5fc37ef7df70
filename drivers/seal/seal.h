/* Root-of-trust slots: each one, opened, yields the shard root key (SRK).  Any one slot is enough.
 *
 * A slot is a self-describing record that the store keeps in the clear (docs/WIRE.md, "Root slots"):
 *
 *     version u8 = 1 | kind u8 | number u8 | 0 u8 | shard u16 | body by kind | sum 8
 *
 * sum = first bytes of SHA-256 over all before it: it is no protection, it tells a damaged slot from a wrong
 * key.  Whoever can write the store can replace a slot by one that yields another key; the rows,
 * authenticated under the SRK, then do not open.  What a slot says about itself (its recipients, say) is to
 * be believed only when the store vouches for it under the SRK.
 *
 *     kind         opened by                       to seal again (root rotation) it takes
 *     passphrase   the passphrase, Argon2id        the passphrase
 *     age          one of n age identities         nothing: the slot holds the public keys
 *     shares       k of n paper shares             nothing: the shares are those of an age identity
 *     pkcs11       a key of a PKCS#11 token        the token and its PIN
 *     tpm2         this machine's TPM, in a state  the TPM
 */
#ifndef DRIVERS_SEAL_SEAL_H
#define DRIVERS_SEAL_SEAL_H

#include "base/span.h"
#include "drivers/crypto/mbedtls/mbed.h"
#include "drivers/seal/age.h"
#include "drivers/seal/device/ask.h"
#include "drivers/seal/shamir.h"

#define SEAL_SRK_LEN        32
#define SEAL_SLOT_MAX       2048                                   /* of any kind */
#define SEAL_SLOT_LEN       (15 + 16 + 12 + SEAL_SRK_LEN + 16 + 8) /* of a passphrase slot */
#define SEAL_PASSPHRASE_MAX 1024
#define SEAL_PASSPHRASE_MIN 8

/* Bounds on what a slot may ask for: a damaged or forged one must not eat the machine. */
#define SEAL_MEMORY_KIB_MIN 64
#define SEAL_MEMORY_KIB_MAX (4u * 1024 * 1024)
#define SEAL_PASSES_MAX     64

#define SEAL_SLOT_RECIPIENTS_MAX 8

enum seal_kind {
    SEAL_KIND_PASSPHRASE = 1,
    SEAL_KIND_AGE = 2,
    SEAL_KIND_SHARES = 3,
    SEAL_KIND_PKCS11 = DEVICE_KIND_PKCS11,
    SEAL_KIND_TPM2 = DEVICE_KIND_TPM2,
};

enum seal_status {
    SEAL_OK,
    SEAL_CORRUPT,          /* length, sum, version or a parameter out of bounds */
    SEAL_UNKNOWN_KIND,     /* sound, but of a kind that this build does not open */
    SEAL_WRONG_SHARD,      /* sound, but of another shard */
    SEAL_WRONG_PASSPHRASE, /* sound, and the passphrase does not open it */
    SEAL_NO_MEMORY,        /* Argon2id could not have its memory, or there are no locked pages */
    SEAL_WRONG_IDENTITY,   /* sound, and the age identity is none of its recipients' */
    SEAL_WRONG_SHARES,     /* the shares are of another set, too few, or do not combine */
    SEAL_DEVICE,           /* the device, or the child that asks it, refuses: err has the reason */
    SEAL_BAD_PIN, /* the token refused the PIN: as SEAL_DEVICE, and trying it again may lock the token */
    SEAL_BAD_PARAMETER, /* what a slot is asked to be made of: counts, keys, names */
};

struct seal_cost {
    uint32_t memory_kib;
    uint32_t passes;
};

/* What can be said of a slot without opening it. */
struct seal_slot_info {
    uint8_t number;
    uint8_t kind; /* enum seal_kind */
    uint16_t shard;
    struct seal_cost cost;  /* passphrase */
    size_t recipient_count; /* age, shares: who can open it */
    struct age_recipient recipients[SEAL_SLOT_RECIPIENTS_MAX];
    uint8_t threshold, share_count; /* shares */
    uint8_t set[SHAMIR_SET_LEN];    /* shares: printed on each of them */
    char device[512];               /* pkcs11, tpm2: which, in words */
    char pin[256];                  /* pkcs11: where the PIN is read from */
};

/* SEAL_OK, SEAL_CORRUPT or SEAL_UNKNOWN_KIND; number, kind and shard are filled in for the last, too. */
enum seal_status MUST_USE seal_slot_info(struct span slot, struct seal_slot_info *out);

/* "passphrase", "age", "shares", "pkcs11", "tpm2"; "unknown". */
const char *seal_kind_text(uint8_t kind);
/* Whether what opens it is kept away from the machine.  A passphrase counts as online. */
bool seal_kind_is_offline(uint8_t kind);

/* Below: srk is SEAL_SRK_LEN bytes, in locked pages of the caller's, all zero unless SEAL_OK.  A slot of
 * another kind than the function's is SEAL_UNKNOWN_KIND.  out: SEAL_SLOT_MAX bytes of room, its len set. */

/* A new passphrase slot for srk; out gets SEAL_SLOT_LEN bytes. */
enum seal_status MUST_USE seal_passphrase_create(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                                 struct seal_cost cost, struct span passphrase,
                                                 const uint8_t srk[SEAL_SRK_LEN], uint8_t out[SEAL_SLOT_LEN]);
enum seal_status MUST_USE seal_passphrase_open(struct span slot, uint16_t shard, struct span passphrase,
                                               uint8_t srk[SEAL_SRK_LEN]);

/* Reads a passphrase from a file: its first line, without the line end.  name is a path, or "credential:NAME"
 * for a systemd credential ($CREDENTIALS_DIRECTORY/NAME).  out: SEAL_PASSPHRASE_MAX bytes of locked pages of
 * the caller's.  false: err says which file, why, and what to do. */
bool MUST_USE seal_passphrase_read(const char *name, uint8_t *out, size_t *len, char *err, size_t err_cap);

/* An offline slot for one to SEAL_SLOT_RECIPIENTS_MAX age recipients, any one of whom opens it. */
enum seal_status MUST_USE seal_age_create(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                          const struct age_recipient *recipients, size_t count,
                                          const uint8_t srk[SEAL_SRK_LEN], struct buf *out);
/* Opens a slot of kind age.  It opens one of kind shares, too, with the identity that its shares give. */
enum seal_status MUST_USE seal_age_open(struct mbed_rng *rng, struct span slot, uint16_t shard,
                                        const uint8_t identity[AGE_KEY_LEN], uint8_t srk[SEAL_SRK_LEN]);

/* An offline slot for a new age identity that exists only as count shares, any threshold of which give it
 * back.  shares: count of them, secret: print, hand out, wipe.  The identity opens whatever else is sealed to
 * the slot's recipient, such as backups. */
enum seal_status MUST_USE seal_shares_create(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                             uint8_t threshold, uint8_t count,
                                             const uint8_t srk[SEAL_SRK_LEN], struct buf *out,
                                             struct shamir_share *shares);
/* SEAL_WRONG_SHARES: *cause, and *at for the share that it is about. */
enum seal_status MUST_USE seal_shares_open(struct mbed_rng *rng, struct span slot, uint16_t shard,
                                           const struct shamir_share *shares, size_t given,
                                           uint8_t srk[SEAL_SRK_LEN], enum shamir_status *cause, size_t *at);

/* Devices are asked through ww-seal, a child of one request each: no library of theirs is ever in this
 * process.  Both calls block until it has answered.  err: what went wrong and what to do, for SEAL_DEVICE,
 * SEAL_BAD_PIN and every other failure.  The device seals a key of the slot's own, which seals srk: neither it nor the child
 * has srk. */
struct seal_pkcs11 {
    const char *module; /* absolute path; it and its folder belong to root and are writable by nobody else */
    const char *token;  /* the token's label */
    const char *key;    /* the label of an AES key on it, which nothing else there has */
    const char *pin;    /* the file that holds the PIN, or credential:NAME; read by the child */
    bool gcm;           /* CKM_AES_GCM instead of CKM_AES_KEY_WRAP */
};

enum seal_status MUST_USE seal_pkcs11_create(struct mbed_rng *rng, const struct seal_device *d,
                                             uint8_t number, uint16_t shard, const struct seal_pkcs11 *p,
                                             const uint8_t srk[SEAL_SRK_LEN], struct buf *out, char *err,
                                             size_t err_cap);

struct seal_tpm2 {
    const char *tcti; /* "device:/dev/tpmrm0", "tabrmd:", "swtpm:host=127.0.0.1,port=2321" */
    uint32_t pcrs; /* bit n: PCR n of the SHA-256 bank, 0..23, must be what it is now; 0: whatever they are */
};

/* A slot that this machine's TPM opens, and no other: never the only one. */
enum seal_status MUST_USE seal_tpm2_create(struct mbed_rng *rng, const struct seal_device *d, uint8_t number,
                                           uint16_t shard, const struct seal_tpm2 *t,
                                           const uint8_t srk[SEAL_SRK_LEN], struct buf *out, char *err,
                                           size_t err_cap);
/* Opens a slot of kind pkcs11 or tpm2. */
enum seal_status MUST_USE seal_device_open(const struct seal_device *d, struct span slot, uint16_t shard,
                                           uint8_t srk[SEAL_SRK_LEN], char *err, size_t err_cap);
/* Root rotation: the same slot of the same device for another srk. */
enum seal_status MUST_USE seal_device_rewrap(struct mbed_rng *rng, const struct seal_device *d,
                                             struct span slot, const uint8_t srk[SEAL_SRK_LEN],
                                             struct buf *out, char *err, size_t err_cap);

/* Root rotation: the same slot, of kind age or shares, for another srk.  Its holders need not be there. */
enum seal_status MUST_USE seal_slot_rewrap(struct mbed_rng *rng, struct span slot,
                                           const uint8_t srk[SEAL_SRK_LEN], struct buf *out);

/* An age identity file, as `age-keygen` writes it.  name as in seal_passphrase_read. */
bool MUST_USE seal_identity_read(const char *name, uint8_t identity[AGE_KEY_LEN], char *err, size_t err_cap);

/* "wrong passphrase" ...: a few words for an error text. */
const char *seal_status_text(enum seal_status s);

#endif
