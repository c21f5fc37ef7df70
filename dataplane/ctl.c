/* Messages are handled one after the other; between END and ACK no further one is read, so at most one set of
 * old records waits for its grace period.
 *
 *     connect, HELLO -> BEGIN -> stage ... -> END -> check -> publish -> (every worker settled) -> wipe ->
 * ACK any refusal: roll back, skip to END, REFUSE
 *
 * Where nothing is held and ctrl is not to be had, the warm snapshot goes the same way, message by message, without an
 * ACK at its end; what ctrl brings later replaces it like anything else that was held.
 */
#include "dataplane/ctl.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECONNECT_US      200000ULL
#define MESSAGES_PER_STEP 1024
#define CHAIN_MAX         (32 * 1024)
#define KEY_PEM_MAX       (8 * 1024)
#define OUT_CAP           4096
#define AUTH_COPY_MAX     (320 * 1024) /* all issuers with all their keys, and all audiences */

/* What passes through here may be key material: it all lives on secret pages. */
struct ctl_buffers {
    uint8_t in[CTL_MESSAGE_MAX];
    uint8_t chain_pem[CHAIN_MAX];
    uint8_t key_pem[KEY_PEM_MAX];
};

/* The trust material as it came, for the warm snapshot: no room keeps it in that form. */
struct trust_copy {
    uint8_t auth[AUTH_COPY_MAX];
    uint8_t certificate[CTL_MESSAGE_MAX];
    size_t auth_len, certificate_len;
    uint32_t auth_count;
};

struct trust_copies {
    struct trust_copy held, staged;
};

struct ctl {
    struct ctl_config config;
    int fd;
    uint64_t next_connect_us;
    struct ctl_buffers *secret;
    size_t in_len;
    size_t chain_len, key_len; /* staged certificate; 0 = none in this transaction */
    bool in_txn;
    bool settling;
    uint8_t refused; /* enum ctl_refusal of the transaction in progress; 0 = fine so far */
    uint64_t txn_epoch;
    uint32_t txn_expected, txn_seen;
    uint8_t out[OUT_CAP];
    size_t out_len;
    /* warm start */
    struct trust_copies *copies; /* secret pages; NULL without a warm snapshot */
    bool from_warm;              /* what is held, or settling, was not ctrl's */
    bool warm_tried, txn_full;
    uint64_t started_us;
};

struct ctl *ctl_new(const struct ctl_config *config)
{
    struct ctl *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->config = *config;
    c->fd = -1;
    c->secret = secret_pages_alloc(sizeof *c->secret);
    if (config->warm != NULL)
        c->copies = secret_pages_alloc(sizeof *c->copies);
    if (c->secret == NULL || (config->warm != NULL && c->copies == NULL)) {
        secret_pages_free(c->secret, sizeof *c->secret);
        free(c);
        return NULL;
    }
    return c;
}

static void txn_drop(struct ctl *c)
{
    if (c->in_txn) {
        keys_rollback(c->config.keys);
        ekm_auth_rollback(c->config.auth);
    }
    secret_wipe(c->secret->key_pem, c->key_len);
    c->chain_len = 0;
    c->key_len = 0;
    c->in_txn = false;
    c->refused = 0;
}

static void disconnect(struct ctl *c, const char *why)
{
    log_warn("ctl connection ended; serving on what is held", F("why", why),
             F("epoch", keys_epoch(c->config.keys)));
    close(c->fd);
    c->fd = -1;
    txn_drop(c);
    secret_wipe(c->secret->in, c->in_len);
    c->in_len = 0;
    c->out_len = 0;
}

