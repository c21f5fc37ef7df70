/* tls: one request's record in, one reply's out; a full handshake's server half.  The client is OpenSSL, and is not measured. */
#include "base/check.h"
#include "base/log.h"
#include "bench/micro/micro.h"
#include "tests/unit/tls/rig.h"

#include <string.h>

#define REQUEST 1350
#define REPLY   350

static struct tls_worker *worker;
static SSL_CTX *ctx;
static struct pair *pair, *young;

static void request_comes(void *arg)
{
    static const uint8_t request[REQUEST];
    (void)arg;

    pair->out.room = PIPE_CAP;
    pair->out.at = pair->out.end = 0; /* nobody reads the replies: the sequence numbers go on all the same */
    client_send(pair, request, sizeof request);
}

static void serve_once(void *arg)
{
    static uint8_t in[4096];
    static const uint8_t reply[REPLY];
    size_t len = 0;
    (void)arg;

    CHECK(tls_read(pair->server, in, sizeof in, &len) == TLS_OK && len == REQUEST);
    CHECK(tls_write(pair->server, span_of(reply, sizeof reply), &len) == TLS_OK && len == REPLY);
}

static void hello_comes(void *arg)
{
    (void)arg;
    if (young != NULL)
        pair_free(young);
    young = pair_new(worker, ctx);
    (void)SSL_connect(young->client);
    client_step(young, SIZE_MAX);
}

static void answer_once(void *arg)
{
    (void)arg;
    CHECK(server_step(young) == TLS_WANT_READ);
}

static void finished_comes(void *arg)
{
    hello_comes(arg);
    answer_once(arg);
    client_drain(young);
    (void)SSL_connect(young->client);
    client_step(young, SIZE_MAX);
}

static void finish_once(void *arg)
{
    (void)arg;
    CHECK(server_step(young) == TLS_OK);
}

int main(int argc, char **argv)
{
    struct micro list[] = {
        {"1350 bytes in, 350 out", serve_once, request_comes, NULL},
        {"handshake: hello to Finished", answer_once, hello_comes, NULL},
        {"handshake: the client's Finished, and a ticket", finish_once, finished_comes, NULL},
    };

    log_set_level(LOG_ERROR);
    worker = worker_with("P-256");
    ctx = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
    pair = connected(worker, TLS1_3_VERSION);
    int rc = micro_main(argc, argv, list, sizeof list / sizeof list[0]);
    pair_free(young);
    pair_free(pair);
    SSL_CTX_free(ctx);
    tls_worker_free(worker);
    return rc;
}
