/* TLS 1.2 with client certificates for the remote admin door: bytes in, bytes out, no socket (mbedTLS 2.28).
 *
 * ECDHE-ECDSA with AES-GCM, P-256 and P-384, SHA-256 and SHA-384, nothing else (RFC 5289, RFC 6460).  The handshake
 * asks for a client certificate and finishes with a bad one, too, so that the client is told in words why it is turned
 * away; nothing it says is taken then. */
#ifndef CTRL_ADMIN_ADMIN_TLS_H
#define CTRL_ADMIN_ADMIN_TLS_H

#include "ctrl/lib/refusal.h"
#include "drivers/crypto/mbedtls/mbed.h"

struct admin_tls; /* certificate, key and the authority of clients; counted references */
struct admin_tls *MUST_USE admin_tls_open(const char *certificate_file, const char *key_file,
                                          const char *client_ca_file, struct mbed_rng *rng,
                                          struct refusal *why);
struct admin_tls *admin_tls_ref(struct admin_tls *t);
void admin_tls_unref(struct admin_tls *t);

struct admin_session;
struct admin_session *MUST_USE admin_session_new(struct admin_tls *t); /* NULL: out of memory */
void admin_session_free(struct admin_session *s);

/* Where the next received bytes go, and how many fit; then how many came. */
uint8_t *admin_session_room(struct admin_session *s, size_t *len);
void admin_session_received(struct admin_session *s, size_t len);

enum admin_session_status {
    ADMIN_SESSION_DATA, /* *len bytes of a request */
    ADMIN_SESSION_MORE, /* nothing until more is received */
    ADMIN_SESSION_DEAD, /* closed by the peer, or not TLS of ours */
};
/* Goes on with the handshake, then gives what the client says. */
enum admin_session_status MUST_USE admin_session_read(struct admin_session *s, uint8_t *out, size_t cap,
                                                      size_t *len);
bool admin_session_shaken(const struct admin_session *s);
/* false: the session is dead. */
bool MUST_USE admin_session_write(struct admin_session *s, struct span text);
/* What is to be sent: a malloc'd buffer, the caller's from now on; NULL: nothing. */
char *admin_session_take(struct admin_session *s, size_t *len);

enum admin_client { CLIENT_GOOD, CLIENT_NONE, CLIENT_EXPIRED, CLIENT_UNTRUSTED };
/* Once shaken.  name: the CN, 64 bytes; empty unless GOOD. */
enum admin_client admin_session_client(const struct admin_session *s, char name[64], struct refusal *why);

#endif
