/* push against a dataplane that the test plays itself, over a socketpair. */
#include "ctrl/push.h"
#include "tests/unit/ctrl/rig.h"

#include "drivers/seal/seal.h"

#include "base/secret_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEYS_MAX 64

struct fake_version {
    uint8_t key_id[KEY_ID_LEN];
    uint32_t version;
    uint8_t state;
    size_t material_len;
    uint8_t material[KEY_MATERIAL_LEN];
};

/* What the dataplane's side has received. */
struct fake {
    int fd;
    uint8_t in[1 << 20];
    size_t in_len;
    int begins, ends, pings;
    bool full;
    uint64_t base, epoch;
    uint32_t promised, counted, ended_with;
    size_t key_count, version_count, issuer_count, jwk_count, audience_count, certificate_count;
    struct ctl_key keys[KEYS_MAX];
    char paths[KEYS_MAX][EKM_KEY_PATH_MAX + 1];
    struct fake_version versions[KEYS_MAX];
    bool closed;
};

struct stage {
    struct rig *g;
    struct custody *c;
    struct trust trust_object;
    const struct trust *trust;
    struct push *p;
    struct fake f;
    int attached, detached;
    uint16_t attached_workers;
    bool attach_answer;
    uint64_t now;
};

static bool on_attached(void *ctx, const struct ctl_hello *hello, const int *fds)
{
    struct stage *s = ctx;

    s->attached++;
    s->attached_workers = hello->worker_count;
    for (uint16_t i = 0; i < hello->worker_count; i++)
        assert_true(fcntl(fds[i], F_GETFD) >= 0);
    return s->attach_answer;
}

static void on_detached(void *ctx)
{
    ((struct stage *)ctx)->detached++;
}

static void on_changed(void *ctx, const struct key_record *r)
{
    push_changed(((struct stage *)ctx)->p, r);
}

static bool reads_before(void *ctx, uint64_t epoch)
{
    return push_reads_before(((struct stage *)ctx)->p, epoch);
}

static int stage_setup(void **state)
{
    struct stage *s = calloc(1, sizeof *s);
    void *rig;

    assert_non_null(s);
    rig_setup(&rig);
    s->g = rig;
    s->c = rig_custody_ok(s->g);
    s->trust_object = (struct trust){.refs = 1, .audience_count = 1, .audiences = {"https://ekm.example"}};
    s->trust = &s->trust_object;
    s->attach_answer = true;
    s->now = 1000;
    s->f.fd = -1;
    s->p = push_new(s->c, &s->trust,
                    (struct push_listener){.ctx = s, .attached = on_attached, .detached = on_detached});
    assert_non_null(s->p);
    custody_listen(s->c, (struct custody_listener){s, on_changed, reads_before});
    assert_true(custody_create(s->c, "v0/one", &s->g->why));
    *state = s;
    return 0;
}

static int stage_teardown(void **state)
{
    struct stage *s = *state;
    void *rig = s->g;

    push_free(s->p);
    assert_int_equal(s->trust_object.refs, 1);
    custody_close(s->c);
    if (s->f.fd >= 0)
        close(s->f.fd);
    free(s);
    return rig_teardown(&rig);
}

/* ---- the fake's side ---- */

static void fake_connect(struct stage *s)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    if (s->f.fd >= 0)
        close(s->f.fd);
    s->f = (struct fake){.fd = pair[0]};
    push_accept(s->p, pair[1], s->now);
}

static void send_with_fds(int to, struct span bytes, int fd_count)
{
    union {
        char space[CMSG_SPACE(sizeof(int) * 32)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int fds[32];

    for (int i = 0; i < fd_count; i++)
        fds[i] = memfd_create("ring", MFD_CLOEXEC);
    if (fd_count > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)fd_count);
    }
    assert_int_equal(sendmsg(to, &msg, MSG_NOSIGNAL), bytes.len);
    for (int i = 0; i < fd_count; i++)
        close(fds[i]);
}

static void fake_hello(struct stage *s, uint64_t held, uint16_t workers, int fds)
{
    uint8_t bytes[128];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct ctl_hello m = {.boot_id = {1}, .worker_count = workers, .held_epoch = held};

    ctl_write_hello(&w, CTRL_SHARD, held, &m);
    send_with_fds(s->f.fd, writer_span(&w), fds);
}

