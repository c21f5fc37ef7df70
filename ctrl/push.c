#include "ctrl/push.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/secret_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_CAP    512 /* the longest message that a dataplane sends has 26 bytes of body */
#define OUT_CAP   (8 * CTL_MESSAGE_MAX)
#define DIRTY_MAX 4096 /* more changed keys than that go as a snapshot */
#define READS_MAX 16   /* per readiness: a peer that floods gets its turn again */
#define FDS_MAX   WORKERS_MAX

/* One transaction being written: what it holds was fixed when it began. */
struct txn {
    bool active; /* begun and not yet acked or refused */
    bool full;
    bool generated; /* END is in the buffer */
    uint64_t base, epoch;
    const struct trust *trust; /* NULL = not in this one */
    const struct key_record **keys;
    size_t key_count;
    uint32_t record_count;
    /* position */
    bool begun;
    uint32_t trust_idx;
    size_t key_idx;
    uint32_t version_idx; /* 0 = the key itself is next, then versions[version_idx - 1] */
};

struct push {
    const struct custody *custody;
    const struct trust *const *trust;
    struct push_listener listener;
    struct push_status status;

    int fd;
    bool has_hello;
    uint64_t accepted_ms, heard_ms, pinged_ms, retry_ms;
    bool wait_retry; /* a snapshot was refused: not before retry_ms, or the next change */
    uint8_t in[IN_CAP];
    size_t in_len;
    int fds[FDS_MAX];
    size_t fd_count;
    uint8_t *out; /* locked pages: key material passes through */
    size_t out_len, out_sent;

    struct txn txn;
    bool need_full;
    bool trust_dirty;
    size_t dirty_count;
    uint8_t dirty[DIRTY_MAX][KEY_ID_LEN];
};

struct push *push_new(const struct custody *c, const struct trust *const *trust, struct push_listener l)
{
    struct push *p = calloc(1, sizeof *p);

    CHECK(p != NULL);
    p->custody = c;
    p->trust = trust;
    p->listener = l;
    p->fd = -1;
    p->out = secret_pages_alloc(OUT_CAP);
    if (p->out == NULL) {
        free(p);
        return NULL;
    }
    return p;
}

/* ---- a connection's end ---- */

static void txn_end(struct txn *t)
{
    for (size_t i = 0; i < t->key_count; i++)
        record_unref(t->keys[i]);
    free(t->keys);
    trust_unref(t->trust);
    *t = (struct txn){0};
}

static void fds_close(struct push *p)
{
    for (size_t i = 0; i < p->fd_count; i++)
        close(p->fds[i]);
    p->fd_count = 0;
}

static void disconnect(struct push *p, const char *why)
{
    bool was_attached = p->has_hello;

    log_warn("dataplane connection ended", F("why", why), F("acked", p->status.acked_epoch));
    close(p->fd);
    p->fd = -1;
    fds_close(p);
    txn_end(&p->txn);
    secret_wipe(p->out, p->out_len);
    p->in_len = p->out_len = p->out_sent = 0;
    p->has_hello = false;
    p->status.attached = p->status.ahead = false;
    p->status.acked_epoch = 0;
    p->status.last_refusal = 0;
    if (was_attached && p->listener.detached != NULL)
        p->listener.detached(p->listener.ctx);
    if (p->listener.progress != NULL)
        p->listener.progress(p->listener.ctx);
}

static void drop_garbage(struct push *p, const char *why)
{
    p->status.dropped_garbage++;
    snprintf(p->status.problem, sizeof p->status.problem, "%s", why);
    disconnect(p, why);
}

/* Nothing was sent to it: what it serves, or does not, stays as it is. */
static void drop_other_version(struct push *p, unsigned version)
{
    char why[sizeof p->status.problem];

    snprintf(why, sizeof why,
             "it speaks ctl version %u, and this ww-ctrl version %u: start versions that go together",
             version, CTL_VERSION);
    drop_garbage(p, why);
}

