/* The client's half of a full TLS 1.3 handshake at a thirtieth of its cost, and of the one request after it: for connections that are
 * made beside a load, by the same thread, whose steps must be short.
 *
 * The server does all of its half: X25519, certificate, signature, Finished, tickets.  The client leaves out what is its own affair: its
 * private key is 1, so that its public key is the base point and the shared secret is what the server sent; it looks at no certificate and
 * checks no signature.  It does check the server's Finished, and every record's tag: what comes from another transcript is refused.
 * It keeps nothing secret.  Not for anything but measuring.
 *
 * Bytes in, bytes out: what came is appended to `in`, thin_take looks at it, what is in `out` is to be sent. */
#ifndef BENCH_LOAD_THIN_H
#define BENCH_LOAD_THIN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THIN_IN_MAX     8192 /* a record is no longer */
#define THIN_OUT_MAX    8192
#define THIN_FLIGHT_MAX 8192 /* ServerHello to Finished */
#define THIN_HELLO_MAX  1024
#define THIN_HASH       48
#define THIN_RANDOM     32

/* What all connections share: the ClientHello that OpenSSL sends with the settings of `tls`, and where in it is what differs. */
struct thin_kind {
    uint8_t hello[THIN_HELLO_MAX]; /* a record */
    size_t hello_len, random_at, session_id_at;
    int session_id_len;
    EVP_MD *sha384;
    EVP_MD_CTX *hash;
    EVP_CIPHER *gcm;
    EVP_CIPHER_CTX *cipher;
    uint8_t early[THIN_HASH]; /* the secret from which the handshake's is made */
};

enum thin_state {
    THIN_HELLO, /* waits for ServerHello */
    THIN_FLIGHT,
    THIN_OPEN,  /* the handshake is complete: a request may be sealed, and replies come */
    THIN_ENDED, /* the server said goodbye */
    THIN_BROKEN
};

struct thin_keys {
    uint8_t key[32], iv[12];
    uint64_t records;
};

struct thin {
    struct thin_kind *kind;
    enum thin_state state;
    uint8_t in[THIN_IN_MAX], out[THIN_OUT_MAX];
    size_t in_len, out_len;
    uint8_t flight[THIN_HELLO_MAX + THIN_FLIGHT_MAX]; /* the transcript: ClientHello, what the server said */
    size_t flight_len, flight_at;                     /* ... looked at so far */
    uint8_t server_secret[THIN_HASH], client_secret[THIN_HASH], handshake[THIN_HASH];
    struct thin_keys from, to;
};

/* false with a line on stderr. */
bool thin_kind_new(struct thin_kind *k, SSL_CTX *tls, const char *host);
void thin_kind_free(struct thin_kind *k);

/* The ClientHello is in `out`. */
void thin_begin(struct thin *t, struct thin_kind *k);
/* What came in is taken, record by record; what the server said once all is open goes to reply (at most cap bytes of it, in whole records),
 * its length is returned. */
size_t thin_take(struct thin *t, char *reply, size_t cap);
/* false: no room in `out`. */
bool thin_ask(struct thin *t, const char *request, size_t len);
/* The goodbye is in `out`, where one can be said. */
bool thin_bye(struct thin *t);

#endif
