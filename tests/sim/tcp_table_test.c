/* The table of connections (C17): few looks per lookup, however full, and whoever chose the tuples. */
#include "dataplane/net/tcp.h"
#include "tests/unit/test.h"

#define CONNS 32768 /* as many as the table is made for: half of its slots */

static bool without_aes;

struct table {
    struct arena *arena;
    struct counters counters;
    struct tcp *tcp;
};

static void table_begin(struct table *t)
{
    struct net_config c;

    memset(t, 0, sizeof *t);
    net_config_defaults(&c);
    memcpy(c.mac, "\2\0\0\0\0\1", 6);
    c.addr_count = 1;
    assert_true(net_prefix_parse(span_str("2001:db8::1/64"), &c.addrs[0]));
    c.port_count = 1;
    c.ports[0] = 443;
    c.conns_max = CONNS;
    c.recv_buffers_max = c.send_buffers_max = 1;
    for (size_t i = 0; i < sizeof c.seed; i++)
        c.seed[i] = (uint8_t)(i * 11 + 5);
    t->arena = arena_new(net_memory_needed(&c) + 4096, false);
    t->tcp = net_new(&c, t->arena, &t->counters, 1000000)->tcp;
    if (without_aes)
        t->tcp->table_key.by_aes = false;
}

static uint64_t mix(uint64_t v)
{
    v ^= v >> 33;
    v *= 0xff51afd7ed558ccdULL;
    v ^= v >> 33;
    v *= 0xc4ceb9fe1a85ec53ULL;
    return v ^ v >> 33;
}

static struct tcp_tuple tuple_of(uint64_t number)
{
    struct tcp_tuple u = {.local_port = 443, .family = NET_IP6};

    memcpy(u.remote, "\x20\x01\x0d\xb8\0\1", 6);
    memcpy(u.remote + 8, &number, 6);
    u.remote_port = (uint16_t)(number >> 48);
    return u;
}

/* How many slots a lookup of the tuple looks at. */
static uint32_t looks(const struct tcp *t, const struct tcp_tuple *tuple)
{
    uint32_t hash = tuple_hash(t, tuple), n = 1;

    for (uint32_t i = hash & t->slot_mask; t->slots[i].conn != 0 && t->slots[i].tag != hash;
         i = (i + 1) & t->slot_mask)
        n++;
    return n;
}

typedef struct tcp_tuple (*chooser)(uint32_t n);

static struct tcp_tuple at_random(uint32_t n)
{
    return tuple_of(mix(n + 1));
}

/* One address, port after port; then the next address. */
static struct tcp_tuple in_order(uint32_t n)
{
    return tuple_of((uint64_t)n << 48 | n >> 16);
}

/* All of them in one bucket of a table whose key was guessed wrong. */
static struct tcp_tuple against_another_key(uint32_t n)
{
    static const struct siphash_key guessed = {1, 2};
    static uint64_t at;

    at = n == 0 ? 0 : at;
    for (;; at++) {
        struct tcp_tuple u = tuple_of(mix(at));
        if ((siphash(&guessed, span_of(&u, sizeof u)) & 63) != 7)
            continue;
        at++;
        return u;
    }
}

struct cost {
    uint64_t sum;
    uint32_t worst;
};

static struct cost filled_by(chooser next)
{
    static struct tcp_tuple all[CONNS];
    struct table t;
    struct cost c = {0};

    table_begin(&t);
    for (uint32_t i = 0; i < CONNS; i++) {
        all[i] = next(i);
        assert_non_null(tcp_conn_new(t.tcp, &all[i]));
    }
    for (uint32_t i = 0; i < CONNS; i++) {
        uint32_t n = looks(t.tcp, &all[i]);
        c.sum += n;
        c.worst = n > c.worst ? n : c.worst;
        assert_memory_equal(&table_find(t.tcp, &all[i])->tuple, &all[i], sizeof all[i]);
    }
    arena_free(t.arena);
    return c;
}

static void c17_a_full_table_is_looked_at_one_and_a_half_times(void **state)
{
    struct cost c = filled_by(at_random);
    (void)state;

    assert_in_range(c.sum, CONNS, CONNS * 8 / 5);
    assert_in_range(c.worst, 2, 100);
}

/* An eighth more at most: what chance alone does to sums of this size is far less. */
static void c17_tuples_that_somebody_chose_cost_what_random_ones_do(void **state)
{
    uint64_t chance = filled_by(at_random).sum;
    (void)state;

    assert_in_range(filled_by(in_order).sum, CONNS, chance + chance / 8);
    assert_in_range(filled_by(against_another_key).sum, CONNS, chance + chance / 8);
}

/* Chosen by the table's own function, under a key that is not its own. */
static struct tcp_tuple against_another_key_of_ours(uint32_t n)
{
    static struct tcp guessed;
    static uint64_t at;

    if (n == 0) {
        at = 0;
        flow_key_set(&guessed.table_key, &(struct siphash_key){1, 2});
        guessed.table_key.by_aes = guessed.table_key.by_aes && !without_aes;
    }
    for (;;) {
        struct tcp_tuple u = tuple_of(mix(at++));
        if ((tuple_hash(&guessed, &u) & 63) == 7)
            return u;
    }
}

static void c17_it_is_so_with_the_same_function_and_without_aes(void **state)
{
    (void)state;

    for (int i = 0; i < 2; i++) {
        without_aes = i != 0;
        uint64_t chance = filled_by(at_random).sum;
        assert_in_range(chance, CONNS, CONNS * 8 / 5);
        assert_in_range(filled_by(against_another_key_of_ours).sum, CONNS, chance + chance / 8);
    }
    without_aes = false;
}

static void c17_what_is_removed_is_found_no_more_and_the_rest_is(void **state)
{
    struct table t;
    (void)state;

    table_begin(&t);
    for (uint32_t i = 0; i < CONNS; i++) {
        struct tcp_tuple u = at_random(i);
        tcp_conn_set_state(tcp_conn_new(t.tcp, &u), TCP_ESTABLISHED);
    }
    for (uint32_t i = 0; i < CONNS; i += 2) {
        struct tcp_tuple u = at_random(i);
        tcp_conn_end(table_find(t.tcp, &u), NET_CAUSE_ABORTED);
    }
    for (uint32_t i = 0; i < CONNS; i++) {
        struct tcp_tuple u = at_random(i);
        assert_int_equal(table_find(t.tcp, &u) != NULL, i % 2 != 0);
    }
    arena_free(t.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c17_a_full_table_is_looked_at_one_and_a_half_times),
        cmocka_unit_test(c17_tuples_that_somebody_chose_cost_what_random_ones_do),
        cmocka_unit_test(c17_it_is_so_with_the_same_function_and_without_aes),
        cmocka_unit_test(c17_what_is_removed_is_found_no_more_and_the_rest_is),
    };
    return RUN_TESTS("tcp_table", tests);
}
