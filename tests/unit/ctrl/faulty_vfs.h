/* A file system for SQLite, in memory, that fails when it is told to and forgets like a disk without power.
 *
 * Installed as SQLite's default, so that the store under test opens its files here by their usual names.  Every
 * write, truncation, sync and removal is one operation, counted from 1.  At the planned one it fails with an errno,
 * once or from then on; or the power goes: that one and all later fail, and faulty_power_cut leaves what a disk may
 * hold: what was synced, and of what was not any part in any order, writes torn at 512 bytes.  One process, one
 * thread. */
#ifndef TESTS_UNIT_CTRL_FAULTY_VFS_H
#define TESTS_UNIT_CTRL_FAULTY_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum faulty_kind { FAULTY_NONE, FAULTY_ENOSPC, FAULTY_EIO, FAULTY_EROFS, FAULTY_POWER };

void faulty_install(void);
void faulty_remove(void);

/* No files, no plan. */
void faulty_reset(void);

/* The operation at_op from now on; for_ever: and all after it, until the next plan. */
void faulty_plan(enum faulty_kind kind, uint64_t at_op, bool for_ever);
uint64_t faulty_ops(void); /* since the last plan */
bool faulty_struck(void);  /* the plan came true */

/* With every file closed: power is back, the plan is over. */
void faulty_power_cut(uint64_t *seed);

/* A file's bytes, to be looked at or altered in place; NULL when there is none. */
uint8_t *faulty_bytes(const char *name, size_t *len);
/* Everything as it is now, to be brought back any number of times; one at a time. */
void faulty_keep(void);
void faulty_bring_back(void);

#endif
