/* The whole dataplane in one thread under a virtual clock: the real worker over drivers/nic/sim, the real housekeeper over a real
 * ctl socket with the test as its ctrl, and TLS clients (OpenSSL) over the independent TCP of peer.h.
 *
 *     struct rig *r = rig_new(&options);
 *     struct client *c = client_open(r, false);
 *     client_post(c, "v0/a:wrap", "{...}");
 *     rig_until(r, replied, c);
 *     assert_int_equal(c->status, 200);
 *     rig_free(r);                       checks: no connection, buffer or frame is left
 *
 * Certificates and token keys are made at run time. */
#ifndef TESTS_SIM_WORKER_RIG_H
#define TESTS_SIM_WORKER_RIG_H

#include "base/ctl_wire.h"
#include "dataplane/ctl.h"
#include "dataplane/worker.h"
#include "drivers/nic/sim/sim.h"
#include "tests/sim/peer.h"

#include <openssl/ssl.h>

#define RIG_CLIENTS_MAX 512
#define RIG_WORKERS_MAX 4
#define RIG_HOST        "ekm.wirewrap.test"
#define RIG_ISSUER      "https://issuer.wirewrap.test"
#define RIG_AUDIENCE    "https://ekm.wirewrap.test"
#define RIG_CALLER      "caller@wirewrap.test"
#define RIG_OTHER       "other@wirewrap.test"
#define RIG_KEY_A       "v0/a" /* RIG_CALLER's */
#define RIG_KEY_B       "v0/b" /* RIG_OTHER's */

struct rig_options {
    uint64_t seed;
    uint32_t conns_max, small_buffers, large_buffers, keys_max;
    uint32_t versions_max; /* 0: four for each key */
    size_t ctl_bytes_max;  /* of one transaction; 0: 256 KB */
    uint32_t request_idle_ms;
    bool no_keys;           /* nothing is pushed: the dataplane is not loaded */
    uint16_t workers;       /* on as many queues of a device that steers by what was sent last */
    uint32_t misdirect_ppm; /* frames that arrive on a queue drawn by lot */
    const char *engine;     /* crypto.engine; NULL: none */
    const char *warm_dir;   /* NULL: no warm start.  It outlives the rig */
    uint64_t look_ns;       /* so far the worker's clock of nanoseconds goes on with each look at it */
};

struct rig;

extern bool rig_in_worker;     /* while worker_turn runs */
extern uint64_t rig_worker_ns; /* real time spent there */

struct client {
    struct rig *rig;
    struct peer *peer;
    SSL *ssl; /* NULL: plain bytes */
    BIO *rx, *tx;
    bool shaken, tls_failed, tls_closed;
    /* what came back, decrypted, and the first reply in it once it is whole */
    uint8_t *in;
    size_t in_len, in_cap;
    unsigned status;
    size_t head_len, body_len; /* of the first reply */
    uint64_t bytes_per_second; /* 0 = as fast as it goes: how fast client_send's bytes leave */
    uint8_t *slow;
    size_t slow_len, slow_at;
    uint64_t slow_next_us;
};

void rig_options_defaults(struct rig_options *o);
struct rig *rig_new(const struct rig_options *o);
/* Closes every client, lets TIME_WAIT pass, and checks that nothing is left. */
void rig_free(struct rig *r);

struct sim *rig_sim(struct rig *r);
struct worker *rig_worker(struct rig *r);  /* the first */
uint16_t rig_workers(const struct rig *r); /* how many */
uint64_t rig_now(const struct rig *r);
uint64_t rig_counted(const struct rig *r, enum reason why);
uint64_t rig_counted_by(const struct rig *r, uint16_t worker, enum reason why);
/* As ctrl sees it. */
uint64_t rig_gauge(const struct rig *r, enum gauge g);
/* The next audit record, of the first worker that has one; false when there is none. */
bool rig_audit(struct rig *r, struct audit_record *out);

/* Runs virtual time. */
void rig_run(struct rig *r, uint64_t us);
/* Until done(arg), at most 120 virtual seconds: false when it never was. */
bool rig_until(struct rig *r, bool (*done)(void *), void *arg);

/* One turn of one worker; the others, clients and ctrl do nothing. */
bool rig_turn(struct worker *w, uint64_t now);

/* ---- the test as ctrl ---- */

void rig_epoch_again(struct rig *r); /* the next transaction is of the epoch that was sent last */
struct writer *rig_ctl_begin(struct rig *r, bool full); /* the next epoch */
void rig_ctl_end(struct rig *r);                        /* sends it */
uint64_t rig_epoch(const struct rig *r);                /* last sent */
void rig_put_key(struct rig *r, const char *path, const char *caller, uint8_t state, uint32_t primary);
void rig_put_version(struct rig *r, const char *path, uint32_t version, uint8_t state);
void rig_put_trust(struct rig *r); /* issuer, its key, audience */
void rig_put_certificate(struct rig *r);
void rig_ctl_raw(struct rig *r, struct span bytes);
/* Everything above as the first snapshot: keys A and B with version 1. */
void rig_push_all(struct rig *r);
bool rig_acked(void *r); /* ACK for the last epoch came */
bool rig_refused(void *r);
uint8_t rig_refusal(const struct rig *r);
bool rig_attached(void *r);
bool rig_ponged(void *r);
void rig_ctl_forget(struct rig *r);                  /* the last refusal, and the epoch that it refused */
void rig_ctl_count(struct rig *r, uint32_t records); /* written by the test itself */
struct span rig_ctl_finish(struct rig *r);           /* instead of rig_ctl_end: the bytes, not sent */
void rig_key_id(const char *path, uint8_t id[KEY_ID_LEN]);
struct secret_span rig_secret(const char *text);
void rig_ctl_drop(struct rig *r); /* ctrl dies: its end of the connection is closed */
void rig_ctl_dead(struct rig *r); /* and nobody listens any more */
void rig_ctl_back(struct rig *r);
void rig_ctl_ping(struct rig *r, uint64_t epoch);

/* ---- warm start ---- */

extern uint64_t rig_warm_unix_s; /* the date that the warm snapshot goes by; 0 = that of the virtual clock */
extern uint8_t rig_warm_key[WARM_KEY_LEN];
extern bool rig_warm_locked; /* the next process is not given it at once */
struct warm *rig_warm(struct rig *r);
/* The process dies and a new one starts; the test's ctrl, and its end of the wire, stay as they are. */
void rig_restart(struct rig *r);
const char *rig_source(const struct rig *r);
uint64_t rig_held(const struct rig *r); /* the epoch that the dataplane holds */

/* ---- clients ---- */

const char *rig_token(struct rig *r, const char *email); /* good for an hour */

struct client *client_open(struct rig *r, bool v6);
struct client *client_open_plain(struct rig *r, bool v6);
/* As it is. */
void client_send(struct client *c, struct span bytes);
/* POST /target with RIG_CALLER's token and a JSON body. */
void client_post(struct client *c, const char *target, const char *json);
void client_post_as(struct client *c, const char *email, const char *target, const char *json);
/* Forgets the first reply. */
void client_next(struct client *c);
void client_close(struct client *c); /* close_notify, FIN */
void client_abort(struct client *c);

bool client_shaken(void *c);
bool client_replied(void *c); /* a whole reply is there: status, head_len, body_len */
bool client_ended(void *c);   /* FIN or RST came */
/* The value of the one string member of the reply's JSON, as it stands there; fails the test when there is none. */
struct span client_value(const struct client *c, const char *name);
const char *client_body(const struct client *c); /* NUL-terminated, valid until the next call */

#endif
