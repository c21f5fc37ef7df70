/* How much time ctrl has watched go by: what destruction waits for, besides the date.
 *
 * A date alone is not enough: a clock that was set forward would destroy a key weeks early.  So a second count goes
 * along, of CLOCK_BOOTTIME, which nobody sets: it grows while ctrl runs and, across a restart of ctrl on the same
 * boot (same boot id), by what went by meanwhile.  Across a reboot it grows by nothing, because nothing there says
 * how long it was; a destruction then comes later than its date by as long as the machine was off.  Between two
 * readings of one boot, a date that moved by CLOCK_JUMP_S more or less than the boot time did is a jump.  It is
 * told, and changes nothing: due is only what is due by the date and by the count. */
#ifndef CTRL_LIB_CLOCK_H
#define CTRL_LIB_CLOCK_H

#include "base/span.h"

#define CLOCK_JUMP_S   60
#define CLOCK_NOTE_LEN (1 + 16 + 8 + 8 + 8)

struct clock_reading {
    int64_t unix_s;
    uint64_t boot_ms; /* CLOCK_BOOTTIME */
    uint8_t boot_id[16];
};

struct clock {
    bool started; /* last is a reading */
    struct clock_reading last;
    uint64_t watched_ms;
};

enum clock_finding {
    CLOCK_STEADY,
    CLOCK_JUMPED, /* *by_s: forward, or (negative) back */
    CLOCK_UNWATCHED, /* the first reading, or the first after a reboot; *by_s: how far the date moved meanwhile */
};

enum clock_finding clock_advance(struct clock *c, const struct clock_reading *now, int64_t *by_s);

/* What outlives the process (docs/WIRE.md, "Store").  decode false: not in this form, and *c is as it was. */
void clock_note_encode(const struct clock *c, uint8_t out[CLOCK_NOTE_LEN]);
bool MUST_USE clock_note_decode(struct span note, struct clock *c);

/* This machine's; ctx is not used. */
struct clock_reading clock_read(void *ctx);

/* RFC 3339 in UTC, to the second: 2026-01-31T12:00:00Z. */
#define CLOCK_TEXT_CAP 32
void clock_text(int64_t unix_s, char out[CLOCK_TEXT_CAP]);

#endif
