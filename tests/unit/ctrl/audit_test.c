#include "ctrl/audit/audit.h"
#include "tests/unit/ctrl/rig.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 64

struct worker {
    struct audit_ring *ring;
    int fd;
};

static const uint8_t boot_one[16] = {1}, boot_two[16] = {2};
static struct refusal why;

static struct worker worker_new(const uint8_t boot[16], uint32_t number)
{
    struct worker w;

    w.ring = audit_ring_create(CAPACITY, number, boot, &w.fd);
    assert_non_null(w.ring);
    return w;
}

static void worker_free(struct worker *w)
{
    audit_ring_unmap(w->ring);
    close(w->fd);
}

static void work(struct worker *w, int count)
{
    struct audit_record r = {.time_unix_us = 1700000000000000,
                             .status = 200,
                             .verdict = REASON_EKM_WRAP_OK,
                             .op = AUDIT_OP_WRAP,
                             .caller_len = 3,
                             .caller = "a@b"};

    for (int i = 0; i < count; i++)
        audit_put(w->ring, &r);
}

static struct audit *open_sized(struct rig *g, uint64_t segment_max)
{
    struct audit *a = audit_open(g->dir, segment_max, &why);

    if (a == NULL)
        fail_msg("%s", why.text);
    return a;
}

static struct audit *open_ok(struct rig *g)
{
    return open_sized(g, AUDIT_SEGMENT_MAX);
}

static bool attach(struct audit *a, const uint8_t boot[16], struct worker *workers, uint16_t count)
{
    struct ctl_hello hello = {.worker_count = count};
    int fds[WORKERS_MAX];

    memcpy(hello.boot_id, boot, 16);
    for (uint16_t i = 0; i < count; i++)
        fds[i] = workers[i].fd;
    return audit_attach(a, &hello, fds);
}

static void drain(struct audit *a)
{
    while (audit_drain(a, 16))
        continue;
}

/* ---- everything in the files, in order ---- */

struct all {
    size_t count, records, losses, lost, closed, unknown, positions;
    uint64_t next[2]; /* by boot: the sequence number that comes next when nothing is doubled or skipped */
    bool in_order;
};

static void look(struct all *all, const struct audit_entry *e)
{
    uint64_t *next = &all->next[e->boot_id[0] == 2];

    all->count++;
    if (e->kind == AUDIT_RECORD || e->kind == AUDIT_LOSS) {
        all->in_order &= e->seq == *next;
        *next = e->seq + (e->kind == AUDIT_LOSS ? e->count : 1);
    }
    all->records += e->kind == AUDIT_RECORD;
    all->losses += e->kind == AUDIT_LOSS;
    all->lost += e->kind == AUDIT_LOSS ? e->count : 0;
    all->closed += e->kind == AUDIT_CLOSED;
    all->unknown += e->kind == AUDIT_UNKNOWN;
    all->positions += e->kind == AUDIT_POSITION;
}

static struct all read_all(struct rig *g)
{
    struct all all = {.next = {1, 1}, .in_order = true};
    uint8_t raw[AUDIT_ENTRY_LEN];
    struct audit_entry e;
    char path[128];

    for (int n = 1;; n++) {
        snprintf(path, sizeof path, "%s/audit-%010d.wwa", g->dir, n);
        FILE *f = fopen(path, "r");

        if (f == NULL)
            return all;
        while (fread(raw, 1, sizeof raw, f) == sizeof raw) {
            assert_true(audit_entry_decode(raw, &e));
            look(&all, &e);
        }
        fclose(f);
    }
}

/* ---- cases ---- */

static void an_entry_comes_back_as_it_was(void **state)
{
    struct audit_entry e = {.kind = AUDIT_RECORD,
                            .worker = 3,
                            .boot_id = {9, 8},
                            .seq = 77,
                            .time_unix_us = 12345678901,
                            .verdict = "ekm_wrap_ok"};
    struct audit_entry back;
    uint8_t raw[AUDIT_ENTRY_LEN];

    (void)state;
    e.record = (struct audit_record){.seq = 77,
                                     .time_unix_us = 12345678901,
                                     .key_id = {5},
                                     .version = 6,
                                     .latency_ns = 700,
                                     .status = 403,
                                     .access_reason = 1u << 31,
                                     .op = AUDIT_OP_UNWRAP,
                                     .flags = 5,
                                     .caller_len = 3,
                                     .caller = "a@b"};
    audit_entry_encode(&e, raw);
    assert_true(audit_entry_decode(raw, &back));
    assert_memory_equal(&e, &back, sizeof e);
}

