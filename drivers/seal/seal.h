/* Root-of-trust slots: each one, opened, yields the shard root key (SRK).  Any one slot is enough.
 *
 * A slot is a self-describing record that the store keeps in the clear.  First kind: a passphrase, stretched by
 * Argon2id.  Layout, all integers big-endian (docs/WIRE.md, "Root slots"):
 *
 *     version u8 = 1 | kind u8 | number u8 | 0 u8 | shard u16 | argon2 memory KiB u32 | passes u32 | lanes u8
 *     | salt 16 | nonce 12 | AES-256-GCM(stretched, SRK; aad = all before the nonce) 32+16 | sum 8
 *
 * sum = first bytes of SHA-256 over all before it: it is no protection, it tells a damaged slot from a wrong
 * passphrase.  Cost: one Argon2id pass set as the slot says; blocks the caller for that long. */
#ifndef DRIVERS_SEAL_SEAL_H
#define DRIVERS_SEAL_SEAL_H

#include "base/span.h"
#include "drivers/crypto/mbedtls/mbed.h"

#define SEAL_SRK_LEN        32
#define SEAL_SLOT_LEN       (15 + 16 + 12 + SEAL_SRK_LEN + 16 + 8)
#define SEAL_PASSPHRASE_MAX 1024
#define SEAL_PASSPHRASE_MIN 8

/* Bounds on what a slot may ask for: a damaged or forged one must not eat the machine. */
#define SEAL_MEMORY_KIB_MIN 64
#define SEAL_MEMORY_KIB_MAX (4u * 1024 * 1024)
#define SEAL_PASSES_MAX     64

enum seal_kind { SEAL_KIND_PASSPHRASE = 1 };

enum seal_status {
    SEAL_OK,
    SEAL_CORRUPT,          /* length, sum, version or a parameter out of bounds */
    SEAL_UNKNOWN_KIND,     /* sound, but of a kind that this build does not open */
    SEAL_WRONG_SHARD,      /* sound, but of another shard */
    SEAL_WRONG_PASSPHRASE, /* sound, and the passphrase does not open it */
    SEAL_NO_MEMORY,        /* Argon2id could not have its memory */
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
    struct seal_cost cost;
};

enum seal_status MUST_USE seal_slot_info(struct span slot, struct seal_slot_info *out);

/* A new passphrase slot for srk; out gets SEAL_SLOT_LEN bytes. */
enum seal_status MUST_USE seal_passphrase_create(struct mbed_rng *rng, uint8_t number, uint16_t shard,
                                                 struct seal_cost cost, struct span passphrase,
                                                 const uint8_t srk[SEAL_SRK_LEN], uint8_t out[SEAL_SLOT_LEN]);
/* srk: SEAL_SRK_LEN bytes, in locked pages of the caller's; all zero unless SEAL_OK. */
enum seal_status MUST_USE seal_passphrase_open(struct span slot, uint16_t shard, struct span passphrase,
                                               uint8_t srk[SEAL_SRK_LEN]);

/* Reads a passphrase from a file: its first line, without the line end.  name is a path, or "credential:NAME"
 * for a systemd credential ($CREDENTIALS_DIRECTORY/NAME).  out: SEAL_PASSPHRASE_MAX bytes of locked pages of the
 * caller's.  false: err says which file, why, and what to do. */
bool MUST_USE seal_passphrase_read(const char *name, uint8_t *out, size_t *len, char *err, size_t err_cap);

/* "wrong passphrase" ...: a few words for an error text. */
const char *seal_status_text(enum seal_status s);

#endif
