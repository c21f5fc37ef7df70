/* What ww-ctrl and ww-dataplane ask of ww-seal, over a socketpair: one request, one reply, and the child is gone.
 *
 *     request   length u32 | version u8 = 1 | operation u8 | kind u8 | 0 u8 | params u16 + n | data u16 + n
 *     reply     length u32 | version u8 = 1 | status u8 | data u16 + n | text u16 + n
 *
 * Big-endian; length counts all after itself.  Seal: the payload is a 32-byte secret, the answer what the
 * device made of it.  Open: the reverse.  The secret is not the root key but the key of one slot, made for it
 * (docs/WIRE.md, 4), or a warm key (8).  text: for a person, never with a secret in it. */
#ifndef DRIVERS_SEAL_DEVICE_WIRE_H
#define DRIVERS_SEAL_DEVICE_WIRE_H

#include "base/cursor.h"

#define DEVICE_FD          3 /* where ww-seal finds its end of the socketpair */
#define DEVICE_SECRET_LEN  32
#define DEVICE_PARAMS_MAX  768
#define DEVICE_BLOB_MAX    768
#define DEVICE_TEXT_MAX    512
#define DEVICE_MESSAGE_MAX (4 + 4 + 2 + DEVICE_PARAMS_MAX + 2 + DEVICE_BLOB_MAX + 2 + DEVICE_TEXT_MAX)

enum device_operation { DEVICE_SEAL = 1, DEVICE_OPEN = 2 };

enum device_status {
    DEVICE_OK = 0,
    DEVICE_BAD_REQUEST = 1, /* the request or the parameters do not parse */
    DEVICE_NO_DEVICE = 2,   /* the module, the token or the TPM is not to be had */
    DEVICE_BAD_PIN = 3,     /* the token refused the PIN: each try may count */
    DEVICE_NO_KEY = 4,      /* the token has no such key, or more than one */
    DEVICE_REFUSED = 5,     /* another key or another TPM made this, or it was altered */
    DEVICE_POLICY = 6,      /* the TPM's PCRs are not what they were */
    DEVICE_FAILED = 7,      /* anything else: text has the device's own code */
    DEVICE_NO_PIN = 8,      /* the PIN cannot be read: the token was not asked */
    DEVICE_STATUS_COUNT,
    /* not of the child but of asking it */
    DEVICE_NO_PROGRAM, /* it does not start */
    DEVICE_NO_ANSWER,  /* silent for too long, gone, or not understood */
};

/* What the messages and files call them. */
enum device_kind { DEVICE_KIND_PKCS11 = 4, DEVICE_KIND_TPM2 = 5 };

/* Kind pkcs11.  Views into the parameters. */
enum device_mechanism { DEVICE_AES_KEY_WRAP = 1, DEVICE_AES_GCM = 2 };

struct device_pkcs11 {
    uint8_t mechanism;  /* enum device_mechanism */
    struct span module; /* absolute path of the shared object, 1..255 bytes */
    struct span token;  /* label, 1..32 */
    struct span key;    /* label of an AES key, 1..64 */
    struct span pin;    /* where the PIN is read from: a path or credential:NAME, 1..255 */
};

/* Kind tpm2. */
struct device_tpm2 {
    uint32_t pcrs;    /* bit n: PCR n of the SHA-256 bank, 0..23; 0: none */
    struct span tcti; /* "device:/dev/tpmrm0", "swtpm:host=...,port=...", 1..255 bytes */
};

struct device_request {
    uint8_t operation; /* enum device_operation */
    uint8_t kind;      /* enum device_kind */
    struct span params, payload;
};

struct device_reply {
    uint8_t status; /* enum device_status */
    struct span payload, text;
};

/* Texts without a NUL among their bytes; false on anything out of its range, and on a byte left over. */
bool MUST_USE device_pkcs11_parse(struct span params, struct device_pkcs11 *out);
bool MUST_USE device_tpm2_parse(struct span params, struct device_tpm2 *out);
void device_pkcs11_write(struct writer *w, const struct device_pkcs11 *p);
void device_tpm2_write(struct writer *w, const struct device_tpm2 *p);

/* body: a message without its length. */
bool MUST_USE device_request_parse(struct span body, struct device_request *out);
bool MUST_USE device_reply_parse(struct span body, struct device_reply *out);
/* out: DEVICE_MESSAGE_MAX bytes, in locked pages where the payload is secret; returns the length. */
size_t device_request_write(const struct device_request *r, uint8_t *out);
size_t device_reply_write(const struct device_reply *r, uint8_t *out);

/* A warm key as it rests in a file, sealed by a TPM (docs/WIRE.md, 8); views into it. */
#define DEVICE_SEALED_MAX (4 + 2 + DEVICE_PARAMS_MAX + 2 + DEVICE_BLOB_MAX)
struct device_sealed {
    struct span params, blob;
};
bool MUST_USE device_sealed_parse(struct span file, struct device_sealed *out);
void device_sealed_write(struct writer *w, const struct device_sealed *s);

/* Blocking.  false: the other side is gone, is silent beyond the socket's timeout, or lies about a length. */
bool MUST_USE device_send(int fd, struct span message);
bool MUST_USE device_receive(int fd, uint8_t *out, struct span *body);

#endif