/* RFC 3720 B.4, a bit at a time. */
static uint32_t slow_sum(uint32_t crc, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < 8 * len; i++)
        crc = crc >> 1 ^ (0x82f63b78 & -((crc ^ (uint32_t)(bytes[i / 8] >> i % 8)) & 1u));
    return crc;
}

static void the_sum_of_an_entry_is_crc32c(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (int round = 0; round < 200; round++) {
        uint8_t raw[AUDIT_ENTRY_LEN];
        struct audit_entry e = {.kind = AUDIT_RECORD};

        for (size_t i = 0; i < sizeof e.boot_id; i++)
            e.boot_id[i] = (uint8_t)rig_random(&seed);
        e.worker = (uint16_t)rig_random(&seed);
        e.seq = rig_random(&seed);
        e.record.latency_ns = (uint32_t)rig_random(&seed);
        audit_entry_encode(&e, raw);
        uint32_t sum = ~slow_sum(slow_sum(~0u, raw, 4), raw + 8, sizeof raw - 8);
        assert_int_equal(__builtin_bswap32(*(const uint32_t *)(const void *)(raw + 4)), sum);
    }
}

static void any_flipped_bit_of_an_entry_is_seen(void **state)
{
    struct audit_entry e = {.kind = AUDIT_LOSS, .seq = 5, .count = 9};
    uint8_t raw[AUDIT_ENTRY_LEN];

    (void)state;
    audit_entry_encode(&e, raw);
    for (size_t bit = 0; bit < sizeof raw * 8; bit++) {
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(audit_entry_decode(raw, &e));
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void records_arrive_once_and_in_order(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_ok(*state);

    assert_true(attach(a, boot_one, &w, 1));
    for (int i = 0; i < 10; i++) {
        work(&w, 20);
        drain(a);
    }
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(*state);
    assert_int_equal(all.records, 200);
    assert_true(all.in_order);
    assert_int_equal(all.losses, 0);
}

static void a_full_ring_leaves_one_loss_entry_with_the_count(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_ok(*state);

    assert_true(attach(a, boot_one, &w, 1));
    work(&w, CAPACITY + 30);
    drain(a);
    work(&w, 1);
    drain(a);
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(*state);
    assert_int_equal(all.records, CAPACITY + 1);
    assert_int_equal(all.losses, 1);
    assert_int_equal(all.lost, 30);
    assert_true(all.in_order);
}

static void a_new_ctrl_goes_on_where_the_last_one_stopped(void **state)
{
    struct worker w = worker_new(boot_one, 0);

    for (int i = 0; i < 5; i++) {
        struct audit *a = open_ok(*state);

        assert_true(attach(a, boot_one, &w, 1));
        work(&w, 7);
        drain(a);
        work(&w, 3); /* not drained by this one */
        audit_close(a);
    }
    struct audit *a = open_ok(*state);
    assert_true(attach(a, boot_one, &w, 1));
    drain(a);
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(*state);
    assert_int_equal(all.records, 50);
    assert_true(all.in_order);
}

static void a_record_that_was_written_but_not_released_is_not_written_again(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_ok(*state);
    struct audit_status s;

    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 10);
    drain(a);
    audit_close(a);
    /* As if ctrl had died between the two: the ring still holds the last four. */
    atomic_store(&w.ring->tail, atomic_load(&w.ring->tail) - 4);
    a = open_ok(*state);
    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 1);
    drain(a);
    audit_status(a, &s);
    assert_int_equal(s.duplicates_skipped, 4);
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(*state);
    assert_int_equal(all.records, 11);
    assert_true(all.in_order);
}

static void hear(void *ctx, const struct audit_record *r)
{
    uint64_t *last = ctx;

    assert_int_equal(r->seq, *last + 1);
    *last = r->seq;
}

static void a_listener_hears_each_record_once_and_none_that_was_written_before(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_ok(*state);
    uint64_t heard = 0;

    audit_listen(a, hear, &heard);
    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 40);
    drain(a);
    assert_int_equal(heard, 40);
    audit_close(a);
    atomic_store(&w.ring->tail, atomic_load(&w.ring->tail) - 4);
    a = open_ok(*state);
    audit_listen(a, hear, &heard);
    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 1);
    drain(a);
    assert_int_equal(heard, 41);
    audit_close(a);
    worker_free(&w);
}