void push_free(struct push *p)
{
    if (p == NULL)
        return;
    if (p->fd >= 0)
        close(p->fd);
    fds_close(p);
    txn_end(&p->txn);
    secret_pages_free(p->out, OUT_CAP);
    free(p);
}

/* ---- what is to be sent ---- */

static void count_records(struct txn *t)
{
    t->record_count = t->trust == NULL ? 0 : trust_record_count(t->trust);
    for (size_t i = 0; i < t->key_count; i++) {
        t->record_count++;
        for (uint32_t v = 0; v < t->keys[i]->version_count && record_is_served(t->keys[i]); v++)
            t->record_count += t->keys[i]->versions[v].epoch > t->base ? 1 : 0;
    }
}

static void collect_all(struct push *p, struct txn *t)
{
    const struct registry *g = custody_registry(p->custody);

    t->key_count = registry_count(g);
    t->keys = calloc(t->key_count + 1, sizeof *t->keys);
    CHECK(t->keys != NULL);
    for (size_t i = 0; i < t->key_count; i++)
        t->keys[i] = record_ref(registry_at(g, i));
}

static void collect_dirty(struct push *p, struct txn *t)
{
    t->key_count = p->dirty_count;
    t->keys = calloc(t->key_count + 1, sizeof *t->keys);
    CHECK(t->keys != NULL);
    for (size_t i = 0; i < t->key_count; i++)
        t->keys[i] = record_ref(registry_by_id(custody_registry(p->custody), p->dirty[i]));
}

static void txn_start(struct push *p)
{
    struct txn *t = &p->txn;

    *t = (struct txn){.active = true, .full = p->need_full, .epoch = custody_epoch(p->custody)};
    t->base = t->full ? 0 : p->status.acked_epoch;
    if (t->full || p->trust_dirty)
        t->trust = trust_ref(*p->trust);
    if (t->full)
        collect_all(p, t);
    else
        collect_dirty(p, t);
    count_records(t);
    p->need_full = p->trust_dirty = p->wait_retry = false;
    p->dirty_count = 0;
}

/* One transaction at a time: the next one starts from what the last one was acked at. */
static void start_if_due(struct push *p)
{
    if (!p->has_hello || p->txn.active || p->wait_retry || p->status.ahead)
        return;
    if (p->need_full || p->trust_dirty || p->dirty_count != 0)
        txn_start(p);
}

/* Only noted: it is sent when the socket is next writable, so that the two epochs of a new version go as one. */
void push_changed(struct push *p, const struct key_record *r)
{
    p->wait_retry = false;
    if (r == NULL) {
        p->trust_dirty = true;
    } else {
        for (size_t i = 0; i < p->dirty_count; i++) {
            if (memcmp(p->dirty[i], r->id, KEY_ID_LEN) == 0)
                return;
        }
        if (p->dirty_count == DIRTY_MAX)
            p->need_full = true;
        else
            memcpy(p->dirty[p->dirty_count++], r->id, KEY_ID_LEN);
    }
}

/* ---- writing it ---- */

static void write_key(const struct txn *t, const struct key_record *r, struct writer *w)
{
    struct ctl_key m = {.state = r->life.state,
                        .deny_status = r->policy.deny_status,
                        .primary_version = record_is_served(r) ? r->primary : 0,
                        .reasons_allowed = r->policy.reasons,
                        .path = span_str(r->path),
                        .caller_count = r->policy.caller_count};

    memcpy(m.id, r->id, KEY_ID_LEN);
    for (uint8_t i = 0; i < r->policy.caller_count; i++)
        m.callers[i] = span_str(r->policy.callers[i]);
    ctl_write_key(w, CTRL_SHARD, t->epoch, &m);
}

