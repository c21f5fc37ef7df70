#include "tests/sim/worker/rig.h"

#include "base/secret_priv.h"
#include "proto/base64.h"
#include "tests/lib/identity.h"
#include "tests/unit/test.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define UNIX_EPOCH_US 1800000000000000ULL /* the wall clock at virtual time 0 */
#define OUT_CAP       (256 * 1024)        /* where no more is asked for */
#define MAX_US        120000000ULL

bool rig_in_worker;
uint64_t rig_worker_ns;
uint64_t rig_warm_unix_s;
uint8_t rig_warm_key[WARM_KEY_LEN] = {'w', 'a', 'r', 'm'};
bool rig_warm_locked;
static uint64_t warm_virtual_s;

struct rig {
    struct rig_options options;
    uint64_t looked_ns;
    struct sim *sim;
    struct keys *keys;
    struct ekm_auth *auth;
    struct arena *lanes; /* NULL: one worker */
    struct steering *steering;
    struct audit_ring *audit[RIG_WORKERS_MAX];
    int audit_fd[RIG_WORKERS_MAX];
    struct worker *worker[RIG_WORKERS_MAX];
    struct ctl *ctl;
    struct warm *warm;
    struct counters ctl_counters;
    SSL_CTX *client_ctx;
    EVP_PKEY *token_key;
    char token[2][2048];
    struct client *clients[RIG_CLIENTS_MAX];
    size_t client_count;
    /* the test as ctrl */
    char dir[64], path[108];
    int listen_fd, ctrl_fd;
    uint64_t epoch, sent_epoch, acked;
    uint8_t refusal;
    bool ponged;
    uint8_t *out;
    struct writer w;
    uint32_t records;
    bool full;
    uint8_t answers[256];
    size_t answers_len;
};

/* ---- the test as ctrl ---- */

static size_t out_cap(const struct rig *r)
{
    return r->options.ctl_bytes_max > OUT_CAP ? r->options.ctl_bytes_max : OUT_CAP;
}

static void ctrl_listen(struct rig *r)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    strcpy(addr.sun_path, r->path);
    r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(r->listen_fd, 1), 0);
    r->ctrl_fd = -1;
}

static void ctrl_answer(struct rig *r, const struct ctl_head *h, struct span body)
{
    struct ctl_refuse refuse;

    if (h->type == CTL_ACK)
        r->acked = h->epoch;
    if (h->type == CTL_PONG)
        r->ponged = h->epoch == r->acked;
    if (h->type == CTL_REFUSE) {
        assert_true(ctl_refuse_parse(body, &refuse));
        r->refusal = refuse.cause;
    }
}