void ctl_free(struct ctl *c)
{
    if (c == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    txn_drop(c);
    secret_pages_free(c->secret, sizeof *c->secret);
    secret_pages_free(c->copies, sizeof *c->copies);
    free(c);
}

const char *ctl_source(const struct ctl *c)
{
    return keys_epoch(c->config.keys) == 0 ? "none" : c->from_warm ? "warm" : "ctrl";
}

bool ctl_attached(const struct ctl *c)
{
    return c->fd >= 0;
}

int ctl_fd(const struct ctl *c)
{
    return c->settling ? -1 : c->fd;
}

bool ctl_settling(const struct ctl *c)
{
    return c->settling;
}

/* ---- sending ---- */

static struct writer out_begin(struct ctl *c)
{
    return writer_of(c->out + c->out_len, OUT_CAP - c->out_len);
}

/* Answers are a few bytes each; a peer that lets 4 KiB of them pile up is not reading. */
static void out_end(struct ctl *c, const struct writer *w)
{
    if (!writer_ok(w)) {
        disconnect(c, "peer does not read");
        return;
    }
    c->out_len += w->len;
}

static void flush(struct ctl *c)
{
    while (c->fd >= 0 && c->out_len != 0) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                disconnect(c, "send failed");
            return;
        }
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
}

static void say_bare(struct ctl *c, enum ctl_type type, uint64_t epoch)
{
    struct writer w = out_begin(c);

    ctl_write_bare(&w, type, c->config.shard, epoch);
    out_end(c, &w);
}

static void say_refuse(struct ctl *c, uint8_t cause)
{
    struct writer w = out_begin(c);
    struct ctl_refuse m = {cause};

    count(c->config.counters, REASON_CTL_REFUSED);
    log_error("ctl transaction refused; the tables are unchanged", F("cause", ctl_refusal_name(cause)),
              F("epoch", c->txn_epoch), F("held", keys_epoch(c->config.keys)));
    ctl_write_refuse(&w, c->config.shard, c->txn_epoch, &m);
    out_end(c, &w);
}

/* HELLO and the memfds travel in one sendmsg: the socket is fresh, there is room. */
static bool say_hello(struct ctl *c)
{
    uint8_t bytes[256];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct ctl_hello m = {.worker_count = c->config.worker_count, .held_epoch = keys_epoch(c->config.keys)};
    union {
        char space[CMSG_SPACE(sizeof(int) * WORKERS_MAX)];
        struct cmsghdr align;
    } control = {{0}};
    size_t fds_len = sizeof(int) * c->config.worker_count;

    memcpy(m.boot_id, c->config.boot_id, sizeof m.boot_id);
    ctl_write_hello(&w, c->config.shard, m.held_epoch, &m);
    CHECK(writer_ok(&w));
    struct iovec iov = {bytes, w.len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = CMSG_SPACE(fds_len)};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(fds_len);
    memcpy(CMSG_DATA(cmsg), c->config.audit_fd, fds_len);
    return sendmsg(c->fd, &msg, MSG_NOSIGNAL) == (ssize_t)w.len;
}

static void connect_if_due(struct ctl *c, uint64_t now_us)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (now_us < c->next_connect_us)
        return;
    c->next_connect_us = now_us + RECONNECT_US;
    CHECK(strlen(c->config.socket_path) < sizeof addr.sun_path);
    strcpy(addr.sun_path, c->config.socket_path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return;
    if (connect(c->fd, (struct sockaddr *)&addr, sizeof addr) != 0 || !say_hello(c)) {
        close(c->fd);
        c->fd = -1;
        return;
    }
    log_info("ctl attached", F("epoch", keys_epoch(c->config.keys)));
}

/* ---- the copy for the warm snapshot ---- */

static void copy_begin(struct ctl *c)
{
    if (c->copies == NULL)
        return;
    c->copies->staged.auth_len = c->copies->staged.certificate_len = 0;
    c->copies->staged.auth_count = 0;
}

/* message: head and body.  false: more than any sound set has. */
static bool copy_add(struct ctl *c, uint8_t type, struct span message)
{
    struct trust_copy *t = c->copies == NULL ? NULL : &c->copies->staged;

    if (t == NULL || type < CTL_ISSUER || type > CTL_CERTIFICATE)
        return true;
    if (type == CTL_CERTIFICATE) {
        memcpy(t->certificate, message.ptr, message.len);
        t->certificate_len = message.len;
        return true;
    }
    if (message.len > AUTH_COPY_MAX - t->auth_len)
        return false;
    memcpy(t->auth + t->auth_len, message.ptr, message.len);
    t->auth_len += message.len;
    t->auth_count++;
    return true;
}

