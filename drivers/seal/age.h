/* age v1 files with X25519 recipients, written and read: what the `age` program opens, and what it makes.
 *
 * A file is a header with one stanza per recipient, each holding the file key for that recipient, a MAC over
 * the header, and the payload in chunks of 64 KiB, each with its tag (STREAM).  Stanzas of other kinds are
 * passed over. Source: age-encryption.org/v1 (C2SP age.md); RFC 7748, 5869, 8439, 7468's base64 without
 * padding; BIP 173.
 *
 * Whoever holds an identity opens; sealing needs recipients only.  The writer and the reader take bytes of
 * any number at a time and give theirs to a sink; neither does I/O, and their memory does not grow with the
 * file. */
#ifndef DRIVERS_SEAL_AGE_H
#define DRIVERS_SEAL_AGE_H

#include "drivers/crypto/mbedtls/mbed.h"

#define AGE_KEY_LEN            32
#define AGE_RECIPIENTS_MAX     16
#define AGE_STANZAS_MAX        64
#define AGE_HEADER_MAX         (32 * 1024)
#define AGE_CHUNK              (64 * 1024)
#define AGE_RECIPIENT_TEXT_LEN 62 /* age1..., without the NUL */
#define AGE_IDENTITY_TEXT_LEN  74 /* AGE-SECRET-KEY-1..., without the NUL */
/* A whole file for n recipients and len bytes of payload. */
#define AGE_HEAD_LEN(n) (22 + (n)*98 + 48 + 16)
#define AGE_FILE_LEN(n, len)                                                                                 \
    (AGE_HEAD_LEN(n) + (len) + 16 * ((len) == 0 ? 1 : ((len) + AGE_CHUNK - 1) / AGE_CHUNK))

enum age_status {
    AGE_OK,
    AGE_MORE,        /* the header does not end within these bytes */
    AGE_BAD_KEY,     /* the text of a key is none, or the key is one that everybody could open */
    AGE_NOT_AGE,     /* the first line is not that of an age v1 file */
    AGE_BAD_HEADER,  /* the header does not parse, or has too many stanzas or bytes */
    AGE_NO_IDENTITY, /* the file is for other recipients */
    AGE_BAD_MAC,     /* the header was altered */
    AGE_BAD_PAYLOAD, /* a chunk was altered, or the last one is cut */
    AGE_TRUNCATED,   /* the file ends before its last chunk */
    AGE_NO_ROOM,     /* the caller's buffer, or its sink, takes no more */
    AGE_NO_MEMORY,   /* no locked memory */
};

/* A public key.  An identity is its 32-byte secret, in locked pages of the caller's. */
struct age_recipient {
    uint8_t u[AGE_KEY_LEN];
};

void age_identity_new(struct mbed_rng *rng, uint8_t identity[AGE_KEY_LEN]);
struct age_recipient age_recipient_of(struct mbed_rng *rng, const uint8_t identity[AGE_KEY_LEN]);

/* out: AGE_RECIPIENT_TEXT_LEN + 1, AGE_IDENTITY_TEXT_LEN + 1 bytes. */
void age_recipient_print(const struct age_recipient *r, char *out);
enum age_status MUST_USE age_recipient_parse(struct mbed_rng *rng, struct span text,
                                             struct age_recipient *out);
void age_identity_print(const uint8_t identity[AGE_KEY_LEN], char *out);
/* out: all zero unless AGE_OK. */
enum age_status MUST_USE age_identity_parse(struct span text, uint8_t out[AGE_KEY_LEN]);
/* The first identity of a file as `age-keygen` writes it: comment lines, then the key. */
enum age_status MUST_USE age_identity_find(struct span file, uint8_t out[AGE_KEY_LEN]);

/* What a header says; views die with its bytes. */
struct age_stanza {
    uint8_t share[AGE_KEY_LEN]; /* the ephemeral public key */
    uint8_t body[16 + 16];      /* the file key, sealed */
};

struct age_header {
    size_t len;          /* in bytes, with its last line's end */
    struct span covered; /* by the MAC */
    uint8_t mac[32];
    size_t stanza_count; /* of all kinds */
    size_t x25519_count;
    struct age_stanza x25519[AGE_STANZAS_MAX];
};

/* Pure.  AGE_OK, AGE_MORE, AGE_NOT_AGE or AGE_BAD_HEADER. */
enum age_status MUST_USE age_header_parse(struct span file, struct age_header *out);

/* Takes bytes, false when it cannot: the writer or reader then fails with AGE_NO_ROOM and stays failed. */
typedef bool (*age_sink)(void *ctx, struct span bytes);

/* The head is given to the sink before this returns.  NULL: *status says why. */
struct age_writer;
struct age_writer *MUST_USE age_writer_new(struct mbed_rng *rng, const struct age_recipient *recipients,
                                           size_t count, age_sink sink, void *ctx, enum age_status *status);
enum age_status MUST_USE age_writer_put(struct age_writer *w, struct span plain);
/* The last chunk.  Without it the file is no file: a reader says AGE_TRUNCATED. */
enum age_status MUST_USE age_writer_finish(struct age_writer *w);
void age_writer_free(struct age_writer *w);

/* identities: count of AGE_KEY_LEN bytes each, copied.  NULL: out of locked memory. */
struct age_reader;
struct age_reader *MUST_USE age_reader_new(struct mbed_rng *rng, const uint8_t (*identities)[AGE_KEY_LEN],
                                           size_t count, age_sink sink, void *ctx);
/* The sink gets only what was authenticated, in order; the first failure stays.  Until age_reader_finish says
 * AGE_OK what it got may be a beginning only. */
enum age_status MUST_USE age_reader_put(struct age_reader *r, struct span file);
enum age_status MUST_USE age_reader_finish(struct age_reader *r);
void age_reader_free(struct age_reader *r);

/* The same for small things.  out: appended to; wiped and as before unless AGE_OK. */
enum age_status MUST_USE age_encrypt(struct mbed_rng *rng, const struct age_recipient *recipients,
                                     size_t count, struct span plain, struct buf *out);
enum age_status MUST_USE age_decrypt(struct mbed_rng *rng, const uint8_t identity[AGE_KEY_LEN],
                                     struct span file, struct buf *out);

/* "the file is for other recipients" ...: a few words for an error text. */
const char *age_status_text(enum age_status s);

#endif