static void fake_say(struct stage *s, enum ctl_type type, uint64_t epoch)
{
    uint8_t bytes[64];
    struct writer w = writer_of(bytes, sizeof bytes);

    ctl_write_bare(&w, type, CTRL_SHARD, epoch);
    send_with_fds(s->f.fd, writer_span(&w), 0);
}

static void fake_refuse(struct stage *s, uint8_t cause, uint64_t epoch)
{
    uint8_t bytes[64];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct ctl_refuse m = {cause};

    ctl_write_refuse(&w, CTRL_SHARD, epoch, &m);
    send_with_fds(s->f.fd, writer_span(&w), 0);
}

static void fake_take_key(struct fake *f, struct span body)
{
    struct ctl_key *k = &f->keys[f->key_count];

    assert_true(ctl_key_parse(body, k));
    memcpy(f->paths[f->key_count], k->path.ptr, k->path.len);
    f->paths[f->key_count][k->path.len] = '\0';
    f->key_count++;
}

static void fake_take_version(struct fake *f, struct span body)
{
    struct fake_version *v = &f->versions[f->version_count++];
    struct ctl_key_version m;

    assert_true(ctl_key_version_parse(body, &m));
    memcpy(v->key_id, m.key_id, KEY_ID_LEN);
    v->version = m.version;
    v->state = m.state;
    v->material_len = m.material.len;
    if (m.material.len != 0)
        memcpy(v->material, secret_expose(m.material).ptr, m.material.len);
}

static void fake_take_begin(struct fake *f, const struct ctl_head *h, struct span body)
{
    struct ctl_begin m;

    assert_true(ctl_begin_parse(body, &m));
    assert_int_equal(f->begins, f->ends);
    f->begins++;
    f->full = m.full;
    f->base = m.base_epoch;
    f->epoch = h->epoch;
    f->promised = m.record_count;
    f->counted = 0;
    f->key_count = f->version_count = f->issuer_count = f->jwk_count = f->audience_count =
        f->certificate_count = 0;
}

static void fake_take(struct fake *f, const struct ctl_head *h, struct span body)
{
    struct ctl_end end;

    if (h->type == CTL_PING) {
        f->pings++;
        return;
    }
    if (h->type == CTL_BEGIN) {
        fake_take_begin(f, h, body);
        return;
    }
    assert_int_equal(h->epoch, f->epoch);
    if (h->type == CTL_END) {
        assert_true(ctl_end_parse(body, &end));
        assert_int_equal(end.record_count, f->counted);
        assert_int_equal(f->promised, f->counted);
        f->ends++;
        return;
    }
    f->counted++;
    f->issuer_count += h->type == CTL_ISSUER;
    f->jwk_count += h->type == CTL_JWK;
    f->audience_count += h->type == CTL_AUDIENCE;
    f->certificate_count += h->type == CTL_CERTIFICATE;
    if (h->type == CTL_KEY)
        fake_take_key(f, body);
    if (h->type == CTL_KEY_VERSION)
        fake_take_version(f, body);
}

static bool fake_read(struct fake *f)
{
    ssize_t n = recv(f->fd, f->in + f->in_len, sizeof f->in - f->in_len, MSG_DONTWAIT);
    size_t at = 0;
    struct ctl_head h;

    if (n == 0)
        f->closed = true;
    if (n <= 0)
        return false;
    f->in_len += (size_t)n;
    while (ctl_head_parse(span_of(f->in + at, f->in_len - at), &h) == CTL_HEAD_OK &&
           f->in_len - at >= h.len) {
        fake_take(f, &h, span_of(f->in + at + CTL_HEAD_LEN, h.len - CTL_HEAD_LEN));
        at += h.len;
    }
    memmove(f->in, f->in + at, f->in_len - at);
    f->in_len -= at;
    return true;
}

/* Both sides until nothing moves. */
static void settle(struct stage *s)
{
    bool moved = true;

    while (moved) {
        if (push_fd(s->p) >= 0)
            push_readable(s->p, s->now);
        push_writable(s->p);
        moved = fake_read(&s->f);
    }
}

