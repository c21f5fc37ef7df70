#include "tests/unit/ctrl/faulty_vfs.h"

#include "base/check.h"
#include "tests/unit/ctrl/rig.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 8
#define NAME_MAX_ 256
#define SECTOR    512

struct bytes {
    uint8_t *p;
    size_t len, cap;
};

/* Done, and not yet synced. */
struct op {
    size_t at, len; /* of a write; of a truncation: at = the new length, data = NULL */
    uint8_t *data;
};

struct file {
    char name[NAME_MAX_];
    bool exists, kept_by_disk; /* kept_by_disk: it was synced once, so its name stays */
    struct bytes live, synced;
    size_t op_count, op_cap;
    struct op *ops;
};

static struct {
    struct file files[FILES_MAX], kept[FILES_MAX];
    enum faulty_kind kind;
    uint64_t at_op, op;
    bool for_ever, struck;
    int last_errno;
    sqlite3_vfs *before;
} fs;

struct handle {
    sqlite3_file base;
    struct file *f;
};

/* ---- bytes ---- */

static void bytes_reserve(struct bytes *b, size_t len)
{
    if (len <= b->cap)
        return;
    b->cap = len < 4096 ? 4096 : 2 * len;
    b->p = realloc(b->p, b->cap);
    CHECK(b->p != NULL);
}

static void bytes_resize(struct bytes *b, size_t len)
{
    bytes_reserve(b, len);
    if (len > b->len)
        memset(b->p + b->len, 0, len - b->len);
    b->len = len;
}

static void bytes_write(struct bytes *b, size_t at, const uint8_t *data, size_t len)
{
    if (at + len > b->len)
        bytes_resize(b, at + len);
    if (len != 0)
        memcpy(b->p + at, data, len);
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
    to->len = 0;
    bytes_resize(to, from->len);
    if (from->len != 0)
        memcpy(to->p, from->p, from->len);
}

/* ---- files ---- */

static void ops_forget(struct file *f)
{
    for (size_t i = 0; i < f->op_count; i++)
        free(f->ops[i].data);
    f->op_count = 0;
}

static void ops_add(struct file *f, size_t at, const void *data, size_t len)
{
    if (f->op_count == f->op_cap) {
        f->op_cap = f->op_cap == 0 ? 64 : 2 * f->op_cap;
        f->ops = realloc(f->ops, f->op_cap * sizeof *f->ops);
        CHECK(f->ops != NULL);
    }
    struct op *o = &f->ops[f->op_count++];
    *o = (struct op){at, len, NULL};
    if (data != NULL) {
        o->data = malloc(len + 1);
        CHECK(o->data != NULL);
        memcpy(o->data, data, len);
    }
}

static void file_forget(struct file *f)
{
    ops_forget(f);
    f->exists = f->kept_by_disk = false;
    f->live.len = f->synced.len = 0;
}

static struct file *file_find(const char *name)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (fs.files[i].exists && strcmp(fs.files[i].name, name) == 0)
            return &fs.files[i];
    }
    return NULL;
}

static struct file *file_make(const char *name)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &fs.files[i];

        if (f->exists)
            continue;
        file_forget(f);
        f->exists = true;
        snprintf(f->name, sizeof f->name, "%s", name);
        return f;
    }
    return NULL;
}

/* ---- failing ---- */

/* Counts an operation; SQLITE_OK, or what it fails with. */
static int operate(int io_error)
{
    fs.op++;
    if (fs.kind == FAULTY_NONE || fs.op < fs.at_op || (fs.op > fs.at_op && !fs.for_ever))
        return SQLITE_OK;
    fs.struck = true;
    fs.last_errno = fs.kind == FAULTY_ENOSPC ? ENOSPC : fs.kind == FAULTY_EROFS ? EROFS : EIO;
    return fs.kind == FAULTY_ENOSPC && io_error == SQLITE_IOERR_WRITE ? SQLITE_FULL : io_error;
}

/* ---- SQLite's doors ---- */

static int io_close(sqlite3_file *h)
{
    h->pMethods = NULL;
    return SQLITE_OK;
}