static void write_version(struct push *p, const struct key_record *r, const struct key_version *v,
                          struct writer *w)
{
    struct ctl_key_version m = {.version = v->number, .state = v->life.state};
    uint8_t *material = p->out + OUT_CAP - KEY_MATERIAL_LEN; /* the buffer's last bytes: never in use by w */

    memcpy(m.key_id, r->id, KEY_ID_LEN);
    memcpy(m.tag, v->tag, sizeof m.tag);
    if (v->life.state != KEY_STATE_DESTROYED) {
        custody_material(p->custody, r, v, material);
        m.material = secret_of(material, KEY_MATERIAL_LEN);
    }
    ctl_write_key_version(w, CTRL_SHARD, p->txn.epoch, &m);
    secret_wipe(material, KEY_MATERIAL_LEN);
}

/* Writes the record at the position and moves on; false: there is none left. */
static bool write_next(struct push *p, struct writer *w)
{
    struct txn *t = &p->txn;

    if (t->trust != NULL && t->trust_idx < trust_record_count(t->trust)) {
        trust_write_record(t->trust, t->trust_idx++, w, CTRL_SHARD, t->epoch);
        return true;
    }
    while (t->key_idx < t->key_count) {
        const struct key_record *r = t->keys[t->key_idx];
        uint32_t at = t->version_idx++;

        if (at == 0) {
            write_key(t, r, w);
            return true;
        }
        if (at <= r->version_count && record_is_served(r) && r->versions[at - 1].epoch > t->base) {
            write_version(p, r, &r->versions[at - 1], w);
            return true;
        }
        if (at >= r->version_count) {
            t->key_idx++;
            t->version_idx = 0;
        }
    }
    return false;
}

static void generate(struct push *p)
{
    struct txn *t = &p->txn;

    while (t->active && !t->generated && OUT_CAP - p->out_len >= 2 * CTL_MESSAGE_MAX) {
        struct writer w = writer_of(p->out + p->out_len, OUT_CAP - p->out_len - KEY_MATERIAL_LEN);

        if (!t->begun) {
            struct ctl_begin m = {t->full, t->base, t->record_count};

            ctl_write_begin(&w, CTRL_SHARD, t->epoch, &m);
            t->begun = true;
        } else if (!write_next(p, &w)) {
            struct ctl_end m = {t->record_count};

            ctl_write_end(&w, CTRL_SHARD, t->epoch, &m);
            t->generated = true;
        }
        CHECK(writer_ok(&w));
        p->out_len += w.len;
    }
}

