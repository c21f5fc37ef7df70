/* What a backup file says inside its age layer: whoever knows a recipient can have written it. */
#include "ctrl/backup/backup_file.h"

#include "base/check.h"
#include "base/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_head(void *ctx, const struct backup_head *h, struct refusal *why)
{
    (void)ctx;
    (void)why;
    CHECK(h->from >= 1);
    return true;
}

static bool on_record(void *ctx, const struct store_raw *r, struct refusal *why)
{
    uint64_t *last = ctx;

    (void)why;
    CHECK(r->record.len <= STORE_RECORD_MAX);
    if (r->kind == STORE_RAW_CHANGE)
        *last = r->number;
    if (r->kind == STORE_RAW_ANCHOR) {
        struct cursor c = cursor_of(r->record);

        cursor_skip(&c, 8);
        *last = cursor_u64(&c);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct backup_end end = {0};
    struct refusal why;
    uint64_t last = 0;
    struct backup_visitor v = {&last, on_head, on_record};

    if (backup_parse(span_of(data, size), "fuzz", &v, &end, &why))
        CHECK(end.to == last && end.changes + end.anchors >= 1);
    else
        CHECK(why.code[0] != '\0');
    return 0;
}
