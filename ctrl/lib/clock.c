#include "ctrl/lib/clock.h"

#include "base/check.h"
#include "base/cursor.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define NOTE_VERSION 1

enum clock_finding clock_advance(struct clock *c, const struct clock_reading *now, int64_t *by_s)
{
    struct clock_reading last = c->last;
    bool same_boot = c->started && memcmp(last.boot_id, now->boot_id, sizeof last.boot_id) == 0 &&
                     now->boot_ms >= last.boot_ms;
    uint64_t went_by_ms = same_boot ? now->boot_ms - last.boot_ms : 0;

    *by_s = c->started ? now->unix_s - last.unix_s - (int64_t)(went_by_ms / 1000) : 0;
    c->watched_ms += went_by_ms;
    c->last = *now;
    c->started = true;
    if (!same_boot)
        return CLOCK_UNWATCHED;
    return *by_s > CLOCK_JUMP_S || *by_s < -CLOCK_JUMP_S ? CLOCK_JUMPED : CLOCK_STEADY;
}

void clock_note_encode(const struct clock *c, uint8_t out[CLOCK_NOTE_LEN])
{
    struct writer w = writer_of(out, CLOCK_NOTE_LEN);

    write_u8(&w, NOTE_VERSION);
    write_bytes(&w, span_of(c->last.boot_id, sizeof c->last.boot_id));
    write_u64(&w, c->last.boot_ms);
    write_u64(&w, (uint64_t)c->last.unix_s);
    write_u64(&w, c->watched_ms);
    CHECK(writer_ok(&w) && w.len == CLOCK_NOTE_LEN);
}

bool clock_note_decode(struct span note, struct clock *c)
{
    struct cursor in = cursor_of(note);
    struct clock got = {.started = true};
    uint8_t version = cursor_u8(&in);
    struct span boot_id = cursor_take(&in, sizeof got.last.boot_id);

    got.last.boot_ms = cursor_u64(&in);
    got.last.unix_s = (int64_t)cursor_u64(&in);
    got.watched_ms = cursor_u64(&in);
    if (!cursor_ok(&in) || in.left != 0 || version != NOTE_VERSION)
        return false;
    memcpy(got.last.boot_id, boot_id.ptr, sizeof got.last.boot_id);
    *c = got;
    return true;
}

static uint8_t nibble_of(char ch)
{
    return (uint8_t)(ch >= 'a' ? ch - 'a' + 10 : ch - '0');
}

/* Zeros where there is none: then every start is like one after a reboot that only the boot time tells apart. */
static void boot_id_read(uint8_t out[16])
{
    char text[64];
    size_t digits = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, text, sizeof text);

    memset(out, 0, 16);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; i < len && digits < 32; i++) {
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');

        if (!hex)
            continue;
        out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | nibble_of(text[i]));
        digits++;
    }
}

struct clock_reading clock_read(void *ctx)
{
    static uint8_t boot_id[16];
    static bool known;
    struct clock_reading r = {0};
    struct timespec wall, boot;

    (void)ctx;
    if (!known)
        boot_id_read(boot_id);
    known = true;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &boot);
    r.unix_s = wall.tv_sec;
    r.boot_ms = (uint64_t)boot.tv_sec * 1000 + (uint64_t)boot.tv_nsec / 1000000;
    memcpy(r.boot_id, boot_id, sizeof r.boot_id);
    return r;
}

void clock_text(int64_t unix_s, char out[CLOCK_TEXT_CAP])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, CLOCK_TEXT_CAP, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