static void ctrl_folder(struct rig *r)
{
    snprintf(r->dir, sizeof r->dir, "/tmp/ww-rig-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->path, sizeof r->path, "%s/ctl", r->dir);
}

static void ctrl_poll(struct rig *r)
{
    if (r->ctrl_fd < 0 && r->listen_fd >= 0)
        r->ctrl_fd = accept4(r->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (r->ctrl_fd < 0)
        return;
    ssize_t n = recv(r->ctrl_fd, r->answers + r->answers_len, sizeof r->answers - r->answers_len, 0);
    if (n <= 0) {
        if (n == 0)
            rig_ctl_drop(r);
        return;
    }
    r->answers_len += (size_t)n;
    struct ctl_head h;
    while (ctl_head_parse(span_of(r->answers, r->answers_len), &h) == CTL_HEAD_OK &&
           h.len <= r->answers_len) {
        ctrl_answer(r, &h, span_of(r->answers + CTL_HEAD_LEN, h.len - CTL_HEAD_LEN));
        r->answers_len -= h.len;
        memmove(r->answers, r->answers + h.len, r->answers_len);
    }
}

void rig_ctl_drop(struct rig *r)
{
    close(r->ctrl_fd);
    r->ctrl_fd = -1;
    r->answers_len = 0;
}

void rig_ctl_dead(struct rig *r)
{
    if (r->ctrl_fd >= 0)
        rig_ctl_drop(r);
    close(r->listen_fd);
    unlink(r->path);
    r->listen_fd = -1;
}

void rig_ctl_back(struct rig *r)
{
    ctrl_listen(r);
}

void rig_ctl_ping(struct rig *r, uint64_t epoch)
{
    struct writer w = writer_of(r->out, out_cap(r));

    ctl_write_bare(&w, CTL_PING, 0, epoch);
    rig_ctl_raw(r, writer_span(&w));
}

bool rig_attached(void *arg)
{
    return ((struct rig *)arg)->ctrl_fd >= 0;
}

bool rig_acked(void *arg)
{
    struct rig *r = arg;

    return r->acked == r->sent_epoch;
}

bool rig_refused(void *arg)
{
    return ((struct rig *)arg)->refusal != 0;
}

uint8_t rig_refusal(const struct rig *r)
{
    return r->refusal;
}

uint64_t rig_epoch(const struct rig *r)
{
    return r->sent_epoch;
}

void rig_epoch_again(struct rig *r)
{
    r->sent_epoch--;
    r->acked = 0;
}

struct writer *rig_ctl_begin(struct rig *r, bool full)
{
    r->w = writer_of(r->out, out_cap(r));
    r->records = 0;
    r->full = full;
    r->epoch = r->sent_epoch + 1;
    r->refusal = 0;
    r->w.len = 0;
    /* BEGIN carries the number of records, known at the end: it is written over then. */
    ctl_write_begin(&r->w, 0, r->epoch, &(struct ctl_begin){full, full ? 0 : r->acked, 0});
    return &r->w;
}

void rig_ctl_raw(struct rig *r, struct span bytes)
{
    assert_true(rig_until(r, rig_attached, r));
    while (bytes.len != 0) {
        ssize_t n = send(r->ctrl_fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EAGAIN);
        bytes = n > 0 ? span_from(bytes, (size_t)n) : bytes;
        if (bytes.len != 0)
            rig_run(r, 20);
    }
}

void rig_ctl_count(struct rig *r, uint32_t records)
{
    r->records += records;
}

void rig_ctl_forget(struct rig *r)
{
    r->refusal = 0;
    r->sent_epoch = r->acked;
}

bool rig_ponged(void *r)
{
    return ((struct rig *)r)->ponged;
}

struct secret_span rig_secret(const char *text)
{
    return secret_of(text, strlen(text));
}

struct span rig_ctl_finish(struct rig *r)
{
    uint8_t head[64];
    struct writer begin = writer_of(head, sizeof head);

    ctl_write_end(&r->w, 0, r->epoch, &(struct ctl_end){r->records});
    ctl_write_begin(&begin, 0, r->epoch, &(struct ctl_begin){r->full, r->full ? 0 : r->acked, r->records});
    assert_true(writer_ok(&r->w) && writer_ok(&begin));
    memcpy(r->out, head, begin.len);
    r->sent_epoch = r->epoch;
    return writer_span(&r->w);
}

void rig_ctl_end(struct rig *r)
{
    rig_ctl_raw(r, rig_ctl_finish(r));
}

void rig_key_id(const char *path, uint8_t id[KEY_ID_LEN])
{
    memset(id, 0, KEY_ID_LEN);
    memcpy(id, path, strlen(path) < KEY_ID_LEN ? strlen(path) : KEY_ID_LEN);
}

void rig_put_key(struct rig *r, const char *path, const char *caller, uint8_t state, uint32_t primary)
{
    struct ctl_key m = {.state = state,
                        .deny_status = 403,
                        .primary_version = primary,
                        .reasons_allowed = ACCESS_REASONS_ALL,
                        .path = span_str(path),
                        .caller_count = caller != NULL ? 1 : 0,
                        .callers = {caller != NULL ? span_str(caller) : (struct span){0}}};

    rig_key_id(path, m.id);
    ctl_write_key(&r->w, 0, r->epoch, &m);
    r->records++;
}

/* Material that can be found again in memory: its bytes say which key and version it is. */
void rig_put_version(struct rig *r, const char *path, uint32_t version, uint8_t state)
{
    struct ctl_key_version m = {.version = version, .state = state};
    uint8_t material[KEY_MATERIAL_LEN];

    memset(material, (int)(0x40 + version), sizeof material);
    memcpy(material, path, strlen(path));
    rig_key_id(path, m.key_id);
    memset(m.tag, (int)version, sizeof m.tag);
    m.material = secret_of(material, sizeof material);
    ctl_write_key_version(&r->w, 0, r->epoch, &m);
    r->records++;
}

void rig_put_trust(struct rig *r)
{
    uint8_t point[65];
    size_t len = 0;

    assert_int_equal(
        EVP_PKEY_get_octet_string_param(r->token_key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len), 1);
    assert_int_equal(len, 65);
    ctl_write_issuer(&r->w, 0, r->epoch,
                     &(struct ctl_issuer){span_str(RIG_ISSUER), UNIX_EPOCH_US / 1000000, 86400});
    ctl_write_jwk(
        &r->w, 0, r->epoch,
        &(struct ctl_jwk){JWK_ES256, span_str("k1"), span_of(point + 1, 32), span_of(point + 33, 32)});
    ctl_write_audience(&r->w, 0, r->epoch, &(struct ctl_audience){span_str(RIG_AUDIENCE)});
    r->records += 3;
}

void rig_put_certificate(struct rig *r)
{
    struct identity_pem id;

    identity_make("P-256", RIG_HOST, &id);
    ctl_write_certificate(&r->w, 0, r->epoch,
                          &(struct ctl_certificate){span_str(id.cert), secret_of(id.key, strlen(id.key))});
    r->records++;
}

void rig_push_all(struct rig *r)
{
    rig_ctl_begin(r, true);
    rig_put_key(r, RIG_KEY_A, RIG_CALLER, KEY_STATE_ENABLED, 1);
    rig_put_version(r, RIG_KEY_A, 1, KEY_STATE_ENABLED);
    rig_put_key(r, RIG_KEY_B, RIG_OTHER, KEY_STATE_ENABLED, 1);
    rig_put_version(r, RIG_KEY_B, 1, KEY_STATE_ENABLED);
    rig_put_trust(r);
    rig_put_certificate(r);
    rig_ctl_end(r);
    assert_true(rig_until(r, rig_acked, r));
}

/* ---- tokens ---- */

static void token_part(const char *json, char *out)
{
    size_t n = base64_encode(span_str(json), (uint8_t *)out);

    while (n > 0 && out[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[n] = 0;
}

static void token_sign(EVP_PKEY *key, char *text)
{
    uint8_t der[256], raw[64];
    const uint8_t *p = der;
    size_t len = sizeof der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &len, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)len);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
    ECDSA_SIG_free(sig);
    size_t at = strlen(text);
    text[at++] = '.';
    size_t n = base64_encode(span_of(raw, sizeof raw), (uint8_t *)text + at);
    for (size_t i = at; i < at + n; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    text[at + 86] = 0; /* 64 bytes without padding */
}

const char *rig_token(struct rig *r, const char *email)
{
    char *t = r->token[strcmp(email, RIG_OTHER) == 0];
    char claims[512];
    unsigned long long now = UNIX_EPOCH_US / 1000000;

    if (t[0] != 0)
        return t;
    snprintf(claims, sizeof claims,
             "{\"iss\":\"" RIG_ISSUER "\",\"aud\":\"" RIG_AUDIENCE
             "\",\"email\":\"%s\",\"email_verified\":true,"
             "\"iat\":%llu,\"exp\":%llu}",
             email, now, now + 3600);
    token_part("{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", t);
    strcat(t, ".");
    token_part(claims, t + strlen(t));
    token_sign(r->token_key, t);
    return t;
}

/* ---- time ---- */

static uint64_t clock_ns(void *arg)
{
    struct rig *r = arg;

    r->looked_ns += r->options.look_ns;
    return sim_now(r->sim) * 1000 + r->looked_ns;
}

static void client_pump(struct client *c);

static bool clients_receive(struct rig *r)
{
    struct frame frames[NIC_BURST_MAX];
    struct nic *nic = sim_port(r->sim, 1);
    bool any = false;

    for (uint16_t q = 0; q < r->options.workers; q++) {
        uint16_t n = nic_rx(nic, q, frames, NIC_BURST_MAX);
        any |= n != 0;
        for (uint16_t i = 0; i < n; i++) {
            for (size_t k = 0; k < r->client_count; k++)
                peer_input(r->clients[k]->peer, &frames[i], sim_now(r->sim));
            nic_frame_free(nic, &frames[i]);
        }
    }
    return any;
}

static bool client_transmit(struct rig *r, struct client *c)
{
    struct nic *nic = sim_port(r->sim, 1);
    bool any = false;

    while (peer_has_output(c->peer)) {
        struct frame f;
        if (!nic_frame_alloc(nic, 0, &f))
            break;
        if (peer_output(c->peer, sim_now(r->sim), &f, 1) == 0) {
            nic_frame_free(nic, &f);
            break;
        }
        if (nic_tx(nic, 0, &f, 1) == 0)
            nic_frame_free(nic, &f);
        any = true;
    }
    return any;
}

static uint64_t real_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Callgrind finds it by its name (bench/callgrind.py), where worker_turn itself may have become a part of its caller. */
__attribute__((noinline)) bool rig_turn(struct worker *w, uint64_t now)
{
    return worker_turn(w, (struct worker_time){now, UNIX_EPOCH_US + now});
}

static bool rig_step(struct rig *r)
{
    uint64_t now = sim_now(r->sim), began = real_ns();
    bool busy = false;

    rig_in_worker = true;
    for (uint16_t i = 0; i < r->options.workers; i++)
        busy |= rig_turn(r->worker[i], now);
    rig_in_worker = false;
    rig_worker_ns += real_ns() - began;

    ctrl_poll(r);
    busy |= ctl_step(r->ctl, now);
    busy |= clients_receive(r);
    for (size_t i = 0; i < r->client_count; i++) {
        peer_timers(r->clients[i]->peer, now);
        client_pump(r->clients[i]);
        busy |= client_transmit(r, r->clients[i]);
    }
    return busy;
}

/* Has bytes whose time will come. */
static bool trickles(const struct client *c)
{
    return c->slow_at < c->slow_len && (c->ssl == NULL || c->shaken) && peer_state(c->peer) == PEER_OPEN;
}

static uint64_t next_event(const struct rig *r)
{
    uint64_t next = sim_next_delivery(r->sim), at;

    for (uint16_t i = 0; i < r->options.workers; i++) {
        at = worker_next_timer(r->worker[i]);
        next = at < next ? at : next;
    }
    for (size_t i = 0; i < r->client_count; i++) {
        const struct client *c = r->clients[i];
        at = peer_next_timer(c->peer);
        next = at < next ? at : next;
        if (trickles(c) && c->slow_next_us < next)
            next = c->slow_next_us;
    }
    return next;
}

static void rig_advance(struct rig *r, bool busy, uint64_t end)
{
    uint64_t now = sim_now(r->sim), next = busy ? now + 20 : next_event(r);

    if (next > end)
        next = end;
    /* ctl reconnects and acks in its own time. */
    if (next > now + 50000)
        next = now + 50000;
    sim_advance(r->sim, next > now ? next - now : 1);
    warm_virtual_s = UNIX_EPOCH_US / 1000000 + sim_now(r->sim) / 1000000;
}

void rig_run(struct rig *r, uint64_t us)
{
    uint64_t end = sim_now(r->sim) + us;

    while (sim_now(r->sim) < end)
        rig_advance(r, rig_step(r), end);
}

bool rig_until(struct rig *r, bool (*done)(void *), void *arg)
{
    uint64_t end = sim_now(r->sim) + MAX_US;

    while (sim_now(r->sim) < end) {
        bool busy = rig_step(r);
        if (done(arg))
            return true;
        rig_advance(r, busy, end);
    }
    return false;
}

/* ---- life ---- */

void rig_options_defaults(struct rig_options *o)
{
    *o = (struct rig_options){.seed = 1,
                              .conns_max = 256,
                              .small_buffers = 64,
                              .large_buffers = 4,
                              .keys_max = 64,
                              .request_idle_ms = 30000,
                              .workers = 1};
    /* What is claimed of one worker holds for two, with frames that go astray. */
    if (getenv("WW_RIG_WORKERS") != NULL) {
        o->workers = (uint16_t)atoi(getenv("WW_RIG_WORKERS"));
        o->misdirect_ppm = 100000;
    }
}

static void net_addresses(struct net_config *n)
{
    net_config_defaults(n);
    n->addr_count = 2;
    assert_true(net_prefix_parse(span_str("192.0.2.1/24"), &n->addrs[0]));
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &n->addrs[1]));
    n->port_count = 1;
    n->ports[0] = 443;
}

static void steering_make(struct rig *r)
{
    struct steering_config c = {.workers = r->options.workers, .mtu = 1500};

    if (r->options.workers == 1)
        return;
    for (size_t i = 0; i < sizeof c.key; i++)
        c.key[i] = (uint8_t)(i * 59 + r->options.seed);
    r->lanes = arena_new(steering_memory_needed(&c), false);
    r->steering = steering_new(&c, r->lanes);
}

static void worker_make(struct rig *r, uint16_t number)
{
    struct worker_config c;
    static const uint8_t tls_seed[32] = {7};

    worker_config_defaults(&c);
    net_addresses(&c.net);
    c.nic = sim_port(r->sim, 0);
    memcpy(c.net.mac, c.nic->info.mac, sizeof c.net.mac);
    c.net.mtu = c.nic->info.mtu;
    c.net.conns_max = r->options.conns_max;
    c.net.recv_buffers_max = r->options.conns_max;
    c.net.send_buffers_max = r->options.conns_max;
    memset(c.net.seed, (int)r->options.seed + number, sizeof c.net.seed);
    c.net.steering = r->steering;
    c.net.worker = c.queue = number;
    c.keys = r->keys;
    c.auth = r->auth;
    c.audit = r->audit[number];
    c.clock_ns = clock_ns;
    c.clock_arg = r;
    c.small_buffers = r->options.small_buffers;
    c.large_buffers = r->options.large_buffers;
    c.request_idle_ms = r->options.request_idle_ms;
    c.seed_for_tests = tls_seed;
    c.engine = r->options.engine;
    r->worker[number] = worker_new(&c, sim_now(r->sim));
    assert_non_null(r->worker[number]);
}

/* WW_CAPTURES in the environment names a folder: what crosses the wire of each rig goes to a file there. */
static void capture_if_wanted(struct sim *s)
{
    static unsigned int count;
    const char *folder = getenv("WW_CAPTURES");
    char path[256];

    if (folder == NULL)
        return;
    snprintf(path, sizeof path, "%s/%u.pcap", folder, count++);
    assert_true(sim_capture(s, path));
}

static uint64_t warm_date(void)
{
    return rig_warm_unix_s != 0 ? rig_warm_unix_s : warm_virtual_s;
}

static void warm_make(struct rig *r)
{
    struct warm_config wc = {
        .dir = r->options.warm_dir, .max_age_s = 3600, .counters = &r->ctl_counters, .unix_s = warm_date};
    struct warm_problem why;

    if (r->options.warm_dir == NULL)
        return;
    r->warm = warm_new(&wc, rig_warm_locked ? NULL : rig_warm_key, &why);
    assert_non_null(r->warm);
}

/* What one process is made of; the NIC stays. */
static void dataplane_make(struct rig *r)
{
    static const uint8_t boot_id[16] = {1};
    struct keys_config kc = {.keys_max = r->options.keys_max,
                             .versions_max = r->options.versions_max != 0 ? r->options.versions_max
                                                                          : 4 * r->options.keys_max,
                             .verify_rng_seeded_for_tests = true};

    r->keys = keys_new(&kc);
    r->auth = ekm_auth_new();
    assert_true(r->keys != NULL && r->auth != NULL);
    steering_make(r);
    for (uint16_t i = 0; i < r->options.workers; i++) {
        r->audit[i] = audit_ring_create(1024, i, boot_id, &r->audit_fd[i]);
        assert_non_null(r->audit[i]);
        worker_make(r, i);
    }
    warm_make(r);
    struct ctl_config cc = {.socket_path = r->path,
                            .keys = r->keys,
                            .auth = r->auth,
                            .worker_count = r->options.workers,
                            .counters = &r->ctl_counters,
                            .warm = r->warm};
    for (uint16_t i = 0; i < r->options.workers; i++) {
        cc.tls[i] = worker_tls(r->worker[i]);
        cc.audit_fd[i] = r->audit_fd[i];
    }
    memcpy(cc.boot_id, boot_id, sizeof boot_id);
    r->ctl = ctl_new(&cc);
    assert_non_null(r->ctl);
}

static void dataplane_free(struct rig *r)
{
    ctl_free(r->ctl);
    warm_free(r->warm);
    for (uint16_t i = 0; i < r->options.workers; i++)
        worker_free(r->worker[i]);
    ekm_auth_free(r->auth);
    keys_free(r->keys);
    for (uint16_t i = 0; i < r->options.workers; i++) {
        audit_ring_unmap(r->audit[i]);
        close(r->audit_fd[i]);
    }
    if (r->lanes != NULL)
        arena_free(r->lanes);
}

struct warm *rig_warm(struct rig *r)
{
    return r->warm;
}

const char *rig_source(const struct rig *r)
{
    return ctl_source(r->ctl);
}

uint64_t rig_held(const struct rig *r)
{
    return keys_epoch(r->keys);
}

void rig_restart(struct rig *r)
{
    for (size_t i = 0; i < r->client_count; i++)
        peer_abort(r->clients[i]->peer, sim_now(r->sim));
    rig_run(r, 70000000);
    if (r->ctrl_fd >= 0)
        rig_ctl_drop(r);
    dataplane_free(r);
    dataplane_make(r);
}

struct rig *rig_new(const struct rig_options *o)
{
    struct rig *r = calloc(1, sizeof *r);
    struct sim_config sc;

    assert_non_null(r);
    r->options = *o;
    sim_config_defaults(&sc);
    sc.seed = o->seed;
    sc.queue_count = o->workers;
    sc.steering = SIM_STEER_LAST;
    sc.misdirect_ppm = o->misdirect_ppm;
    r->sim = sim_new(&sc);
    warm_virtual_s = UNIX_EPOCH_US / 1000000;
    capture_if_wanted(r->sim);
    r->out = malloc(out_cap(r));
    assert_non_null(r->out);
    r->token_key = EVP_EC_gen("P-256");
    r->client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_options(r->client_ctx, SSL_OP_CLEANSE_PLAINTEXT); /* for the search of secrets_test */
    ctrl_folder(r);
    ctrl_listen(r);
    dataplane_make(r);
    if (!o->no_keys)
        rig_push_all(r);
    return r;
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    peer_free(c->peer);
    free(c->in);
    free(c->slow);
    free(c);
}

/* At the end of every test: clients gone, twice MSL later, nothing may be held. */
static void check_nothing_is_left(struct rig *r)
{
    struct worker_gauges g;

    for (size_t i = 0; i < r->client_count; i++)
        peer_abort(r->clients[i]->peer, sim_now(r->sim));
    struct sim_faults none = {0};
    sim_set_faults(r->sim, 0, &none);
    sim_set_faults(r->sim, 1, &none);
    sim_set_filter(r->sim, NULL, NULL);
    rig_run(r, 70000000);
    uint32_t spare = 0;
    for (uint16_t i = 0; i < r->options.workers; i++) {
        worker_gauges(r->worker[i], &g);
        assert_int_equal(g.conns, 0);
        assert_int_equal(g.small_buffers_used, 0);
        assert_int_equal(g.large_buffers_used, 0);
        assert_int_equal(g.net.established, 0);
        assert_int_equal(g.net.recv_buffers_used, 0);
        assert_int_equal(g.net.send_buffers_used, 0);
        spare += g.spare_frames;
    }
    assert_int_equal(sim_frames_held(r->sim, 0), spare);
}

void rig_free(struct rig *r)
{
    check_nothing_is_left(r);
    dataplane_free(r);
    assert_int_equal(sim_frames_held(r->sim, 0), 0);
    for (size_t i = 0; i < r->client_count; i++)
        client_free(r->clients[i]);
    sim_free(r->sim);
    SSL_CTX_free(r->client_ctx);
    EVP_PKEY_free(r->token_key);
    if (r->ctrl_fd >= 0)
        close(r->ctrl_fd);
    if (r->listen_fd >= 0)
        close(r->listen_fd);
    unlink(r->path);
    rmdir(r->dir);
    free(r->out);
    free(r);
}

struct sim *rig_sim(struct rig *r)
{
    return r->sim;
}

struct worker *rig_worker(struct rig *r)
{
    return r->worker[0];
}

uint16_t rig_workers(const struct rig *r)
{
    return r->options.workers;
}

uint64_t rig_now(const struct rig *r)
{
    return sim_now(r->sim);
}

uint64_t rig_counted_by(const struct rig *r, uint16_t worker, enum reason why)
{
    return counter_read(&r->audit[worker]->counters, why);
}

uint64_t rig_counted(const struct rig *r, enum reason why)
{
    uint64_t all = counter_read(&r->ctl_counters, why);

    for (uint16_t i = 0; i < r->options.workers; i++)
        all += rig_counted_by(r, i, why);
    return all;
}

uint64_t rig_gauge(const struct rig *r, enum gauge g)
{
    uint64_t all = 0;

    for (uint16_t i = 0; i < r->options.workers; i++)
        all += gauge_read(&r->audit[i]->counters, g);
    return all;
}

bool rig_audit(struct rig *r, struct audit_record *out)
{
    for (uint16_t i = 0; i < r->options.workers; i++)
        if (audit_take(r->audit[i], out) == AUDIT_RING_OK)
            return true;
    return false;
}

/* ---- clients ---- */

static struct client *client_new(struct rig *r, bool v6)
{
    struct client *c = calloc(1, sizeof *c);
    struct peer_options o;

    assert_true(c != NULL && r->client_count < RIG_CLIENTS_MAX);
    peer_options_defaults(&o, v6);
    memcpy(o.server_mac, sim_port(r->sim, 0)->info.mac, 6);
    memcpy(o.mac, sim_port(r->sim, 1)->info.mac, 6);
    /* Far apart: the hash that chooses a worker is linear, and neighbours in a few bits may all be one worker's. */
    o.port = (uint16_t)(1024 + r->client_count * 7919 % 60000);
    o.iss = (uint32_t)(r->options.seed * 2654435761u + r->client_count * 40503u);
    c->rig = r;
    c->peer = peer_new(&o);
    c->in_cap = 4096;
    c->in = malloc(c->in_cap);
    r->clients[r->client_count++] = c;
    peer_connect(c->peer, sim_now(r->sim));
    return c;
}

struct client *client_open_plain(struct rig *r, bool v6)
{
    return client_new(r, v6);
}

struct client *client_open(struct rig *r, bool v6)
{
    struct client *c = client_new(r, v6);

    c->ssl = SSL_new(r->client_ctx);
    c->rx = BIO_new(BIO_s_mem());
    c->tx = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(c->rx, -1);
    SSL_set_bio(c->ssl, c->rx, c->tx);
    SSL_set_connect_state(c->ssl);
    return c;
}

static void client_keep(struct client *c, const uint8_t *data, size_t len)
{
    while (c->in_len + len + 1 > c->in_cap) {
        c->in_cap *= 2;
        c->in = realloc(c->in, c->in_cap);
        assert_non_null(c->in);
    }
    memcpy(c->in + c->in_len, data, len);
    c->in_len += len;
    c->in[c->in_len] = 0;
}

static void tls_to_peer(struct client *c)
{
    uint8_t buf[16384];
    int n;

    while ((n = BIO_read(c->tx, buf, sizeof buf)) > 0)
        peer_write(c->peer, span_of(buf, (size_t)n), sim_now(c->rig->sim));
}

static void tls_failed(struct client *c, int rc)
{
    int e = SSL_get_error(c->ssl, rc);

    if (e == SSL_ERROR_ZERO_RETURN)
        c->tls_closed = true;
    else if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
        c->tls_failed = true;
    ERR_clear_error();
}

static void client_receive_plain(struct client *c)
{
    uint8_t buf[16384];
    size_t n;

    while ((n = peer_read(c->peer, buf, sizeof buf, sim_now(c->rig->sim))) > 0) {
        if (c->ssl == NULL)
            client_keep(c, buf, n);
        else
            BIO_write(c->rx, buf, (int)n);
    }
}

static void client_receive_tls(struct client *c)
{
    uint8_t buf[16384];
    int n = -1;

    if (!c->shaken && !c->tls_failed) {
        n = SSL_do_handshake(c->ssl);
        if (n == 1)
            c->shaken = true;
        else
            tls_failed(c, n);
    }
    while (c->shaken && (n = SSL_read(c->ssl, buf, sizeof buf)) > 0)
        client_keep(c, buf, (size_t)n);
    if (c->shaken)
        tls_failed(c, n);
}

static void client_write_now(struct client *c, const uint8_t *data, size_t len)
{
    if (c->ssl == NULL) {
        peer_write(c->peer, span_of(data, len), sim_now(c->rig->sim));
        return;
    }
    assert_int_equal(SSL_write(c->ssl, data, (int)len), len);
}

/* A slow client: as many bytes as its time allows, in records of their own. */
static void client_trickle(struct client *c)
{
    uint64_t now = sim_now(c->rig->sim);

    while (c->slow_at < c->slow_len && c->slow_next_us <= now) {
        uint64_t chunk = c->bytes_per_second < 100 ? 1 : c->bytes_per_second / 100;
        if (chunk > c->slow_len - c->slow_at)
            chunk = c->slow_len - c->slow_at;
        client_write_now(c, c->slow + c->slow_at, chunk);
        c->slow_at += chunk;
        c->slow_next_us = now + chunk * 1000000 / c->bytes_per_second;
    }
}

static void client_pump(struct client *c)
{
    client_receive_plain(c);
    if (c->ssl != NULL)
        client_receive_tls(c);
    if (trickles(c))
        client_trickle(c);
    if (c->ssl != NULL)
        tls_to_peer(c);
}

void client_send(struct client *c, struct span bytes)
{
    if (c->bytes_per_second == 0) {
        client_write_now(c, bytes.ptr, bytes.len);
        return;
    }
    free(c->slow);
    c->slow = malloc(bytes.len);
    memcpy(c->slow, bytes.ptr, bytes.len);
    c->slow_len = bytes.len;
    c->slow_at = 0;
    c->slow_next_us = sim_now(c->rig->sim);
}

void client_post_as(struct client *c, const char *email, const char *target, const char *json)
{
    size_t cap = strlen(json) + 4096;
    char *text = malloc(cap);
    int n = snprintf(text, cap,
                     "POST /%s HTTP/1.1\r\nHost: " RIG_HOST "\r\nAuthorization: Bearer %s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     target, rig_token(c->rig, email), strlen(json), json);

    client_send(c, span_of(text, (size_t)n));
    free(text);
}

void client_post(struct client *c, const char *target, const char *json)
{
    client_post_as(c, RIG_CALLER, target, json);
}

void client_next(struct client *c)
{
    size_t whole = c->head_len + c->body_len;

    c->in_len -= whole;
    memmove(c->in, c->in + whole, c->in_len + 1);
    c->status = 0;
    c->head_len = 0;
    c->body_len = 0;
}

void client_close(struct client *c)
{
    if (c->ssl != NULL && c->shaken) {
        SSL_shutdown(c->ssl);
        ERR_clear_error();
        tls_to_peer(c);
    }
    peer_close(c->peer, sim_now(c->rig->sim));
}

void client_abort(struct client *c)
{
    peer_abort(c->peer, sim_now(c->rig->sim));
}

bool client_shaken(void *arg)
{
    return ((struct client *)arg)->shaken;
}

bool client_replied(void *arg)
{
    struct client *c = arg;
    char *end, *length;

    if (c->in_len == 0)
        return false;
    c->in[c->in_len] = 0;
    end = strstr((char *)c->in, "\r\n\r\n");
    length = strcasestr((char *)c->in, "content-length:");
    if (end == NULL)
        return false;
    c->head_len = (size_t)(end - (char *)c->in) + 4;
    c->body_len = length != NULL && length < end ? (size_t)atol(length + 15) : 0;
    if (c->in_len < c->head_len + c->body_len)
        return false;
    c->status = (unsigned)atoi((char *)c->in + 9);
    return true;
}

bool client_ended(void *arg)
{
    struct client *c = arg;

    return peer_fin_received(c->peer) || peer_state(c->peer) == PEER_RESET;
}

const char *client_body(const struct client *c)
{
    static char *text;

    free(text);
    text = strndup((char *)c->in + c->head_len, c->body_len);
    return text;
}

struct span client_value(const struct client *c, const char *name)
{
    char want[64];
    const char *body = (const char *)c->in + c->head_len;
    int n = snprintf(want, sizeof want, "\"%s\":\"", name);
    const char *at = strstr(body, want);

    assert_non_null(at);
    at += n;
    const char *end = strchr(at, '"');
    assert_non_null(end);
    return span_of(at, (size_t)(end - at));
}