/* What was sent is wiped at once: it may have been key material. */
static bool flush(struct push *p)
{
    while (p->out_sent < p->out_len) {
        ssize_t n = send(p->fd, p->out + p->out_sent, p->out_len - p->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (n < 0) {
            disconnect(p, "send failed");
            return false;
        }
        secret_wipe(p->out + p->out_sent, (size_t)n);
        p->out_sent += (size_t)n;
    }
    p->out_sent = p->out_len = 0;
    return true;
}

void push_writable(struct push *p)
{
    if (p->fd < 0)
        return;
    start_if_due(p);
    do {
        generate(p);
    } while (flush(p) && p->txn.active && !p->txn.generated);
}

bool push_wants_write(const struct push *p)
{
    bool due = p->has_hello && !p->wait_retry && !p->status.ahead && !p->txn.active &&
               (p->need_full || p->trust_dirty || p->dirty_count != 0);

    return p->fd >= 0 && (p->out_sent < p->out_len || (p->txn.active && !p->txn.generated) || due);
}

static void send_ping(struct push *p, uint64_t now_ms)
{
    /* While a transaction is being written, the peer has enough to read. */
    p->pinged_ms = now_ms;
    if (p->txn.active && !p->txn.generated)
        return;
    if (OUT_CAP - p->out_len < CTL_MESSAGE_MAX)
        return;
    struct writer w = writer_of(p->out + p->out_len, OUT_CAP - p->out_len);
    ctl_write_bare(&w, CTL_PING, CTRL_SHARD, custody_epoch(p->custody));
    CHECK(writer_ok(&w));
    p->out_len += w.len;
    (void)flush(p);
}

/* ---- what the peer says ---- */

static bool on_hello(struct push *p, const struct ctl_head *h, struct span body)
{
    struct ctl_hello m;

    if (p->has_hello || h->shard != CTRL_SHARD || !ctl_hello_parse(body, &m) || m.worker_count != p->fd_count)
        return false;
    if (p->listener.attached != NULL && !p->listener.attached(p->listener.ctx, &m, p->fds))
        return false;
    fds_close(p);
    p->has_hello = true;
    p->need_full = true;
    p->wait_retry = false;
    p->status.attached = true;
    p->status.problem[0] = '\0';
    p->status.held_epoch = m.held_epoch;
    p->status.acked_epoch = 0;
    p->status.ahead = m.held_epoch > custody_epoch(p->custody);
    if (p->status.ahead)
        log_error("the dataplane holds a newer epoch than this store: nothing is pushed",
                  F("held", m.held_epoch), F("store", custody_epoch(p->custody)),
                  F("next", "bring back the newest store"));
    else
        log_info("dataplane attached", F("held", m.held_epoch), F("epoch", custody_epoch(p->custody)),
                 F("workers", m.worker_count));
    return true;
}

/* A dataplane that was still settling when it reconnected acks what it was settling: true, and nothing to us. */
static bool on_ack(struct push *p, const struct ctl_head *h)
{
    if (h->epoch > custody_epoch(p->custody))
        return false;
    if (!p->txn.active || !p->txn.generated || h->epoch != p->txn.epoch)
        return true;
    log_info("epoch acked", F("epoch", h->epoch), F("full", p->txn.full), F("records", p->txn.record_count));
    txn_end(&p->txn);
    p->status.acked_epoch = h->epoch;
    p->status.last_refusal = 0;
    return true;
}

static bool on_refuse(struct push *p, const struct ctl_head *h, struct span body, uint64_t now_ms)
{
    struct ctl_refuse m;

    if (!ctl_refuse_parse(body, &m) || !p->txn.active || h->epoch != p->txn.epoch)
        return false;
    bool full = p->txn.full;
    /* The peer answers while we are still writing: the rest of the transaction would be out of order for it. */
    if (!p->txn.generated)
        return false;
    log_error("the dataplane refused a transaction; it serves on what it holds",
              F("cause", ctl_refusal_name(m.cause)), F("epoch", h->epoch), F("full", full));
    txn_end(&p->txn);
    p->status.last_refusal = m.cause;
    p->status.refused_epoch = h->epoch;
    p->need_full = true;
    p->wait_retry = full; /* a refused delta is followed by a snapshot at once */
    p->retry_ms = now_ms + PUSH_RETRY_MS;
    return true;
}

static bool on_message(struct push *p, const struct ctl_head *h, struct span body, uint64_t now_ms)
{
    if (h->type != CTL_HELLO && !p->has_hello)
        return false;
    switch (h->type) {
    case CTL_HELLO:
        return on_hello(p, h, body);
    case CTL_ACK:
        return on_ack(p, h);
    case CTL_REFUSE:
        return on_refuse(p, h, body, now_ms);
    case CTL_PONG:
        return true;
    default:
        return false;
    }
}

/* Takes whole messages off the front of p->in; false: the connection is gone. */
static bool take_messages(struct push *p, uint64_t now_ms)
{
    size_t at = 0;

    for (;;) {
        struct ctl_head h;
        enum ctl_head_status s = ctl_head_parse(span_of(p->in + at, p->in_len - at), &h);

        if (s == CTL_HEAD_BAD && h.version != CTL_VERSION) {
            drop_other_version(p, h.version);
            return false;
        }
        if (s == CTL_HEAD_BAD || (s == CTL_HEAD_OK && h.len > IN_CAP)) {
            drop_garbage(p, "a message that does not parse");
            return false;
        }
        if (s == CTL_HEAD_MORE || p->in_len - at < h.len)
            break;
        if (!on_message(p, &h, span_of(p->in + at + CTL_HEAD_LEN, h.len - CTL_HEAD_LEN), now_ms)) {
            drop_garbage(p,
                         h.type == CTL_HELLO
                             ? "its HELLO is not one, or its audit rings are not laid out as this ww-ctrl's: "
                               "start versions that go together"
                             : "a message that is wrong here");
            return false;
        }
        at += h.len;
    }
    memmove(p->in, p->in + at, p->in_len - at);
    p->in_len -= at;
    return true;
}

/* Keeps the descriptors that came along, up to FDS_MAX; false: more than that, or some were cut off. */
static bool take_fds(struct push *p, struct msghdr *msg)
{
    bool ok = (msg->msg_flags & MSG_CTRUNC) == 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (p->has_hello || p->fd_count == FDS_MAX) {
                close(fd);
                ok = false;
            } else {
                p->fds[p->fd_count++] = fd;
            }
        }
    }
    return ok;
}