/* As the rooms take it: issuers and audiences as one, the certificate by itself. */
static void copy_commit(struct ctl *c)
{
    struct trust_copies *t = c->copies;

    if (t == NULL)
        return;
    warm_give_up(c->config.warm);
    if (c->txn_full || t->staged.auth_count != 0) {
        memcpy(t->held.auth, t->staged.auth, t->staged.auth_len);
        t->held.auth_len = t->staged.auth_len;
        t->held.auth_count = t->staged.auth_count;
    }
    if (t->staged.certificate_len == 0)
        return;
    memcpy(t->held.certificate, t->staged.certificate, t->staged.certificate_len);
    t->held.certificate_len = t->staged.certificate_len;
    secret_wipe(t->staged.certificate, t->staged.certificate_len);
}

static struct warm_trust copy_held(const struct ctl *c)
{
    const struct trust_copy *t = &c->copies->held;
    bool certificate = t->certificate_len != 0;

    return (struct warm_trust){
        {secret_of(t->auth, t->auth_len), secret_of(t->certificate, t->certificate_len)},
        t->auth_count + (certificate ? 1 : 0)};
}

/* ---- one message ---- */

static int begin(struct ctl *c, const struct ctl_head *h, const struct ctl_begin *m)
{
    c->in_txn = true;
    c->txn_full = m->full;
    copy_begin(c);
    c->txn_epoch = h->epoch;
    c->txn_expected = m->record_count;
    c->txn_seen = 0;
    ekm_auth_begin(c->config.auth, m->full);
    if (h->shard != c->config.shard)
        return CTL_REFUSE_SHARD;
    return keys_begin(c->config.keys, m->full, m->base_epoch, h->epoch);
}

static int stage_certificate(struct ctl *c, const struct ctl_certificate *m)
{
    if (m->chain_pem.len > CHAIN_MAX || m->key_pem.len > KEY_PEM_MAX)
        return CTL_REFUSE_CERTIFICATE;
    c->chain_len = m->chain_pem.len;
    c->key_len = m->key_pem.len;
    memcpy(c->secret->chain_pem, m->chain_pem.ptr, c->chain_len);
    memcpy(c->secret->key_pem, secret_expose(m->key_pem).ptr, c->key_len);
    return 0;
}

/* Parses one record and stages it.  -1: it does not parse. */
static int stage(struct ctl *c, enum ctl_type type, struct span body)
{
    union {
        struct ctl_key key;
        struct ctl_key_version version;
        struct ctl_key_gone gone;
        struct ctl_issuer issuer;
        struct ctl_jwk jwk;
        struct ctl_audience audience;
        struct ctl_certificate certificate;
    } m;
    struct keys *k = c->config.keys;
    struct ekm_auth *a = c->config.auth;

    switch (type) {
    case CTL_KEY:
        return ctl_key_parse(body, &m.key) ? keys_stage_key(k, &m.key) : -1;
    case CTL_KEY_VERSION:
        return ctl_key_version_parse(body, &m.version) ? keys_stage_version(k, &m.version) : -1;
    case CTL_KEY_GONE:
        return ctl_key_gone_parse(body, &m.gone) ? keys_stage_gone(k, &m.gone) : -1;
    case CTL_ISSUER:
        return ctl_issuer_parse(body, &m.issuer) ? ekm_auth_stage_issuer(a, &m.issuer) : -1;
    case CTL_JWK:
        return ctl_jwk_parse(body, &m.jwk) ? ekm_auth_stage_jwk(a, &m.jwk) : -1;
    case CTL_AUDIENCE:
        return ctl_audience_parse(body, &m.audience) ? ekm_auth_stage_audience(a, &m.audience) : -1;
    case CTL_CERTIFICATE:
        return ctl_certificate_parse(body, &m.certificate) ? stage_certificate(c, &m.certificate) : -1;
    default:
        return -1;
    }
}

