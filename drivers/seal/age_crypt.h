/* The keys inside an age file.  For age_stream.c and its tests. */
#ifndef DRIVERS_SEAL_AGE_CRYPT_H
#define DRIVERS_SEAL_AGE_CRYPT_H

#include "drivers/seal/age.h"

#define AGE_FILE_KEY_LEN 16
#define AGE_NONCE_LEN    16
#define AGE_TAG_LEN      16

/* The stanza that holds file_key for a recipient.  false: a recipient of small order. */
bool MUST_USE age_stanza_seal(struct mbed_rng *rng, const struct age_recipient *r,
                              const uint8_t file_key[AGE_FILE_KEY_LEN], struct age_stanza *out);
bool MUST_USE age_stanza_open(struct mbed_rng *rng, const uint8_t identity[AGE_KEY_LEN],
                              const struct age_stanza *s, uint8_t file_key[AGE_FILE_KEY_LEN]);

void age_header_mac(const uint8_t file_key[AGE_FILE_KEY_LEN], struct span covered, uint8_t out[32]);
void age_payload_key(const uint8_t file_key[AGE_FILE_KEY_LEN], const uint8_t nonce[AGE_NONCE_LEN],
                     uint8_t out[32]);

/* One chunk of STREAM: nonce = number, 11 bytes, and one byte that says whether it is the last. */
void age_chunk_seal(const uint8_t key[32], uint64_t number, bool last, struct span plain, uint8_t *out);
bool MUST_USE age_chunk_open(const uint8_t key[32], uint64_t number, bool last, struct span sealed,
                             uint8_t *out);

#endif