static int io_read(sqlite3_file *h, void *out, int amount, sqlite3_int64 at)
{
    const struct bytes *b = &((struct handle *)h)->f->live;
    size_t from = (size_t)at, len = (size_t)amount;
    size_t have = from >= b->len ? 0 : b->len - from < len ? b->len - from : len;

    if (have != 0)
        memcpy(out, b->p + from, have);
    memset((uint8_t *)out + have, 0, len - have);
    return have == len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int io_write(sqlite3_file *h, const void *data, int amount, sqlite3_int64 at)
{
    struct file *f = ((struct handle *)h)->f;
    int rc = operate(SQLITE_IOERR_WRITE);
    /* What fails may have got halfway. */
    size_t len = rc == SQLITE_OK ? (size_t)amount : (size_t)amount / 2;

    if (rc != SQLITE_OK && (fs.kind == FAULTY_EROFS || fs.op > fs.at_op))
        return rc;
    bytes_write(&f->live, (size_t)at, data, len);
    ops_add(f, (size_t)at, data, len);
    return rc;
}

static int io_truncate(sqlite3_file *h, sqlite3_int64 size)
{
    struct file *f = ((struct handle *)h)->f;
    int rc = operate(SQLITE_IOERR_TRUNCATE);

    if (rc != SQLITE_OK)
        return rc;
    bytes_resize(&f->live, (size_t)size);
    ops_add(f, (size_t)size, NULL, 0);
    return SQLITE_OK;
}

static int io_sync(sqlite3_file *h, int flags)
{
    struct file *f = ((struct handle *)h)->f;
    int rc = operate(SQLITE_IOERR_FSYNC);

    (void)flags;
    if (rc != SQLITE_OK)
        return rc;
    bytes_copy(&f->synced, &f->live);
    f->kept_by_disk = true;
    ops_forget(f);
    return SQLITE_OK;
}

static int io_size(sqlite3_file *h, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)((struct handle *)h)->f->live.len;
    return SQLITE_OK;
}

static int io_lock(sqlite3_file *h, int level)
{
    (void)h;
    (void)level;
    return SQLITE_OK;
}

static int io_reserved(sqlite3_file *h, int *out)
{
    (void)h;
    *out = 0;
    return SQLITE_OK;
}

static int io_control(sqlite3_file *h, int op, void *arg)
{
    (void)h;
    if (op != SQLITE_FCNTL_LAST_ERRNO)
        return SQLITE_NOTFOUND;
    *(int *)arg = fs.last_errno;
    return SQLITE_OK;
}

static int io_sector(sqlite3_file *h)
{
    (void)h;
    return SECTOR;
}

/* As SQLite's own says of Unix: a torn write harms nothing beside it. */
static int io_device(sqlite3_file *h)
{
    (void)h;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods io_methods = {.iVersion = 1,
                                              .xClose = io_close,
                                              .xRead = io_read,
                                              .xWrite = io_write,
                                              .xTruncate = io_truncate,
                                              .xSync = io_sync,
                                              .xFileSize = io_size,
                                              .xLock = io_lock,
                                              .xUnlock = io_lock,
                                              .xCheckReservedLock = io_reserved,
                                              .xFileControl = io_control,
                                              .xSectorSize = io_sector,
                                              .xDeviceCharacteristics = io_device};

static int fs_open(sqlite3_vfs *v, const char *name, sqlite3_file *h, int flags, int *out_flags)
{
    struct handle *handle = (struct handle *)h;
    struct file *f = file_find(name == NULL ? "temporary" : name);

    (void)v;
    handle->base.pMethods = NULL;
    if (f == NULL && (flags & SQLITE_OPEN_CREATE) == 0)
        return SQLITE_CANTOPEN;
    if (f == NULL)
        f = file_make(name == NULL ? "temporary" : name);
    if (f == NULL)
        return SQLITE_CANTOPEN;
    handle->f = f;
    handle->base.pMethods = &io_methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

/* With its directory synced, as SQLite asks for where it matters. */
static int fs_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    struct file *f = file_find(name);
    int rc = operate(SQLITE_IOERR_DELETE);

    (void)v;
    (void)sync_dir;
    if (rc != SQLITE_OK)
        return rc;
    if (f == NULL)
        return SQLITE_IOERR_DELETE_NOENT;
    file_forget(f);
    return SQLITE_OK;
}

static int fs_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
    (void)v;
    (void)flags;
    *out = file_find(name) != NULL;
    return SQLITE_OK;
}

static int fs_full_name(sqlite3_vfs *v, const char *name, int cap, char *out)
{
    (void)v;
    snprintf(out, (size_t)cap, "%s", name);
    return SQLITE_OK;
}

static int fs_random(sqlite3_vfs *v, int len, char *out)
{
    static uint64_t seed = 1;

    (void)v;
    for (int i = 0; i < len; i++)
        out[i] = (char)rig_random(&seed);
    return len;
}

