/* What is asked, and what must come back: chooses key, operation and token of each request, writes it, and judges the
 * reply.  Knows nothing of connections or time.
 *
 * Every unwrap is of a blob that this run wrapped before and must give back its plaintext.  A bad token must be
 * answered 401.  Repeatable from its seed. */
#ifndef BENCH_LOAD_PLAN_H
#define BENCH_LOAD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_REQUEST_MAX 16384
#define PLAN_BLOB_MAX    1024 /* characters of base64 */

enum plan_op { PLAN_WRAP, PLAN_UNWRAP, PLAN_BAD_TOKEN, PLAN_STATIC };

struct plan_config {
    const char *host;
    const char *key; /* path without leading slash; one %u in it is replaced by 0..key_count-1 */
    uint32_t key_count;
    double zipf;            /* exponent of the keys' popularity; 0 = uniform */
    double unwrap_share;    /* of the requests, 0..1 */
    double bad_token_share; /* 0..1 */
    char **tokens;          /* used in turn */
    size_t token_count;
    uint32_t plaintext_len; /* bytes; 3..510 */
    bool
        static_reply; /* the server answers anything with 200: the same requests, only status and length are checked */
    uint64_t seed;
};

/* What a connection remembers of the request that it waits for. */
struct plan_request {
    enum plan_op op;
    uint32_t key;
    uint32_t blob;      /* PLAN_UNWRAP: which */
    uint64_t plaintext; /* number that the plaintext is made of */
};

struct plan;

/* NULL with a line on stderr when the configuration is impossible. */
struct plan *plan_new(const struct plan_config *c);
void plan_free(struct plan *p);

/* The next request, written to out (PLAN_REQUEST_MAX bytes); returns its length.  last: asks the server to close after it. */
size_t plan_write(struct plan *p, struct plan_request *rq, bool last, char *out);
/* true when status and body are what rq must be answered with. */
bool plan_judge(struct plan *p, const struct plan_request *rq, unsigned int status, const char *body,
                size_t len);

#endif
