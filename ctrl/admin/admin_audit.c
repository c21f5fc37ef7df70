/* The two logs: what callers asked of keys, what operators did. */
#include "ctrl/admin/call.h"

#include <stdio.h>
#include <time.h>

/* Before a tail: a worker that writes all the time must not keep it from its answer. */
#define TAIL_DRAINS_MAX 64

static const char *entry_kind_name(uint8_t kind)
{
    static const char *const names[] = {"", "record", "loss", "position", "closed", "unknown"};

    return names[kind <= AUDIT_UNKNOWN ? kind : 0];
}

const char *access_reason_name(uint32_t bit)
{
    if (bit == ACCESS_REASON_ABSENT_BIT)
        return "absent";
    for (unsigned i = 0; i <= ACCESS_REASON_LAST; i++) {
        if (bit == 1u << i)
            return access_reason_names[i];
    }
    return bit == 0 ? "" : "unknown";
}

/* A caller is what a stranger claimed: bytes that are not ASCII text must not break the JSON. */
static json_t *caller_json(const struct audit_record *r)
{
    char text[AUDIT_CALLER_CAP + 1];

    for (size_t i = 0; i < r->caller_len; i++)
        text[i] = r->caller[i] >= 0x20 && r->caller[i] < 0x7f ? r->caller[i] : '?';
    text[r->caller_len] = '\0';
    return json_string(text);
}

static void record_into(json_t *j, const struct daemon *d, const struct audit_entry *e)
{
    static const char *const ops[] = {"unknown", "wrap", "unwrap"};
    const struct audit_record *r = &e->record;
    const struct key_record *key = registry_by_id(custody_registry(d->custody), r->key_id);
    json_t *more = json_pack(
        "{s:s, s:s, s:i, s:o, s:b, s:s, s:s, s:i, s:I, s:b}", "op", ops[r->op <= AUDIT_OP_UNWRAP ? r->op : 0],
        "key", key == NULL ? "" : key->path, "version", (int)r->version, "caller", caller_json(r),
        "caller_proven", (r->flags & AUDIT_FLAG_CALLER_PROVEN) != 0, "access_reason",
        access_reason_name(r->access_reason), "verdict", e->verdict, "status", (int)r->status, "latency_ns",
        (json_int_t)r->latency_ns, "health_check", (r->flags & AUDIT_FLAG_HEALTH_CHECK) != 0);

    json_object_update(j, more);
    json_decref(more);
}

struct tail {
    const struct daemon *d;
    json_t *list;
};

static void tail_entry(void *ctx, const struct audit_entry *e)
{
    struct tail *t = ctx;
    char when[40];
    time_t s = (time_t)(e->time_unix_us / 1000000);
    struct tm tm;

    gmtime_r(&s, &tm);
    size_t n = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + n, sizeof when - n, ".%06uZ", (unsigned)(e->time_unix_us % 1000000));
    json_t *j = json_pack("{s:s, s:s, s:o, s:i, s:I}", "kind", entry_kind_name(e->kind), "time", when, "boot",
                          hex_json(e->boot_id, sizeof e->boot_id), "worker", (int)e->worker, "seq",
                          (json_int_t)e->seq);
    if (e->kind == AUDIT_RECORD)
        record_into(j, t->d, e);
    if (e->kind == AUDIT_LOSS)
        json_object_set_new(j, "count", json_integer((json_int_t)e->count));
    json_array_append_new(t->list, j);
}

bool do_audit_tail(struct call *c)
{
    struct tail t = {c->d, json_array()};
    int64_t count;

    json_object_set_new(c->reply, "entries", t.list);
    if (!call_number(c, "count", 20, 1, 100000, &count))
        return false;
    for (int i = 0; i < TAIL_DRAINS_MAX && audit_drain(c->d->audit, 1024); i++)
        continue;
    audit_tail(c->d->audit, (size_t)count, tail_entry, &t);
    return true;
}

bool do_audit_acts(struct call *c)
{
    int64_t count;
    bool whole;
    uint64_t lines;

    if (!call_number(c, "count", 20, 1, 10000, &count))
        return false;
    json_object_set_new(c->reply, "acts", admin_log_tail(c->d->acts, (size_t)count, &whole, &lines));
    json_object_set_new(c->reply, "lines", json_integer((json_int_t)lines));
    json_object_set_new(c->reply, "whole", json_boolean(whole));
    return true;
}