static void a_torn_entry_at_the_end_is_cut_off_and_written_again(void **state)
{
    struct rig *g = *state;
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_ok(g);
    char path[128];

    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 10);
    drain(a);
    audit_close(a);
    snprintf(path, sizeof path, "%s/audit-0000000001.wwa", g->dir);
    assert_int_equal(truncate(path, 7 * AUDIT_ENTRY_LEN + 50), 0);
    atomic_store(&w.ring->tail, 7);
    a = open_ok(g);
    assert_true(attach(a, boot_one, &w, 1));
    drain(a);
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(g);
    assert_int_equal(all.records, 10);
    assert_true(all.in_order);
}

static void segments_follow_one_another_and_the_position_is_carried_over(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_sized(*state, 10 * AUDIT_ENTRY_LEN);
    struct audit_status s;

    assert_true(attach(a, boot_one, &w, 1));
    for (int i = 0; i < 20; i++) {
        work(&w, 7);
        drain(a);
    }
    audit_status(a, &s);
    assert_true(s.segments > 5);
    audit_close(a);
    a = open_sized(*state, 10 * AUDIT_ENTRY_LEN);
    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 1);
    drain(a);
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(*state);
    assert_int_equal(all.records, 141);
    assert_true(all.positions > 5);
    assert_true(all.in_order);
}

static void a_dead_dataplanes_ring_is_drained_to_its_end(void **state)
{
    struct worker one = worker_new(boot_one, 0), two = worker_new(boot_two, 0);
    struct audit *a = open_ok(*state);

    assert_true(attach(a, boot_one, &one, 1));
    work(&one, 40);
    worker_free(&one); /* its process died; ctrl has the ring mapped */
    assert_true(attach(a, boot_two, &two, 1));
    work(&two, 5);
    drain(a);
    audit_close(a);
    worker_free(&two);
    struct all all = read_all(*state);
    assert_int_equal(all.records, 45);
    assert_int_equal(all.closed, 1);
    assert_int_equal(all.unknown, 0);
    assert_true(all.in_order);
}

static void what_a_dead_dataplane_dropped_last_is_counted(void **state)
{
    struct worker one = worker_new(boot_one, 0), two = worker_new(boot_two, 0);
    struct audit *a = open_ok(*state);

    assert_true(attach(a, boot_one, &one, 1));
    work(&one, CAPACITY + 9);
    worker_free(&one);
    assert_true(attach(a, boot_two, &two, 1));
    audit_close(a);
    worker_free(&two);
    struct all all = read_all(*state);
    assert_int_equal(all.records, CAPACITY);
    assert_int_equal(all.lost, 9);
}

static void a_ring_that_went_away_while_ctrl_was_down_is_said_to_be_unknown(void **state)
{
    struct worker one = worker_new(boot_one, 0), two = worker_new(boot_two, 0);
    struct audit *a = open_ok(*state);

    assert_true(attach(a, boot_one, &one, 1));
    work(&one, 5);
    drain(a);
    audit_close(a);
    work(&one, 5);
    worker_free(&one);
    for (int i = 0; i < 2; i++) { /* said once, not at every start */
        a = open_ok(*state);
        assert_true(attach(a, boot_two, &two, 1));
        audit_close(a);
    }
    worker_free(&two);
    struct all all = read_all(*state);
    assert_int_equal(all.unknown, 1);
    assert_int_equal(all.closed, 0);
}

static void workers_are_kept_apart(void **state)
{
    struct worker w[3] = {worker_new(boot_one, 0), worker_new(boot_one, 1), worker_new(boot_one, 2)};
    struct audit *a = open_ok(*state);
    struct audit_status s;

    assert_true(attach(a, boot_one, w, 3));
    for (int i = 0; i < 3; i++)
        work(&w[i], 10 * (i + 1));
    drain(a);
    audit_status(a, &s);
    assert_int_equal(s.written, 60);
    assert_int_equal(s.lost, 0);
    audit_close(a);
    for (int i = 0; i < 3; i++)
        worker_free(&w[i]);
}

