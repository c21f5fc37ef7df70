/* What the tests of ctrl share: a folder that goes away, a store with a known root key, seeded choices. */
#ifndef TESTS_UNIT_CTRL_RIG_H
#define TESTS_UNIT_CTRL_RIG_H

#include "ctrl/keys/custody.h"
#include "tests/unit/test.h"

struct rig {
    char dir[64];
    char store_file[128];
    struct mbed_rng *rng;
    uint8_t *srk; /* SEAL_SRK_LEN bytes */
    struct refusal why;
};

/* cmocka setup and teardown: *state is a struct rig. */
int rig_setup(void **state);
/* The same on tmpfs, for cases that commit thousands of times and where no power fails. */
int rig_setup_in_memory(void **state);
int rig_teardown(void **state);

/* A store on the rig's file, made if need be, unlocked into a custody.  NULL: g->why.  With WW_TEST_LEVEL in the
 * environment it goes to that level of formats, and is compacted at each opening, as far as its disk lets it. */
struct custody *rig_custody(struct rig *g);
/* The same, and it must work. */
struct custody *rig_custody_ok(struct rig *g);

const struct key_record *rig_key(const struct custody *c, const char *path);

/* A clock that stands still until it is moved: date and boot time together, or one of them. */
struct rig_clock {
    struct clock_reading at;
};
struct clock_reading rig_clock_read(void *ctx);
void rig_clock_pass(struct rig_clock *k, int64_t seconds);
void rig_clock_jump(struct rig_clock *k, int64_t seconds);
void rig_clock_reboot(struct rig_clock *k, int64_t off_s);
/* rig_custody_ok on that clock. */
struct custody *rig_custody_at(struct rig *g, struct rig_clock *k);

/* In a forked child: its copy of the root key was wiped by the kernel. */
void rig_refill(struct rig *g);

/* SplitMix64. */
uint64_t rig_random(uint64_t *seed);

void rig_path(const struct rig *g, const char *name, char *out, size_t cap);
void rig_write(const char *path, const char *text);

#endif
