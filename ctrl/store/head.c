/* The small files beside the store: the head, which shows a rollback, and the note of the time watched. */
#include "ctrl/store/internal.h"

#include "base/check.h"
#include "base/log.h"
#include "ctrl/lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

bool head_write_to(struct store *s, const char *file, uint64_t epoch, const uint8_t head[MBED_DIGEST_LEN])
{
    struct place p = {.kind = STORE_HEAD};
    uint8_t record[SEALED_OVERHEAD];
    size_t len = sealed_write(s, &p, epoch, head, span_of(NULL, 0), record, sizeof record);

    return file_replace(file, span_of(record, len));
}

bool head_write(struct store *s)
{
    bool ok = head_write_to(s, s->head_file, s->epoch, s->head);

    s->head_behind = !ok;
    return ok;
}

void head_catch_up(struct store *s)
{
    if (s->aead != NULL && s->head_behind && !head_write(s))
        log_warn("store head not written", F("file", s->head_file), F("errno", errno));
}

/* false: errno ENOENT where there is none; else it is not of this store and its root. */
static bool head_read_from(struct store *s, const char *file, struct head *out)
{
    uint8_t raw[SEALED_OVERHEAD + 1], room[sizeof raw];
    struct sealed r;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t len = read(fd, raw, sizeof raw);
    close(fd);
    errno = 0;
    if (len != SEALED_OVERHEAD || !sealed_open(s, span_of(raw, (size_t)len), room, &r) ||
        r.place.kind != STORE_HEAD)
        return false;
    out->present = true;
    out->epoch = r.epoch;
    memcpy(out->hash, r.prev, MBED_DIGEST_LEN);
    return true;
}

bool head_read(struct store *s, struct head *out, struct refusal *why)
{
    bool found = head_read_from(s, s->head_file, out);
    int cause = errno;

    if (found) {
        (void)unlink(s->next_head_file);
        return true;
    }
    if (head_read_from(s, s->next_head_file, out))
        return rename(s->next_head_file, s->head_file) == 0 ||
               refuse(why, "store_io", "check the disk and its permissions", "%s: %s", s->head_file,
                      strerror(errno));
    if (cause == ENOENT)
        return true;
    return refuse(why, "store_head_damaged",
                  "if the store was restored from a backup on purpose, remove that file and start again",
                  "%s does not belong to this store or was altered", s->head_file);
}

bool store_note_write(struct store *s, struct span note)
{
    struct place p = {.kind = STORE_CLOCK};
    uint8_t record[SEALED_OVERHEAD + STORE_NOTE_MAX];

    CHECK(note.len <= STORE_NOTE_MAX);
    size_t len = sealed_write(s, &p, s->epoch, s->head, note, record, sizeof record);
    return file_replace(s->clock_file, span_of(record, len));
}

size_t store_note_read(struct store *s, uint8_t out[STORE_NOTE_MAX])
{
    uint8_t raw[SEALED_OVERHEAD + STORE_NOTE_MAX], room[sizeof raw];
    struct sealed r;
    int fd = open(s->clock_file, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, raw, sizeof raw);

    if (fd < 0)
        return 0;
    close(fd);
    if (len < SEALED_OVERHEAD || !sealed_open(s, span_of(raw, (size_t)len), room, &r) ||
        r.place.kind != STORE_CLOCK) {
        log_warn(
            "the note of the time watched does not belong to this store or was altered; it is passed over",
            F("file", s->clock_file));
        return 0;
    }
    memcpy(out, r.body.ptr, r.body.len);
    return r.body.len;
}
