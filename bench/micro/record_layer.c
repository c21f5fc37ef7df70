/* record-layer [--count N] [CONNECTIONS...]: what TLS 1.3's record layer costs in OpenSSL, and what it costs as bare AES-256-GCM: one request's
 * record opened, one reply's sealed, on each of so many connections in turn (docs/decisions/0008).
 *
 *   openssl  SSL_read and SSL_write with the settings of dataplane/tls, which take and give back their buffers with each
 *   evp      the same records by EVP with a keyed context for each direction (RFC 8446 5.2: nonce, additional data, inner content type)
 *   mb       by libipsec-mb with expanded keys for each direction
 *
 * Each line: ns, the least of several rounds' medians; bytes of memory a connection.  With --count, N records are opened and sealed on each way between
 * callgrind's marks, for instructions.  The client that seals what is opened is prepared outside of what is measured. */
#include "base/check.h"
#include "base/log.h"
#include "tests/unit/tls/rig.h"

#include <intel-ipsec-mb.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#define REQUEST   1350
#define REPLY     350
#define HEAD      5
#define TAG       16
#define IV        12
#define KEY       32
#define ROUNDS    7
#define STEPS_MIN 20000 /* of a round */

enum way { OPENSSL, BY_EVP, BY_MB, WAYS };
static const char *const way_names[WAYS] = {"openssl", "evp", "mb"};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f != NULL && fscanf(f, "%lu %lu", &size, &pages) == 2);
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- bare records ---- */

struct half {
    uint64_t sequence;
    uint8_t iv[IV];
    EVP_CIPHER_CTX *evp;
    struct gcm_key_data *mb;
};

struct bare {
    struct half in, out;
    uint8_t key[KEY];
};

static IMB_MGR *mgr;
static struct gcm_context_data mb_ctx;

static void nonce_of(const struct half *h, uint8_t nonce[IV])
{
    memcpy(nonce, h->iv, IV);
    for (int i = 0; i < 8; i++)
        nonce[IV - 1 - i] ^= (uint8_t)(h->sequence >> 8 * i);
}

static void head_of(uint8_t head[HEAD], size_t len)
{
    const uint8_t bytes[HEAD] = {23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};

    memcpy(head, bytes, HEAD);
}

