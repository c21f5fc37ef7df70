#include "base/audit_ring.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAPACITY 8

static const uint8_t boot_id[16] = {1, 2, 3};

/* Both ends of one ring, as two processes see them. */
struct pair {
    struct audit_ring *worker;
    struct audit_ring *ctrl;
    int fd;
};

static int setup(void **state)
{
    static struct pair p;

    p.worker = audit_ring_create(CAPACITY, 3, boot_id, &p.fd);
    assert_non_null(p.worker);
    p.ctrl = audit_ring_map(p.fd);
    assert_non_null(p.ctrl);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    audit_ring_unmap(p->worker);
    audit_ring_unmap(p->ctrl);
    close(p->fd);
    return 0;
}

static void put(struct pair *p, uint32_t mark, size_t times)
{
    for (size_t i = 0; i < times; i++)
        audit_put(p->worker, &(struct audit_record){.version = mark, .op = AUDIT_OP_WRAP});
}

static void what_the_worker_puts_ctrl_takes_in_order_numbered_from_1(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    for (uint32_t i = 1; i <= 5; i++)
        put(p, 100 + i, 1);
    for (uint32_t i = 1; i <= 5; i++) {
        assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
        assert_int_equal(r.seq, i);
        assert_int_equal(r.version, 100 + i);
    }
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_EMPTY);
}

static void ctrl_sees_boot_id_worker_and_counters(void **state)
{
    struct pair *p = *state;

    assert_memory_equal(p->ctrl->boot_id, boot_id, 16);
    assert_int_equal(p->ctrl->worker, 3);
    count_by(&p->worker->counters, REASON_EKM_WRAP_OK, 42);
    assert_int_equal(counter_read(&p->ctrl->counters, REASON_EKM_WRAP_OK), 42);
}

static void the_ring_goes_round_for_ever(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    for (uint64_t i = 1; i <= 10 * CAPACITY; i++) {
        put(p, 1, 1);
        assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
        assert_int_equal(r.seq, i);
    }
}

static void a_full_ring_counts_the_lost_and_leaves_a_gap_of_their_number(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    put(p, 1, CAPACITY + 3);
    assert_int_equal(counter_read(&p->worker->counters, REASON_AUDIT_LOST), 3);
    for (size_t i = 1; i <= CAPACITY; i++) {
        assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
        assert_int_equal(r.seq, i);
    }
    put(p, 1, 1);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(r.seq, CAPACITY + 3 + 1);
}

static void the_next_consumer_goes_on_where_the_dead_one_stopped(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    put(p, 1, 3);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    audit_ring_unmap(p->ctrl);
    p->ctrl = audit_ring_map(p->fd);
    assert_non_null(p->ctrl);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(r.seq, 2);
}

static void the_ring_outlives_a_producer_killed_at_once(void **state)
{
    struct pair *p = *state;
    struct audit_record r;
    int status;

    pid_t pid = fork();
    if (pid == 0) {
        put(p, 9, 2);
        raise(SIGKILL);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(r.version, 9);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_EMPTY);
}

static void peek_frees_nothing_until_the_release(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    put(p, 1, 3);
    assert_int_equal(audit_peek(p->ctrl, 0, &r), AUDIT_RING_OK);
    assert_int_equal(r.seq, 1);
    assert_int_equal(audit_peek(p->ctrl, 2, &r), AUDIT_RING_OK);
    assert_int_equal(r.seq, 3);
    assert_int_equal(audit_peek(p->ctrl, 3, &r), AUDIT_RING_EMPTY);
    audit_release(p->ctrl, 2);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(r.seq, 3);
}

/* ---- a peer that lies ---- */

static void a_head_that_cannot_be_is_bad(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    put(p, 1, 1);
    atomic_store(&p->worker->head, CAPACITY + 1);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
    atomic_store(&p->worker->head, UINT64_MAX);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
}

static void a_tail_ahead_of_the_head_is_bad_for_the_consumer(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    atomic_store(&p->worker->tail, 1);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
}

static void a_tail_that_cannot_be_is_counted_by_the_producer_and_writes_nothing(void **state)
{
    struct pair *p = *state;

    atomic_store(&p->ctrl->tail, 5);
    put(p, 1, 1);
    assert_int_equal(counter_read(&p->worker->counters, REASON_AUDIT_BAD_TAIL), 1);
    assert_int_equal(atomic_load(&p->worker->head), 0);
}

static void the_producer_goes_by_its_own_head_not_by_the_shared_one(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    put(p, 1, 1);
    atomic_store(&p->ctrl->head, 1000000);
    p->ctrl->next_seq = 77;
    put(p, 2, 1);
    assert_int_equal(atomic_load(&p->worker->head), 2);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_OK);
    assert_int_equal(r.seq, 2);
    assert_int_equal(r.version, 2);
}

static void a_capacity_changed_after_the_mapping_is_not_believed(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    p->ctrl->capacity = UINT64_C(1) << 40;
    put(p, 1, CAPACITY + 1);
    assert_int_equal(counter_read(&p->worker->counters, REASON_AUDIT_LOST), 1);
    atomic_store(&p->worker->head, UINT64_C(1) << 30);
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
}