static struct push_status status_of(struct stage *s)
{
    struct push_status st;

    push_status(s->p, &st);
    return st;
}

static void attach(struct stage *s)
{
    fake_connect(s);
    fake_hello(s, 0, 1, 1);
    settle(s);
}

static void attach_and_ack(struct stage *s)
{
    attach(s);
    fake_say(s, CTL_ACK, s->f.epoch);
    settle(s);
}

/* ---- cases ---- */

static void nothing_is_sent_before_hello(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    settle(s);
    assert_int_equal(s->f.begins, 0);
    assert_false(status_of(s).attached);
}

static void hello_is_answered_by_a_full_snapshot(void **state)
{
    struct stage *s = *state;
    uint8_t material[KEY_MATERIAL_LEN];
    const struct key_record *r = rig_key(s->c, "v0/one");

    attach(s);
    assert_int_equal(s->f.ends, 1);
    assert_true(s->f.full);
    assert_int_equal(s->f.epoch, custody_epoch(s->c));
    assert_int_equal(s->f.key_count, 1);
    assert_string_equal(s->f.paths[0], "v0/one");
    assert_int_equal(s->f.keys[0].primary_version, 1);
    assert_int_equal(s->f.version_count, 1);
    assert_int_equal(s->f.audience_count, 1);
    custody_material(s->c, r, &r->versions[0], material);
    assert_memory_equal(s->f.versions[0].material, material, sizeof material);
}

static void the_rings_of_hello_are_handed_on(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    fake_hello(s, 0, 3, 3);
    settle(s);
    assert_int_equal(s->attached, 1);
    assert_int_equal(s->attached_workers, 3);
}

static void fewer_rings_than_workers_end_the_connection(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    fake_hello(s, 0, 3, 2);
    settle(s);
    assert_true(s->f.closed);
    assert_int_equal(status_of(s).dropped_garbage, 1);
}

static void rings_that_are_not_taken_end_the_connection(void **state)
{
    struct stage *s = *state;

    s->attach_answer = false;
    attach(s);
    assert_true(s->f.closed);
    assert_int_equal(s->f.begins, 0);
}

static void an_ack_is_known(void **state)
{
    struct stage *s = *state;

    attach(s);
    assert_int_equal(status_of(s).acked_epoch, 0);
    fake_say(s, CTL_ACK, s->f.epoch);
    settle(s);
    assert_int_equal(status_of(s).acked_epoch, custody_epoch(s->c));
}

static void a_change_follows_as_a_delta_of_what_changed(void **state)
{
    struct stage *s = *state;
    uint64_t before;

    assert_true(custody_create(s->c, "v0/two", &s->g->why));
    attach_and_ack(s);
    before = s->f.epoch;
    assert_true(custody_rotate(s->c, "v0/two", &s->g->why));
    settle(s);
    assert_int_equal(s->f.ends, 2);
    assert_false(s->f.full);
    assert_int_equal(s->f.base, before);
    assert_int_equal(s->f.epoch, custody_epoch(s->c));
    assert_int_equal(s->f.key_count, 1);
    assert_string_equal(s->f.paths[0], "v0/two");
    assert_int_equal(s->f.keys[0].primary_version, 2);
    assert_int_equal(s->f.version_count, 1);
    assert_int_equal(s->f.versions[0].version, 2);
    assert_int_equal(s->f.audience_count, 0);
}

static void a_destruction_follows_as_a_delta_without_material(void **state)
{
    struct stage *s = *state;
    struct rig_clock k = {{.unix_s = 1700000000, .boot_ms = 5000, .boot_id = {1}}};
    bool already;

    custody_set_clock(s->c, rig_clock_read, &k);
    assert_true(custody_switch(s->c, "v0/one", 0, false, &already, &s->g->why) &&
                custody_destroy(s->c, "v0/one", 0, 86400, &already, &s->g->why));
    attach_and_ack(s);
    assert_int_equal(s->f.keys[0].state, KEY_STATE_DESTROY_SCHEDULED);
    assert_int_equal(s->f.versions[0].material_len, KEY_MATERIAL_LEN);
    rig_clock_pass(&k, 86400);
    custody_tick(s->c);
    settle(s);
    assert_false(s->f.full);
    assert_int_equal(s->f.keys[0].state, KEY_STATE_DESTROYED);
    assert_int_equal(s->f.version_count, 1);
    assert_int_equal(s->f.versions[0].state, KEY_STATE_DESTROYED);
    assert_int_equal(s->f.versions[0].material_len, 0);
}