/* >0 bytes came; 0: nothing now; <0: the connection is gone. */
static ssize_t receive(struct push *p)
{
    union {
        char space[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        struct cmsghdr align;
    } control;
    struct iovec iov = {p->in + p->in_len, IN_CAP - p->in_len};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = sizeof control.space};
    ssize_t n = recvmsg(p->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        disconnect(p, n == 0 ? "the dataplane closed it" : "receive failed");
        return -1;
    }
    p->in_len += (size_t)n;
    if (!take_fds(p, &msg)) {
        drop_garbage(p, "descriptors that nobody asked for");
        return -1;
    }
    return n;
}

void push_readable(struct push *p, uint64_t now_ms)
{
    bool progress = false;

    for (int i = 0; p->fd >= 0 && i < READS_MAX; i++) {
        ssize_t n = receive(p);

        if (n < 0 || n == 0)
            break;
        p->heard_ms = now_ms;
        progress = true;
        if (!take_messages(p, now_ms))
            break;
    }
    if (p->fd >= 0)
        push_writable(p);
    if (progress && p->listener.progress != NULL)
        p->listener.progress(p->listener.ctx);
}

/* ---- time ---- */

static bool is_hung(const struct push *p, uint64_t now_ms)
{
    if (!p->has_hello)
        return now_ms - p->accepted_ms > PUSH_HELLO_MS;
    return now_ms - p->heard_ms > PUSH_PONG_MS;
}

void push_tick(struct push *p, uint64_t now_ms)
{
    if (p->fd < 0)
        return;
    if (is_hung(p, now_ms)) {
        p->status.dropped_hung++;
        disconnect(p, "the dataplane does not answer");
        return;
    }
    if (p->wait_retry && now_ms >= p->retry_ms)
        p->wait_retry = false;
    push_writable(p);
    if (p->fd >= 0 && p->has_hello && now_ms - p->pinged_ms >= PUSH_PING_MS)
        send_ping(p, now_ms);
}

void push_accept(struct push *p, int fd, uint64_t now_ms)
{
    if (p->fd >= 0) {
        p->status.turned_away++;
        log_warn("a second dataplane was turned away while the first one is connected");
        close(fd);
        return;
    }
    p->status.connections++;
    p->fd = fd;
    p->has_hello = false;
    p->accepted_ms = p->heard_ms = p->pinged_ms = now_ms;
    p->in_len = p->out_len = p->out_sent = 0;
}

int push_fd(const struct push *p)
{
    return p->fd;
}

void push_status(const struct push *p, struct push_status *out)
{
    *out = p->status;
}

bool push_reads_before(const struct push *p, uint64_t epoch)
{
    return p->txn.active && !p->txn.generated && p->txn.epoch < epoch;
}