/* body lies behind its head. */
static int stage_and_copy(struct ctl *c, const struct ctl_head *h, struct span body)
{
    int refusal = stage(c, (enum ctl_type)h->type, body);
    struct span message = {body.ptr - CTL_HEAD_LEN, h->len};

    return refusal == 0 && !copy_add(c, h->type, message) ? CTL_REFUSE_FULL : refusal;
}

/* Every worker takes the same certificate: what the first accepts, the others do. */
static bool publish_certificate(struct ctl *c)
{
    if (c->chain_len == 0)
        return true;
    for (uint16_t i = 0; i < c->config.worker_count; i++) {
        if (!tls_publish(c->config.tls[i], span_of(c->secret->chain_pem, c->chain_len),
                         secret_of(c->secret->key_pem, c->key_len)))
            return false;
    }
    return true;
}

/* All of it or nothing: whatever can fail comes before the first commit. */
static int end(struct ctl *c, const struct ctl_end *m)
{
    if (m->record_count != c->txn_seen || c->txn_expected != c->txn_seen)
        return CTL_REFUSE_COUNT;
    int refusal = keys_check(c->config.keys);
    if (refusal != 0)
        return refusal;
    if (!publish_certificate(c))
        return CTL_REFUSE_CERTIFICATE;
    ekm_auth_commit(c->config.auth, c->txn_epoch);
    keys_commit(c->config.keys);
    copy_commit(c);
    c->in_txn = false;
    c->settling = true;
    return 0;
}

static void settle(struct ctl *c)
{
    if (!keys_settled(c->config.keys))
        return;
    ekm_auth_settle(c->config.auth);
    for (uint16_t i = 0; i < c->config.worker_count; i++)
        tls_retire(c->config.tls[i]);
    c->settling = false;
    txn_drop(c);
    count(c->config.counters, REASON_CTL_EPOCHS_APPLIED);
    if (c->config.warm != NULL && !c->from_warm)
        warm_acking(c->config.warm, keys_epoch(c->config.keys));
    if (c->fd >= 0 && !c->from_warm)
        say_bare(c, CTL_ACK, keys_epoch(c->config.keys));
}

/* The first refusal of a transaction sticks; END answers it. */
static void note_refusal(struct ctl *c, int refusal)
{
    if (refusal != 0 && c->refused == 0)
        c->refused = (uint8_t)refusal;
}

/* False when the connection cannot go on. */
static bool handle(struct ctl *c, const struct ctl_head *h, struct span body)
{
    struct ctl_begin b;
    struct ctl_end e;

    switch (h->type) {
    case CTL_PING:
        if (c->config.warm != NULL && !c->from_warm && h->epoch == keys_epoch(c->config.keys))
            warm_confirmed(c->config.warm, h->epoch);
        say_bare(c, CTL_PONG, keys_epoch(c->config.keys));
        return true;
    case CTL_BEGIN:
        if (c->in_txn || !ctl_begin_parse(body, &b))
            return false;
        note_refusal(c, begin(c, h, &b));
        return true;
    case CTL_END:
        if (!c->in_txn || h->epoch != c->txn_epoch || !ctl_end_parse(body, &e))
            return false;
        if (c->refused == 0)
            note_refusal(c, end(c, &e));
        if (c->refused == 0)
            c->from_warm = false;
        if (c->refused != 0) {
            uint8_t cause = c->refused;
            txn_drop(c);
            say_refuse(c, cause);
        }
        return true;
    default: {
        if (!c->in_txn || h->epoch != c->txn_epoch)
            return false;
        c->txn_seen++;
        if (c->refused != 0)
            return true;
        int refusal = stage_and_copy(c, h, body);
        if (refusal < 0)
            return false;
        note_refusal(c, refusal);
        return true;
    }
    }
}

/* ---- warm start ---- */

static bool warm_message(void *ctx, const struct ctl_head *h, struct span body)
{
    struct ctl *c = ctx;
    struct ctl_begin b;
    struct ctl_end e;
    int refusal;

    if (h->type == CTL_BEGIN) {
        refusal = ctl_begin_parse(body, &b) && b.full ? begin(c, h, &b) : -1;
    } else if (h->epoch != c->txn_epoch) {
        refusal = -1;
    } else if (h->type == CTL_END) {
        refusal = ctl_end_parse(body, &e) ? end(c, &e) : -1;
    } else {
        c->txn_seen++;
        refusal = stage_and_copy(c, h, body);
    }
    if (refusal > 0)
        log_error("the warm snapshot is refused", F("cause", ctl_refusal_name((uint8_t)refusal)));
    return refusal == 0;
}