/* record: HEAD, then plaintext and its content type sealed, then TAG. */
static void seal(struct half *h, enum way way, const uint8_t *plain, size_t len, uint8_t *record)
{
    uint8_t nonce[IV];
    int n;

    nonce_of(h, nonce);
    head_of(record, len + 1 + TAG);
    memcpy(record + HEAD, plain, len);
    record[HEAD + len] = 23;
    if (way == BY_EVP) {
        CHECK(EVP_EncryptInit_ex2(h->evp, NULL, NULL, nonce, NULL) == 1 &&
              EVP_EncryptUpdate(h->evp, NULL, &n, record, HEAD) == 1 &&
              EVP_EncryptUpdate(h->evp, record + HEAD, &n, record + HEAD, (int)len + 1) == 1 &&
              EVP_EncryptFinal_ex(h->evp, record + HEAD, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(h->evp, EVP_CTRL_AEAD_GET_TAG, TAG, record + HEAD + len + 1) == 1);
    } else {
        IMB_AES256_GCM_ENC(mgr, h->mb, &mb_ctx, record + HEAD, record + HEAD, len + 1, nonce, record, HEAD,
                           record + HEAD + len + 1, TAG);
    }
    h->sequence++;
}

static size_t open_record(struct half *h, enum way way, uint8_t *record, size_t sealed)
{
    uint8_t nonce[IV], tag[TAG];
    size_t len = sealed - TAG;
    int n;

    nonce_of(h, nonce);
    if (way == BY_EVP) {
        CHECK(EVP_DecryptInit_ex2(h->evp, NULL, NULL, nonce, NULL) == 1 &&
              EVP_DecryptUpdate(h->evp, NULL, &n, record, HEAD) == 1 &&
              EVP_DecryptUpdate(h->evp, record + HEAD, &n, record + HEAD, (int)len) == 1 &&
              EVP_CIPHER_CTX_ctrl(h->evp, EVP_CTRL_AEAD_SET_TAG, TAG, record + HEAD + len) == 1 &&
              EVP_DecryptFinal_ex(h->evp, record + HEAD, &n) == 1);
    } else {
        IMB_AES256_GCM_DEC(mgr, h->mb, &mb_ctx, record + HEAD, record + HEAD, len, nonce, record, HEAD, tag,
                           TAG);
        CHECK(memcmp(tag, record + HEAD + len, TAG) == 0);
    }
    h->sequence++;
    while (len > 0 && record[HEAD + len - 1] == 0)
        len--;
    CHECK(len > 0 && record[HEAD + len - 1] == 23);
    return len - 1;
}

static void half_make(struct half *h, enum way way, const uint8_t key[KEY], bool sealing)
{
    if (way == BY_EVP) {
        h->evp = EVP_CIPHER_CTX_new();
        CHECK(h->evp != NULL && EVP_CipherInit_ex2(h->evp, EVP_aes_256_gcm(), key, NULL, sealing, NULL) == 1);
    } else {
        h->mb = aligned_alloc(64, (sizeof *h->mb + 63) / 64 * 64);
        CHECK(h->mb != NULL);
        IMB_AES256_GCM_PRE(mgr, key, h->mb);
    }
}

static void half_free(struct half *h)
{
    EVP_CIPHER_CTX_free(h->evp);
    free(h->mb);
}

/* ---- both kinds ---- */

struct conns {
    enum way way;
    size_t count;
    struct bare *bare;
    struct bare *clients; /* apart from it, so that preparing warms nothing of the server's */
    struct tls_worker *worker;
    SSL_CTX *client_ctx;
    struct pair **pairs;
    uint64_t bytes_each;
};

static uint8_t request[REQUEST], reply[REPLY], record[HEAD + REQUEST + 1 + TAG], out[HEAD + REPLY + 1 + TAG];

/* What the client would send on connection i next: sealed with its own state, which is the server's, one record later. */
static void prepare(struct conns *c, size_t i)
{
    if (c->way == OPENSSL) {
        struct pair *p = c->pairs[i];
        p->out.room = PIPE_CAP;
        p->out.at = p->out.end = 0;
        client_send(p, request, sizeof request);
        return;
    }
    struct half *client = &c->clients[i].out;
    static EVP_CIPHER_CTX *evp;
    static struct gcm_key_data *mb;
    if (c->way == BY_EVP && evp == NULL)
        evp = EVP_CIPHER_CTX_new();
    if (c->way == BY_EVP)
        CHECK(EVP_EncryptInit_ex2(evp, EVP_aes_256_gcm(), c->clients[i].key, NULL, NULL) == 1);
    if (c->way == BY_MB && mb == NULL)
        mb = aligned_alloc(64, (sizeof *mb + 63) / 64 * 64);
    if (c->way == BY_MB)
        IMB_AES256_GCM_PRE(mgr, c->clients[i].key, mb);
    client->evp = evp;
    client->mb = mb;
    seal(client, c->way, request, sizeof request, record);
}

static void step(struct conns *c, size_t i)
{
    static uint8_t in[4096];
    size_t len = 0;

    if (c->way != OPENSSL) {
        CHECK(open_record(&c->bare[i].in, c->way, record, sizeof record - HEAD) == REQUEST);
        seal(&c->bare[i].out, c->way, reply, sizeof reply, out);
        return;
    }
    struct tls_conn *t = c->pairs[i]->server;
    /* As the worker does. */
    __builtin_prefetch(c->pairs[(i + 2) % c->count]->server);
    tls_prefetch(c->pairs[(i + 1) % c->count]->server);
    CHECK(tls_read(t, in, sizeof in, &len) == TLS_OK && len == REQUEST);
    CHECK(tls_write(t, span_of(reply, sizeof reply), &len) == TLS_OK && len == REPLY);
}

static void conns_open(struct conns *c, enum way way, size_t count)
{
    *c = (struct conns){.way = way, .count = count};
    if (way == OPENSSL) {
        c->worker = worker_with("P-256");
        c->client_ctx = client_ctx(TLS1_3_VERSION, TLS1_3_VERSION);
        CHECK(SSL_CTX_set_ciphersuites(c->client_ctx, "TLS_AES_256_GCM_SHA384") == 1);
        c->pairs = calloc(count, sizeof(void *));
        CHECK(c->pairs != NULL);
        for (size_t i = 0; i < count; i++) {
            c->pairs[i] = pair_new(c->worker, c->client_ctx);
            CHECK(handshake(c->pairs[i]) == TLS_OK);
        }
        return;
    }
    uint64_t before = resident();
    c->bare = calloc(count, sizeof *c->bare);
    c->clients = calloc(count, sizeof *c->clients);
    CHECK(c->bare != NULL && c->clients != NULL);
    for (size_t i = 0; i < count; i++) {
        memcpy(c->bare[i].key, &i, sizeof i);
        memcpy(c->clients[i].key, &i, sizeof i);
        half_make(&c->bare[i].in, way, c->bare[i].key, false);
        half_make(&c->bare[i].out, way, c->bare[i].key, true);
    }
    c->bytes_each = (resident() - before) / count;
}

static void conns_close(struct conns *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->way == OPENSSL) {
            pair_free(c->pairs[i]);
            continue;
        }
        half_free(&c->bare[i].in);
        half_free(&c->bare[i].out);
    }
    free(c->pairs);
    free(c->bare);
    free(c->clients);
    SSL_CTX_free(c->client_ctx);
    tls_worker_free(c->worker);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The median, so that what else runs on the core does not count. */
