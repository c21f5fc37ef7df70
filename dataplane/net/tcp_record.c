/* Records of 64 bytes that stand for a connection before and after it has one of its own (struct net_conn):
 * found by their tuple through open addressing over the connections' keyed hash, deletion by shifting back. */
#include "dataplane/net/tcp.h"

#include "base/check.h"

static uint32_t slots_for(uint32_t records)
{
    uint32_t slots = 16;

    while (slots < 2 * records)
        slots *= 2;
    return slots;
}

size_t record_table_memory_needed(uint32_t records)
{
    return slots_for(records) * sizeof(struct tcp_slot) + (size_t)records * TCP_RECORD_LEN + 128;
}

void record_table_init(struct record_table *r, struct arena *a, uint32_t records)
{
    r->slot_mask = slots_for(records) - 1;
    r->slots = arena_alloc(a, slots_for(records) * sizeof(struct tcp_slot), 64);
    slab_init(&r->records, a, TCP_RECORD_LEN, records, false);
}

void *record_at(const struct record_table *r, uint32_t index)
{
    return r->records.base + (size_t)index * TCP_RECORD_LEN;
}

uint32_t record_index(const struct record_table *r, const void *record)
{
    return (uint32_t)((size_t)((const uint8_t *)record - r->records.base) / TCP_RECORD_LEN);
}

uint32_t record_count(const struct record_table *r)
{
    return (uint32_t)(r->records.capacity - r->records.free_count);
}

void *record_find(const struct record_table *r, const struct tcp_tuple *tuple, uint32_t hash)
{
    for (uint32_t i = hash & r->slot_mask; r->slots[i].conn != 0; i = (i + 1) & r->slot_mask) {
        void *record = record_at(r, r->slots[i].conn - 1);
        if (r->slots[i].tag == hash && memcmp(record, tuple, sizeof *tuple) == 0)
            return record;
    }
    return NULL;
}

void *record_new(struct record_table *r, const struct tcp_tuple *tuple, uint32_t hash)
{
    uint8_t *record = slab_take(&r->records);
    uint32_t i = hash & r->slot_mask;

    if (record == NULL)
        return NULL;
    memset(record, 0, TCP_RECORD_LEN);
    memcpy(record, tuple, sizeof *tuple);
    while (r->slots[i].conn != 0)
        i = (i + 1) & r->slot_mask;
    r->slots[i].tag = hash;
    r->slots[i].conn = record_index(r, record) + 1;
    return record;
}

void record_free(struct record_table *r, void *record, uint32_t hash)
{
    uint32_t own = record_index(r, record) + 1;
    uint32_t hole = hash & r->slot_mask;

    while (r->slots[hole].conn != own) {
        CHECK(r->slots[hole].conn != 0);
        hole = (hole + 1) & r->slot_mask;
    }
    for (uint32_t i = (hole + 1) & r->slot_mask; r->slots[i].conn != 0; i = (i + 1) & r->slot_mask) {
        uint32_t home = r->slots[i].tag & r->slot_mask;
        if (((i - home) & r->slot_mask) < ((i - hole) & r->slot_mask))
            continue;
        r->slots[hole] = r->slots[i];
        hole = i;
    }
    r->slots[hole].conn = 0;
    slab_give(&r->records, record);
}