static bool warm_is_due(const struct ctl *c, uint64_t now_us)
{
    uint64_t waited = now_us - c->started_us;

    if (c->config.warm == NULL || warm_waits(c->config.warm) || c->warm_tried || c->settling ||
        keys_epoch(c->config.keys) != 0)
        return false;
    if (c->fd < 0)
        return waited >= CTL_ABSENT_US;
    return waited >= (c->in_txn ? CTL_SLOW_US : CTL_SILENT_US);
}

static void warm_start(struct ctl *c)
{
    c->warm_tried = true;
    if (c->fd >= 0)
        disconnect(c, "it did not bring anything; the warm snapshot is tried");
    c->from_warm = warm_load(c->config.warm, warm_message, c);
    if (c->from_warm)
        log_warn("warm start: serving on the snapshot; nothing changes until ww-ctrl is back",
                 F("epoch", keys_epoch(c->config.keys)));
    else
        txn_drop(c);
}

static bool warm_work(struct ctl *c, uint64_t now_us)
{
    if (c->started_us == 0)
        c->started_us = now_us;
    if (warm_is_due(c, now_us)) {
        warm_start(c);
        return true;
    }
    if (c->config.warm == NULL || c->settling || c->from_warm || keys_epoch(c->config.keys) == 0)
        return false;
    struct warm_trust trust = copy_held(c);
    return warm_step(c->config.warm, c->config.keys, &trust, now_us);
}

/* ---- the stream ---- */

/* Handles every whole message in the buffer; what is left moves to the front. */
static void consume(struct ctl *c)
{
    size_t at = 0;
    const char *why = NULL;

    for (int n = 0; n < MESSAGES_PER_STEP && !c->settling && c->fd >= 0; n++) {
        struct span rest = {c->secret->in + at, c->in_len - at};
        struct ctl_head h;
        enum ctl_head_status s = ctl_head_parse(rest, &h);

        if (s == CTL_HEAD_BAD) {
            why = h.version == CTL_VERSION
                      ? "message head does not parse"
                      : "ctrl speaks another version of the ctl messages: start versions that go together";
            break;
        }
        if (s == CTL_HEAD_MORE || rest.len < h.len)
            break;
        if (!handle(c, &h, span_of(rest.ptr + CTL_HEAD_LEN, h.len - CTL_HEAD_LEN))) {
            why = "message does not parse, or comes out of order";
            break;
        }
        at += h.len;
    }
    if (c->fd < 0)
        return;
    if (why != NULL) {
        count(c->config.counters, REASON_CTL_BAD_MESSAGE);
        disconnect(c, why);
        return;
    }
    size_t left = c->in_len - at;
    memmove(c->secret->in, c->secret->in + at, left);
    secret_wipe(c->secret->in + left, at);
    c->in_len = left;
}

static bool read_some(struct ctl *c)
{
    ssize_t n = recv(c->fd, c->secret->in + c->in_len, sizeof c->secret->in - c->in_len, MSG_DONTWAIT);

    if (n > 0) {
        c->in_len += (size_t)n;
        return true;
    }
    if (n == 0)
        disconnect(c, "ctrl closed it");
    else if (errno != EAGAIN && errno != EINTR)
        disconnect(c, strerror(errno));
    return false;
}

bool ctl_step(struct ctl *c, uint64_t now_us)
{
    bool work = c->settling;

    if (c->settling)
        settle(c);
    if (c->fd < 0)
        connect_if_due(c, now_us);
    if (c->fd >= 0 && !c->settling) {
        if (c->in_len < sizeof c->secret->in)
            work |= read_some(c);
        if (c->fd >= 0)
            consume(c);
    }
    work |= warm_work(c, now_us);
    if (c->fd >= 0)
        flush(c);
    return work;
}