static int fs_sleep(sqlite3_vfs *v, int us)
{
    (void)v;
    return us;
}

static int fs_time(sqlite3_vfs *v, double *out)
{
    (void)v;
    *out = 2460000.5;
    return SQLITE_OK;
}

static int fs_last_error(sqlite3_vfs *v, int len, char *out)
{
    (void)v;
    (void)len;
    (void)out;
    return fs.last_errno;
}

static sqlite3_vfs vfs = {.iVersion = 1,
                          .szOsFile = sizeof(struct handle),
                          .mxPathname = NAME_MAX_,
                          .zName = "faulty",
                          .xOpen = fs_open,
                          .xDelete = fs_delete,
                          .xAccess = fs_access,
                          .xFullPathname = fs_full_name,
                          .xRandomness = fs_random,
                          .xSleep = fs_sleep,
                          .xCurrentTime = fs_time,
                          .xGetLastError = fs_last_error};

/* ---- the test's doors ---- */

void faulty_install(void)
{
    fs.before = sqlite3_vfs_find(NULL);
    CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
    faulty_reset();
}

static void files_free(struct file files[FILES_MAX])
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        file_forget(&files[i]);
        free(files[i].ops);
        free(files[i].live.p);
        free(files[i].synced.p);
        files[i] = (struct file){0};
    }
}

void faulty_remove(void)
{
    sqlite3_vfs_unregister(&vfs);
    sqlite3_vfs_register(fs.before, 1);
    files_free(fs.files);
    files_free(fs.kept);
}

void faulty_reset(void)
{
    for (size_t i = 0; i < FILES_MAX; i++)
        file_forget(&fs.files[i]);
    faulty_plan(FAULTY_NONE, 0, false);
}

void faulty_plan(enum faulty_kind kind, uint64_t at_op, bool for_ever)
{
    fs.kind = kind;
    fs.at_op = at_op;
    fs.for_ever = for_ever || kind == FAULTY_POWER;
    fs.op = 0;
    fs.struck = false;
    fs.last_errno = 0;
}

uint64_t faulty_ops(void)
{
    return fs.op;
}

bool faulty_struck(void)
{
    return fs.struck;
}

static void op_survives(struct bytes *disk, const struct op *o, uint64_t *seed)
{
    uint64_t chance = rig_random(seed) % 8;

    if (chance < 3)
        return;
    if (o->data == NULL) {
        bytes_resize(disk, o->at);
        return;
    }
    for (size_t at = 0; at < o->len; at += SECTOR) {
        size_t len = o->len - at < SECTOR ? o->len - at : SECTOR;

        if (chance != 3 || rig_random(seed) % 2 == 0)
            bytes_write(disk, o->at + at, o->data + at, len);
    }
}

static void ops_shuffle(struct file *f, uint64_t *seed)
{
    for (size_t i = f->op_count; i > 1; i--) {
        size_t j = rig_random(seed) % i;
        struct op o = f->ops[i - 1];

        f->ops[i - 1] = f->ops[j];
        f->ops[j] = o;
    }
}

void faulty_power_cut(uint64_t *seed)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &fs.files[i];

        if (!f->exists)
            continue;
        if (!f->kept_by_disk && rig_random(seed) % 2 == 0) {
            file_forget(f);
            continue;
        }
        if (rig_random(seed) % 2 == 0)
            ops_shuffle(f, seed);
        for (size_t n = 0; n < f->op_count; n++)
            op_survives(&f->synced, &f->ops[n], seed);
        bytes_copy(&f->live, &f->synced);
        ops_forget(f);
    }
    faulty_plan(FAULTY_NONE, 0, false);
}

uint8_t *faulty_bytes(const char *name, size_t *len)
{
    struct file *f = file_find(name);

    *len = f == NULL ? 0 : f->live.len;
    return f == NULL ? NULL : f->live.p;
}

static void files_copy(struct file to[FILES_MAX], const struct file from[FILES_MAX])
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        ops_forget(&to[i]);
        memcpy(to[i].name, from[i].name, sizeof to[i].name);
        to[i].exists = from[i].exists;
        to[i].kept_by_disk = true;
        bytes_copy(&to[i].live, &from[i].live);
        bytes_copy(&to[i].synced, &from[i].live);
    }
}

void faulty_keep(void)
{
    files_copy(fs.kept, fs.files);
}

void faulty_bring_back(void)
{
    files_copy(fs.files, fs.kept);
    faulty_plan(FAULTY_NONE, 0, false);
}