static void a_change_of_trust_is_sent_whole_and_without_keys(void **state)
{
    struct stage *s = *state;
    const uint8_t digest[MBED_DIGEST_LEN] = {1};

    attach_and_ack(s);
    assert_true(custody_note_trust(s->c, digest, true, &s->g->why));
    settle(s);
    assert_false(s->f.full);
    assert_int_equal(s->f.audience_count, 1);
    assert_int_equal(s->f.key_count, 0);
}

static void changes_while_a_transaction_is_not_acked_wait_and_go_together(void **state)
{
    struct stage *s = *state;
    bool already;

    attach(s);
    uint64_t first = s->f.epoch;
    assert_true(custody_switch(s->c, "v0/one", 0, false, &already, &s->g->why));
    assert_true(custody_create(s->c, "v0/two", &s->g->why));
    settle(s);
    assert_int_equal(s->f.begins, 1);
    fake_say(s, CTL_ACK, first);
    settle(s);
    assert_int_equal(s->f.begins, 2);
    assert_int_equal(s->f.base, first);
    assert_int_equal(s->f.epoch, custody_epoch(s->c));
    assert_int_equal(s->f.key_count, 2);
    assert_int_equal(s->f.version_count, 1); /* v0/one's did not change */
}

static void a_snapshot_holds_its_epoch_though_keys_change_under_it(void **state)
{
    struct stage *s = *state;
    bool already;

    for (int i = 0; i < 40; i++) {
        char path[32];

        snprintf(path, sizeof path, "v0/more/%d", i);
        assert_true(custody_create(s->c, path, &s->g->why));
    }
    fake_connect(s);
    fake_hello(s, 0, 1, 1);
    push_readable(s->p, s->now); /* begun, all in flight */
    uint64_t epoch = custody_epoch(s->c);
    assert_true(custody_switch(s->c, "v0/more/39", 0, false, &already, &s->g->why));
    assert_true(custody_rotate(s->c, "v0/one", &s->g->why));
    while (fake_read(&s->f))
        continue;
    assert_int_equal(s->f.epoch, epoch);
    assert_int_equal(s->f.key_count, 41);
    for (size_t i = 0; i < s->f.key_count; i++) {
        assert_int_equal(s->f.keys[i].state, KEY_STATE_ENABLED);
        assert_int_equal(s->f.keys[i].primary_version, 1);
    }
}

/* Each is 16 KB on the wire. */
static void make_large_keys(struct stage *s, int count)
{
    struct policy p = {.deny_status = 403, .reasons = 1, .caller_count = EKM_CALLERS_PER_KEY};
    char callers[EKM_CALLERS_PER_KEY][EKM_CALLER_MAX + 1];

    for (int i = 0; i < EKM_CALLERS_PER_KEY; i++) {
        snprintf(callers[i], sizeof callers[i], "%0244d@b.ex", i);
        p.callers[i] = callers[i];
    }
    for (int i = 0; i < count; i++) {
        char path[32];

        snprintf(path, sizeof path, "v0/more/%d", i);
        assert_true(custody_create(s->c, path, &s->g->why));
        assert_true(custody_set_policy(s->c, path, &p, &s->g->why));
    }
}

static void a_snapshot_larger_than_every_buffer_arrives_whole(void **state)
{
    struct stage *s = *state;

    make_large_keys(s, 60);
    attach(s);
    assert_int_equal(s->f.ends, 1);
    assert_int_equal(s->f.key_count, 61);
    assert_int_equal(s->f.version_count, 61);
    assert_int_equal(s->f.keys[60].caller_count, EKM_CALLERS_PER_KEY);
}