static void the_same_dataplane_again_is_no_new_ring(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_ok(*state);
    struct audit_status s;

    for (int i = 0; i < 40; i++) {
        assert_true(attach(a, boot_one, &w, 1));
        work(&w, 2);
        drain(a);
    }
    audit_status(a, &s);
    assert_int_equal(s.rings, 1);
    assert_int_equal(s.written, 80);
    audit_close(a);
    worker_free(&w);
}

static void rings_of_another_boot_or_order_are_refused(void **state)
{
    struct worker w[2] = {worker_new(boot_one, 1), worker_new(boot_one, 0)};
    struct audit *a = open_ok(*state);

    assert_false(attach(a, boot_two, &w[1], 1));
    assert_false(attach(a, boot_one, w, 2));
    audit_close(a);
    worker_free(&w[0]);
    worker_free(&w[1]);
}

static void a_descriptor_that_is_no_ring_is_refused(void **state)
{
    struct audit *a = open_ok(*state);
    struct worker w = {NULL, open("/dev/zero", O_RDWR)};

    assert_false(attach(a, boot_one, &w, 1));
    close(w.fd);
    audit_close(a);
}

static void a_ring_that_lies_is_given_up_and_the_others_go_on(void **state)
{
    struct worker w[2] = {worker_new(boot_one, 0), worker_new(boot_one, 1)};
    struct audit *a = open_ok(*state);
    struct audit_status s;

    assert_true(attach(a, boot_one, w, 2));
    atomic_store(&w[0].ring->head, UINT64_C(1) << 40);
    work(&w[1], 5);
    drain(a);
    audit_status(a, &s);
    assert_int_equal(s.bad_rings, 1);
    assert_int_equal(s.rings, 1);
    assert_int_equal(s.written, 5);
    audit_close(a);
    worker_free(&w[0]);
    worker_free(&w[1]);
}

static void counters_are_those_of_the_attached_dataplane_s_workers_and_housekeeper(void **state)
{
    struct worker w[2] = {worker_new(boot_one, 0), worker_new(boot_one, 1)}, after = worker_new(boot_two, 0);
    struct audit *a = open_ok(*state);

    assert_null(audit_counters(a, 0));
    assert_null(audit_house_counters(a));
    assert_true(attach(a, boot_one, w, 2));
    count_by(&w[0].ring->counters, REASON_EKM_WRAP_OK, 3);
    count_by(&w[1].ring->counters, REASON_EKM_WRAP_OK, 4);
    count_by(&w[0].ring->house, REASON_CTL_REFUSED, 5);
    assert_int_equal(counter_read(audit_counters(a, 0), REASON_EKM_WRAP_OK), 3);
    assert_int_equal(counter_read(audit_counters(a, 1), REASON_EKM_WRAP_OK), 4);
    assert_int_equal(counter_read(audit_house_counters(a), REASON_CTL_REFUSED), 5);
    assert_null(audit_counters(a, 2));
    assert_true(attach(a, boot_two, &after, 1));
    assert_int_equal(counter_read(audit_counters(a, 0), REASON_EKM_WRAP_OK), 0);
    assert_int_equal(counter_read(audit_house_counters(a), REASON_CTL_REFUSED), 0);
    assert_null(audit_counters(a, 1));
    audit_close(a);
    worker_free(&w[0]);
    worker_free(&w[1]);
    worker_free(&after);
}

static void note_seq(void *ctx, const struct audit_entry *e)
{
    uint64_t *at = ctx;

    at[++at[0]] = e->seq;
}

static void tail_gives_the_last_entries_oldest_first_over_two_segments(void **state)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit *a = open_sized(*state, 10 * AUDIT_ENTRY_LEN);
    uint64_t seen[64] = {0};

    assert_true(attach(a, boot_one, &w, 1));
    work(&w, 12);
    drain(a);
    work(&w, 3);
    drain(a);
    assert_int_equal(audit_tail(a, 6, note_seq, seen), 6);
    /* 11, 12 | position 12, then 13, 14, 15 */
    const uint64_t wanted[] = {11, 12, 12, 13, 14, 15};
    assert_memory_equal(seen + 1, wanted, sizeof wanted);
    audit_close(a);
    worker_free(&w);
}