static double round_ns(struct conns *c, size_t steps)
{
    uint64_t *took = calloc(steps, sizeof *took);

    CHECK(took != NULL);
    for (size_t s = 0; s < steps; s++) {
        size_t i = s * 7919 % c->count;
        prepare(c, i);
        uint64_t began = now_ns();
        step(c, i);
        took[s] = now_ns() - began;
    }
    qsort(took, steps, sizeof *took, by_size);
    double ns = (double)took[steps / 2];
    free(took);
    return ns;
}

static void measure(size_t count)
{
    double least[WAYS] = {1e18, 1e18, 1e18};
    struct conns c[WAYS];
    size_t steps = count < STEPS_MIN ? STEPS_MIN : count;

    for (enum way w = 0; w < WAYS; w++)
        conns_open(&c[w], w, count);
    for (int r = 0; r < ROUNDS; r++) {
        for (enum way w = 0; w < WAYS; w++) {
            double ns = round_ns(&c[w], steps);
            least[w] = ns < least[w] ? ns : least[w];
        }
    }
    for (enum way w = 0; w < WAYS; w++) {
        printf("{\"connections\": %zu, \"way\": \"%s\", \"ns\": %.0f, \"of_openssl\": %.3f", count,
               way_names[w], least[w], least[w] / least[OPENSSL]);
        if (w != OPENSSL && count >= 1000)
            printf(", \"bytes_each\": %llu", (unsigned long long)c[w].bytes_each);
        puts("}");
        conns_close(&c[w]);
    }
}

static void count_one(enum way way, long n)
{
    struct conns c;

    conns_open(&c, way, 1);
    for (int i = 0; i < 20; i++) {
        prepare(&c, 0);
        step(&c, 0);
    }
    CALLGRIND_ZERO_STATS;
    for (long i = 0; i < n; i++) {
        prepare(&c, 0);
        CALLGRIND_TOGGLE_COLLECT;
        step(&c, 0);
        CALLGRIND_TOGGLE_COLLECT;
    }
    CALLGRIND_DUMP_STATS_AT(way_names[way]);
    printf("{\"name\": \"%s\"}\n", way_names[way]);
    conns_close(&c);
}

int main(int argc, char **argv)
{
    bool counts = argc >= 3 && strcmp(argv[1], "--count") == 0;

    log_set_level(LOG_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0);
    mgr = alloc_mb_mgr(0);
    CHECK(mgr != NULL);
    init_mb_mgr_auto(mgr, NULL);
    for (enum way w = 0; counts && w < WAYS; w++)
        count_one(w, atol(argv[2]));
    for (int i = 1; !counts && i < argc; i++)
        measure(strtoul(argv[i], NULL, 10));
    free_mb_mgr(mgr);
    return 0;
}