/* A snapshot under way holds records that only the root before opens; with its last record that root is gone. */
static void the_root_before_is_forgotten_with_the_last_record_that_needs_it(void **state)
{
    struct stage *s = *state;
    uint8_t root[2][SEAL_SRK_LEN];
    struct slots slots = *custody_slots(s->c);

    memset(root[0], 0xa5, sizeof root[0]);
    memset(root[1], 0xb6, sizeof root[1]);
    make_large_keys(s, 60);
    fake_connect(s);
    fake_hello(s, 0, 1, 1);
    push_readable(s->p, s->now); /* begun, and more than the buffers hold */
    assert_true(custody_reroot(s->c, root[0], &slots, &s->g->why));
    custody_tick(s->c);
    assert_true(custody_has_former(s->c));
    assert_false(custody_reroot(s->c, root[1], &slots, &s->g->why));
    assert_string_equal(s->g->why.code, "root_in_use");
    settle(s);
    assert_int_equal(s->f.version_count, 61);
    custody_tick(s->c);
    assert_false(custody_has_former(s->c));
    assert_true(custody_reroot(s->c, root[1], &slots, &s->g->why));
}

static void a_refused_delta_is_followed_by_a_snapshot(void **state)
{
    struct stage *s = *state;

    attach_and_ack(s);
    assert_true(custody_rotate(s->c, "v0/one", &s->g->why));
    settle(s);
    fake_refuse(s, CTL_REFUSE_EPOCH_GAP, s->f.epoch);
    settle(s);
    assert_int_equal(s->f.begins, 3);
    assert_true(s->f.full);
    assert_int_equal(s->f.epoch, custody_epoch(s->c));
    assert_int_equal(status_of(s).last_refusal, CTL_REFUSE_EPOCH_GAP);
    fake_say(s, CTL_ACK, s->f.epoch);
    settle(s);
    assert_int_equal(status_of(s).last_refusal, 0);
}

static void a_refused_snapshot_is_not_repeated_at_once(void **state)
{
    struct stage *s = *state;

    attach(s);
    fake_refuse(s, CTL_REFUSE_FULL, s->f.epoch);
    settle(s);
    assert_int_equal(s->f.begins, 1);
    assert_true(status_of(s).attached);
    s->now += PUSH_RETRY_MS - 1;
    fake_say(s, CTL_PONG, 0);
    settle(s);
    push_tick(s->p, s->now);
    settle(s);
    assert_int_equal(s->f.begins, 1);
    s->now += 1;
    push_tick(s->p, s->now);
    settle(s);
    assert_int_equal(s->f.begins, 2);
    assert_true(s->f.full);
}

static void a_change_after_a_refused_snapshot_is_tried_at_once(void **state)
{
    struct stage *s = *state;

    attach(s);
    fake_refuse(s, CTL_REFUSE_CERTIFICATE, s->f.epoch);
    settle(s);
    assert_true(custody_rotate(s->c, "v0/one", &s->g->why));
    settle(s);
    assert_int_equal(s->f.begins, 2);
    assert_true(s->f.full);
}

static void a_dataplane_that_holds_a_newer_epoch_is_sent_nothing(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    fake_hello(s, custody_epoch(s->c) + 1, 1, 1);
    settle(s);
    assert_int_equal(s->f.begins, 0);
    assert_true(status_of(s).ahead);
    assert_true(custody_rotate(s->c, "v0/one", &s->g->why));
    settle(s);
    assert_int_equal(s->f.begins, 0);
}

static void a_reconnect_gets_a_full_snapshot_again(void **state)
{
    struct stage *s = *state;

    attach_and_ack(s);
    close(s->f.fd);
    s->f.fd = -1;
    push_readable(s->p, s->now);
    assert_int_equal(push_fd(s->p), -1);
    assert_int_equal(s->detached, 1);
    assert_int_equal(status_of(s).acked_epoch, 0);
    fake_connect(s);
    fake_hello(s, custody_epoch(s->c), 1, 1);
    settle(s);
    assert_true(s->f.full);
    assert_int_equal(s->f.key_count, 1);
}