static int fill_the_disk(struct rig *g)
{
    struct worker w = worker_new(boot_one, 0);
    struct audit_status s;
    int rounds = 0;
    uint64_t heard = 0;

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", g->dir, "tmpfs", 0, "size=32k") != 0)
        return 77;
    struct audit *a = open_ok(g);
    audit_listen(a, hear, &heard);
    if (!attach(a, boot_one, &w, 1))
        return 1;
    do {
        work(&w, 10);
        drain(a);
        audit_status(a, &s);
    } while (s.problem[0] == '\0' && ++rounds < 100);
    if (rounds == 100)
        return 2;
    if (mount(NULL, g->dir, NULL, MS_REMOUNT, "size=1m") != 0)
        return 3;
    drain(a);
    audit_status(a, &s);
    if (s.problem[0] != '\0' || s.lost != 0)
        return 4;
    audit_close(a);
    struct all all = read_all(g);
    return all.records == (size_t)(rounds + 1) * 10 && all.in_order && heard == all.records ? 0 : 5;
}

static void a_full_disk_stops_the_draining_and_nothing_is_lost_or_doubled(void **state)
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(fill_the_disk(*state));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

/* A consumer in a process of its own, killed at seeded moments, while this one produces. */
static void consume_for_ever(struct rig *g, struct worker *w, int ready)
{
    struct audit *a = audit_open(g->dir, 40 * AUDIT_ENTRY_LEN, &why);

    if (a == NULL || !attach(a, boot_one, w, 1) || write(ready, "x", 1) != 1)
        _exit(1);
    for (;;)
        audit_drain(a, 5);
}

static void a_consumer_killed_at_any_moment_neither_doubles_nor_loses_a_record(void **state)
{
    struct rig *g = *state;
    struct worker w = worker_new(boot_one, 0);
    uint64_t seed = 42, lost_before, produced = 0;

    for (int round = 0; round < 60; round++) {
        int ready[2];
        char byte;

        assert_int_equal(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0)
            consume_for_ever(g, &w, ready[1]);
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        for (uint64_t bursts = rig_random(&seed) % 20; bursts > 0; bursts--) {
            int count = (int)(rig_random(&seed) % 30);

            work(&w, count);
            produced += (uint64_t)count;
            for (uint64_t spin = rig_random(&seed) % 30000; spin > 0; spin--)
                __asm__ volatile("");
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    lost_before = counter_read(&w.ring->counters, REASON_AUDIT_LOST);
    struct audit *a = open_ok(g);
    assert_true(attach(a, boot_one, &w, 1));
    drain(a);
    work(&w, 1); /* shows the size of a gap at the very end */
    drain(a);
    audit_close(a);
    worker_free(&w);
    struct all all = read_all(g);
    assert_true(all.in_order);
    assert_int_equal(all.lost, lost_before);
    assert_int_equal(all.records + all.lost, produced + 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_entry_comes_back_as_it_was),
        CASE(the_sum_of_an_entry_is_crc32c),
        CASE(any_flipped_bit_of_an_entry_is_seen),
        CASE(records_arrive_once_and_in_order),
        CASE(a_full_ring_leaves_one_loss_entry_with_the_count),
        CASE(a_new_ctrl_goes_on_where_the_last_one_stopped),
        CASE(a_record_that_was_written_but_not_released_is_not_written_again),
        CASE(a_listener_hears_each_record_once_and_none_that_was_written_before),
        CASE(a_torn_entry_at_the_end_is_cut_off_and_written_again),
        CASE(segments_follow_one_another_and_the_position_is_carried_over),
        CASE(a_dead_dataplanes_ring_is_drained_to_its_end),
        CASE(what_a_dead_dataplane_dropped_last_is_counted),
        CASE(a_ring_that_went_away_while_ctrl_was_down_is_said_to_be_unknown),
        CASE(workers_are_kept_apart),
        CASE(the_same_dataplane_again_is_no_new_ring),
        CASE(rings_of_another_boot_or_order_are_refused),
        CASE(a_descriptor_that_is_no_ring_is_refused),
        CASE(a_ring_that_lies_is_given_up_and_the_others_go_on),
        CASE(counters_are_those_of_the_attached_dataplane_s_workers_and_housekeeper),
        CASE(tail_gives_the_last_entries_oldest_first_over_two_segments),
        CASE(a_full_disk_stops_the_draining_and_nothing_is_lost_or_doubled),
        CASE(a_consumer_killed_at_any_moment_neither_doubles_nor_loses_a_record),
    };

    return RUN_TESTS("ctrl audit", tests);
}