static void a_record_that_cannot_be_is_bad(void **state)
{
    struct pair *p = *state;
    struct audit_record r;

    put(p, 1, 1);
    p->worker->records[0].caller_len = AUDIT_CALLER_CAP + 1;
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
    p->worker->records[0].caller_len = 0;
    p->worker->records[0].op = 3;
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
    p->worker->records[0].op = 0;
    p->worker->records[0].seq = 0;
    assert_int_equal(audit_take(p->ctrl, &r), AUDIT_RING_BAD);
}

static void map_refuses(struct pair *p)
{
    assert_null(audit_ring_map(p->fd));
}

static void a_wrong_magic_is_not_mapped(void **state)
{
    struct pair *p = *state;
    p->worker->magic ^= 1;
    map_refuses(p);
}

static void a_wrong_version_is_not_mapped(void **state)
{
    struct pair *p = *state;
    p->worker->version = 3;
    map_refuses(p);
}

static void a_wrong_record_size_is_not_mapped(void **state)
{
    struct pair *p = *state;
    p->worker->record_size = 64;
    map_refuses(p);
}

static void a_wrong_number_of_counters_is_not_mapped(void **state)
{
    struct pair *p = *state;
    p->worker->counter_count++;
    map_refuses(p);
}

static void a_capacity_that_is_not_the_files_is_not_mapped(void **state)
{
    struct pair *p = *state;

    p->worker->capacity = CAPACITY * 2;
    map_refuses(p);
    p->worker->capacity = CAPACITY / 2;
    map_refuses(p);
    p->worker->capacity = 0;
    map_refuses(p);
    p->worker->capacity = UINT64_MAX;
    map_refuses(p);
}

/* A copy of a good ring in a file whose size is not sealed. */
static void a_file_that_can_still_shrink_is_not_mapped(void **state)
{
    struct pair *p = *state;
    off_t len = lseek(p->fd, 0, SEEK_END);
    int loose = memfd_create("loose", MFD_ALLOW_SEALING);

    assert_true(loose >= 0 && ftruncate(loose, len) == 0);
    void *to = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE, MAP_SHARED, loose, 0);
    assert_true(to != MAP_FAILED);
    memcpy(to, p->worker, (size_t)len);
    assert_null(audit_ring_map(loose));
    assert_int_equal(fcntl(loose, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    struct audit_ring *r = audit_ring_map(loose);
    assert_non_null(r);
    audit_ring_unmap(r);
    munmap(to, (size_t)len);
    close(loose);
}

static void a_file_too_short_for_a_header_is_not_mapped(void **state)
{
    int fd = memfd_create("short", MFD_ALLOW_SEALING);
    (void)state;

    assert_true(ftruncate(fd, 100) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    assert_null(audit_ring_map(fd));
    close(fd);
}

static void a_pipe_is_not_mapped(void **state)
{
    int fds[2];
    (void)state;

    assert_int_equal(pipe(fds), 0);
    assert_null(audit_ring_map(fds[0]));
    close(fds[0]);
    close(fds[1]);
}

static void a_capacity_that_is_no_power_of_two_is_not_created(void **state)
{
    int fd;
    (void)state;

    assert_null(audit_ring_create(0, 0, boot_id, &fd));
    assert_null(audit_ring_create(12, 0, boot_id, &fd));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_the_worker_puts_ctrl_takes_in_order_numbered_from_1),
        CASE(ctrl_sees_boot_id_worker_and_counters),
        CASE(the_ring_goes_round_for_ever),
        CASE(a_full_ring_counts_the_lost_and_leaves_a_gap_of_their_number),
        CASE(the_next_consumer_goes_on_where_the_dead_one_stopped),
        CASE(the_ring_outlives_a_producer_killed_at_once),
        CASE(peek_frees_nothing_until_the_release),
        CASE(a_head_that_cannot_be_is_bad),
        CASE(a_tail_ahead_of_the_head_is_bad_for_the_consumer),
        CASE(a_tail_that_cannot_be_is_counted_by_the_producer_and_writes_nothing),
        CASE(the_producer_goes_by_its_own_head_not_by_the_shared_one),
        CASE(a_capacity_changed_after_the_mapping_is_not_believed),
        CASE(a_record_that_cannot_be_is_bad),
        CASE(a_wrong_magic_is_not_mapped),
        CASE(a_wrong_version_is_not_mapped),
        CASE(a_wrong_record_size_is_not_mapped),
        CASE(a_wrong_number_of_counters_is_not_mapped),
        CASE(a_capacity_that_is_not_the_files_is_not_mapped),
        CASE(a_file_that_can_still_shrink_is_not_mapped),
        CASE(a_file_too_short_for_a_header_is_not_mapped),
        CASE(a_pipe_is_not_mapped),
        CASE(a_capacity_that_is_no_power_of_two_is_not_created),
    };
    return RUN_TESTS("audit_ring", tests);
}