static void a_second_dataplane_is_turned_away_while_the_first_lives(void **state)
{
    struct stage *s = *state;
    int pair[2];
    char byte;

    attach_and_ack(s);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    push_accept(s->p, pair[1], s->now);
    assert_int_equal(recv(pair[0], &byte, 1, 0), 0);
    close(pair[0]);
    assert_int_equal(status_of(s).turned_away, 1);
    assert_true(status_of(s).attached);
}

static void a_dataplane_of_another_ctl_version_is_turned_away_by_name_before_anything_is_pushed(void **state)
{
    struct stage *s = *state;
    uint8_t head[CTL_HEAD_LEN + 26] = {CTL_VERSION + 1, CTL_HELLO}, byte;

    head[7] = sizeof head;
    fake_connect(s);
    assert_int_equal(send(s->f.fd, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    settle(s);
    assert_int_equal(push_fd(s->p), -1);
    assert_true(recv(s->f.fd, &byte, 1, 0) <= 0);
    assert_non_null(strstr(status_of(s).problem, "it speaks ctl version 2, and this ww-ctrl version 1"));
    close(s->f.fd);
    s->f.fd = -1;
    attach_and_ack(s);
    assert_string_equal(status_of(s).problem, "");
}

static void garbage_ends_the_connection_and_the_next_one_works(void **state)
{
    struct stage *s = *state;
    uint64_t seed = 7;

    for (int round = 0; round < 200; round++) {
        uint8_t bytes[300];
        size_t len = 1 + rig_random(&seed) % sizeof bytes;

        fake_connect(s);
        if (round % 2 == 1) {
            fake_hello(s, 0, 1, 1);
            settle(s);
        }
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rig_random(&seed);
        if (round % 3 == 0)
            bytes[0] = CTL_VERSION;
        (void)!send(s->f.fd, bytes, len, MSG_NOSIGNAL);
        settle(s);
        close(s->f.fd);
        s->f.fd = -1;
        if (push_fd(s->p) >= 0)
            push_readable(s->p, s->now);
        assert_int_equal(push_fd(s->p), -1);
    }
    attach_and_ack(s);
    assert_int_equal(status_of(s).acked_epoch, custody_epoch(s->c));
}

static void messages_that_only_ctrl_may_send_end_the_connection(void **state)
{
    struct stage *s = *state;

    attach_and_ack(s);
    fake_say(s, CTL_PING, 0);
    settle(s);
    assert_true(s->f.closed);
}

static void an_ack_of_an_epoch_that_does_not_exist_ends_the_connection(void **state)
{
    struct stage *s = *state;

    attach(s);
    fake_say(s, CTL_ACK, custody_epoch(s->c) + 1);
    settle(s);
    assert_true(s->f.closed);
    assert_int_equal(status_of(s).acked_epoch, 0);
}

static void an_ack_of_an_older_epoch_acks_nothing(void **state)
{
    struct stage *s = *state;

    attach(s);
    fake_say(s, CTL_ACK, custody_epoch(s->c) - 1);
    settle(s);
    assert_false(s->f.closed);
    assert_int_equal(status_of(s).acked_epoch, 0);
}

static void a_message_before_hello_ends_the_connection(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    fake_say(s, CTL_ACK, 1);
    settle(s);
    assert_true(s->f.closed);
}

static void descriptors_after_hello_end_the_connection_and_are_not_kept(void **state)
{
    struct stage *s = *state;
    uint8_t bytes[64];
    struct writer w = writer_of(bytes, sizeof bytes);

    attach_and_ack(s);
    int before = memfd_create("probe", 0);
    close(before);
    ctl_write_bare(&w, CTL_PONG, CTRL_SHARD, 0);
    send_with_fds(s->f.fd, writer_span(&w), 5);
    settle(s);
    assert_true(s->f.closed);
    int after = memfd_create("probe", 0);
    assert_true(after <= before);
    close(after);
}

static void more_descriptors_than_workers_can_be_end_the_connection(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    fake_hello(s, 0, WORKERS_MAX, WORKERS_MAX + 1);
    settle(s);
    assert_true(s->f.closed);
    assert_int_equal(s->attached, 0);
}

static void a_connection_without_hello_is_dropped_in_time(void **state)
{
    struct stage *s = *state;

    fake_connect(s);
    push_tick(s->p, s->now + PUSH_HELLO_MS);
    assert_true(push_fd(s->p) >= 0);
    push_tick(s->p, s->now + PUSH_HELLO_MS + 1);
    assert_int_equal(push_fd(s->p), -1);
    assert_int_equal(status_of(s).dropped_hung, 1);
}

static void a_silent_dataplane_is_pinged_and_then_dropped(void **state)
{
    struct stage *s = *state;

    attach_and_ack(s);
    push_tick(s->p, s->now + PUSH_PING_MS);
    fake_read(&s->f);
    assert_int_equal(s->f.pings, 1);
    push_tick(s->p, s->now + PUSH_PONG_MS + 1);
    assert_int_equal(push_fd(s->p), -1);
    assert_int_equal(status_of(s).dropped_hung, 1);
}

static void a_pong_keeps_the_connection(void **state)
{
    struct stage *s = *state;

    attach_and_ack(s);
    s->now += PUSH_PONG_MS;
    fake_say(s, CTL_PONG, s->f.epoch);
    settle(s);
    push_tick(s->p, s->now + PUSH_PONG_MS);
    assert_true(push_fd(s->p) >= 0);
}

static void a_dataplane_that_does_not_read_delays_nothing_but_itself(void **state)
{
    struct stage *s = *state;
    bool already;

    make_large_keys(s, 20);
    fake_connect(s);
    int small = 1;
    setsockopt(push_fd(s->p), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    fake_hello(s, 0, 1, 1);
    push_readable(s->p, s->now);
    assert_true(push_wants_write(s->p));
    assert_true(custody_switch(s->c, "v0/one", 0, false, &already, &s->g->why));
    settle(s);
    assert_int_equal(s->f.ends, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_sent_before_hello),
        CASE(hello_is_answered_by_a_full_snapshot),
        CASE(the_rings_of_hello_are_handed_on),
        CASE(fewer_rings_than_workers_end_the_connection),
        CASE(rings_that_are_not_taken_end_the_connection),
        CASE(an_ack_is_known),
        CASE(a_change_follows_as_a_delta_of_what_changed),
        CASE(a_destruction_follows_as_a_delta_without_material),
        CASE(a_change_of_trust_is_sent_whole_and_without_keys),
        CASE(changes_while_a_transaction_is_not_acked_wait_and_go_together),
        CASE(a_snapshot_holds_its_epoch_though_keys_change_under_it),
        CASE(a_snapshot_larger_than_every_buffer_arrives_whole),
        CASE(the_root_before_is_forgotten_with_the_last_record_that_needs_it),
        CASE(a_refused_delta_is_followed_by_a_snapshot),
        CASE(a_refused_snapshot_is_not_repeated_at_once),
        CASE(a_change_after_a_refused_snapshot_is_tried_at_once),
        CASE(a_dataplane_that_holds_a_newer_epoch_is_sent_nothing),
        CASE(a_reconnect_gets_a_full_snapshot_again),
        CASE(a_second_dataplane_is_turned_away_while_the_first_lives),
        CASE(a_dataplane_of_another_ctl_version_is_turned_away_by_name_before_anything_is_pushed),
        CASE(garbage_ends_the_connection_and_the_next_one_works),
        CASE(messages_that_only_ctrl_may_send_end_the_connection),
        CASE(an_ack_of_an_epoch_that_does_not_exist_ends_the_connection),
        CASE(an_ack_of_an_older_epoch_acks_nothing),
        CASE(a_message_before_hello_ends_the_connection),
        CASE(descriptors_after_hello_end_the_connection_and_are_not_kept),
        CASE(more_descriptors_than_workers_can_be_end_the_connection),
        CASE(a_connection_without_hello_is_dropped_in_time),
        CASE(a_silent_dataplane_is_pinged_and_then_dropped),
        CASE(a_pong_keeps_the_connection),
        CASE(a_dataplane_that_does_not_read_delays_nothing_but_itself),
    };

    return RUN_TESTS("ctrl push", tests);
}
