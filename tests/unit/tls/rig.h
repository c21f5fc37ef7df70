/* A server connection of ours and an OpenSSL client, joined by two pipes in memory. */
#ifndef TESTS_UNIT_TLS_RIG_H
#define TESTS_UNIT_TLS_RIG_H

#include "dataplane/tls/tls.h"
#include "tests/lib/identity.h"

#include <openssl/ssl.h>

#define PIPE_CAP (256 * 1024)

struct pipe {
    uint8_t bytes[PIPE_CAP];
    size_t at, end;
    size_t room; /* how many more bytes it takes */
    size_t view; /* how many bytes a peek shows at most */
};

struct pair {
    struct pipe in, out; /* of the server */
    struct tls_conn *server;
    SSL *client;
    void (*looks)(void); /* NULL, or called when the server looks for bytes */
};

bool publish(struct tls_worker *w, const struct identity_pem *id);

/* A worker with a P-256 (or RSA-2048) certificate; counters are zero. */
struct tls_worker *worker_with(const char *kind);
struct counters *rig_counters(void);
uint64_t counted(enum reason r);
uint64_t counted_failures(void); /* all tls reasons that end a connection */

SSL_CTX *client_ctx(int min_version, int max_version);

struct pair *pair_new(struct tls_worker *w, SSL_CTX *client);
void pair_free(struct pair *p);
/* A server connection only; the test writes p->in itself. */
struct pair *server_alone(struct tls_worker *w);
void feed(struct pipe *p, const void *data, size_t len);

/* Bytes both ways until neither end moves. */
void client_step(struct pair *p, size_t most); /* moves up to `most` bytes from client to server */
enum tls_status server_step(struct pair *p);   /* all slices that its bytes allow */
void client_drain(struct pair *p);             /* everything from the server to the client */
enum tls_status handshake(struct pair *p); /* TLS_OK when both ends are done, else the server's last status */
/* The alert number that the client received as fatal, or that was the first seen; -1 = none. */
int alert_at_client(struct pair *p);
int alert_in_clear(const struct pipe *p); /* the first record in the pipe is a plaintext alert */
void client_send(struct pair *p, const void *data, size_t len); /* encrypts and delivers */
size_t client_receive(struct pair *p, void *buf, size_t cap);
struct pair *connected(struct tls_worker *w, int version);

#endif
