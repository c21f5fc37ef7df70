#include "bench/load/hiccup.h"

#include <stdlib.h>
#include <string.h>

/* All pages are touched now, and not while something is measured. */
static void *room_for(size_t count, size_t each)
{
    void *room = malloc(count * each);

    if (room != NULL)
        memset(room, 0, count * each);
    return room;
}

bool hiccups_new(struct hiccups *h, size_t cap)
{
    *h = (struct hiccups){.list = room_for(cap, sizeof h->list[0]), .cap = cap};
    return h->list != NULL;
}

void hiccups_free(struct hiccups *h)
{
    free(h->list);
    *h = (struct hiccups){0};
}

void hiccups_add(struct hiccups *h, uint64_t from_ns, uint64_t to_ns)
{
    if (h->count == h->cap) {
        h->lost++;
        return;
    }
    h->list[h->count++] = (struct hiccup){from_ns, to_ns};
}

bool samples_new(struct samples *s, size_t cap)
{
    *s = (struct samples){.list = room_for(cap, sizeof s->list[0]), .cap = cap};
    return s->list != NULL;
}

void samples_free(struct samples *s)
{
    free(s->list);
    *s = (struct samples){0};
}

void samples_add(struct samples *s, uint64_t intended_ns, uint64_t took_ns, bool late)
{
    if (s->count == s->cap) {
        s->lost++;
        return;
    }
    s->list[s->count++] = (struct sample){intended_ns, took_ns, late};
}

static int by_begin(const void *a, const void *b)
{
    const struct hiccup *x = a, *y = b;

    return x->from_ns < y->from_ns ? -1 : x->from_ns > y->from_ns;
}

static int by_intended(const void *a, const void *b)
{
    const struct sample *x = *(const struct sample *const *)a, *y = *(const struct sample *const *)b;

    return x->intended_ns < y->intended_ns ? -1 : x->intended_ns > y->intended_ns;
}

/* From hiccups to the times that are left out: in order, apart from each other, inside begin to end. */
static void widen(struct hiccups *h, uint64_t begin_ns, uint64_t end_ns)
{
    size_t kept = 0;

    for (size_t i = 0; i < h->count; i++) {
        uint64_t from = h->list[i].from_ns, to = h->list[i].to_ns;
        uint64_t until = to + HICCUP_AFTER * (to - from);

        from = from > begin_ns + HICCUP_BEFORE_NS ? from - HICCUP_BEFORE_NS : begin_ns;
        h->list[i] = (struct hiccup){from, until < end_ns ? until : end_ns};
    }
    if (h->count > 1)
        qsort(h->list, h->count, sizeof h->list[0], by_begin);
    for (size_t i = 0; i < h->count; i++) {
        struct hiccup *last = &h->list[kept > 0 ? kept - 1 : 0];
        const struct hiccup *at = &h->list[i];
        if (at->to_ns <= at->from_ns)
            continue;
        if (kept > 0 && at->from_ns <= last->to_ns)
            last->to_ns = at->to_ns > last->to_ns ? at->to_ns : last->to_ns;
        else
            h->list[kept++] = *at;
    }
    h->count = kept;
}

static void take(const struct sample *s, struct clean_result *out)
{
    hist_add(&out->latency, s->took_ns);
    out->late += s->late;
}

void samples_clean(const struct samples *s, struct hiccups *a, const struct hiccups *b, uint64_t begin_ns,
                   uint64_t end_ns, struct clean_result *out)
{
    const struct sample **order = malloc((s->count + 1) * sizeof *order);
    uint64_t left_out = 0;
    size_t at = 0;

    memset(out, 0, sizeof *out);
    if (order == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        hiccups_add(a, b->list[i].from_ns, b->list[i].to_ns);
    widen(a, begin_ns, end_ns);
    for (size_t i = 0; i < s->count; i++)
        order[i] = &s->list[i];
    if (s->count > 1)
        qsort(order, s->count, sizeof *order, by_intended);
    for (size_t i = 0; i < s->count; i++) {
        uint64_t intended = order[i]->intended_ns;
        while (at < a->count && a->list[at].to_ns < intended)
            at++;
        if (at == a->count || intended < a->list[at].from_ns)
            take(order[i], out);
    }
    for (size_t i = 0; i < a->count; i++)
        left_out += a->list[i].to_ns - a->list[i].from_ns;
    out->left_out = end_ns > begin_ns ? (double)left_out / (double)(end_ns - begin_ns) : 0;
    free(order);
}
