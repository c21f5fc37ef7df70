/* SQLite, as this room uses it; and what a failure of it means in words. */
#include "ctrl/store/internal.h"

#include "ctrl/lib/file.h"

#include <errno.h>
#include <unistd.h>

/* ---- saying what went wrong ---- */

static bool says_disk_full(int rc, int os)
{
    return (rc & 0xff) == SQLITE_FULL || os == ENOSPC || os == EDQUOT;
}

static bool says_read_only(int rc, int os)
{
    return (rc & 0xff) == SQLITE_READONLY || (rc & 0xff) == SQLITE_PERM || os == EROFS || os == EACCES;
}

/* A COMMIT that fails does not pass on its errno: the files themselves remember theirs, the log's first. */
static int errno_of_files(const struct store *s)
{
    sqlite3_file *log = NULL;
    int os = 0;

    (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (log != NULL && log->pMethods != NULL)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &os);
    if (os == 0)
        (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_LAST_ERRNO, &os);
    return os;
}

/* SQLite's own errno is of its last attempt, which need not be the one that failed (a lock on a file that was
 * opened read-only fails as EBADF): so the file system is asked whether it lets us write. */
static int errno_of(const struct store *s, int rc)
{
    char dir[PATH_MAX];
    int primary = rc & 0xff;

    if (primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY || primary == SQLITE_PERM ||
        primary == SQLITE_IOERR) {
        file_dir_of(s->file, dir);
        if (access(dir, W_OK) != 0 || (access(s->file, W_OK) != 0 && errno != ENOENT))
            return errno;
    }
    int os = primary == SQLITE_IOERR ? errno_of_files(s) : 0;
    return os != 0 ? os : sqlite3_system_errno(s->db);
}

bool db_refuse(struct store *s, const char *doing, int rc, struct refusal *why)
{
    int os = errno_of(s, rc);
    const char *cause = os != 0 ? strerror(os) : sqlite3_errstr(rc);

    if (says_disk_full(rc, os))
        return refuse(why, "disk_full", "make room on that file system, then repeat the command",
                      "%s: %s: no space left (errno %d): nothing was changed", s->file, doing, os);
    if (says_read_only(rc, os))
        return refuse(why, "read_only", "make the file and its directory writable for ww-ctrl, then repeat",
                      "%s: %s: cannot write: %s (errno %d): nothing was changed", s->file, doing, cause, os);
    if ((rc & 0xff) == SQLITE_BUSY)
        return refuse(why, "store_held", "stop the other ww-ctrl first: a store has exactly one holder",
                      "%s is held by another process", s->file);
    if ((rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB)
        return refuse(why, "store_damaged", "keep the file as it is and restore a backup", "%s: %s: %s",
                      s->file, doing, sqlite3_errstr(rc));
    s->failed = true;
    return refuse(why, "store_io", "check the disk, then restart ww-ctrl: until then no change is accepted",
                  "%s: %s: %s (errno %d)", s->file, doing, cause, os);
}

/* ---- small SQLite helpers ---- */

int db_exec(struct store *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

int db_prepare(struct store *s, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(s->db, sql, -1, out, NULL);
}

int db_finish(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    sqlite3_finalize(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void db_rollback(struct store *s)
{
    if (sqlite3_get_autocommit(s->db) == 0)
        (void)db_exec(s, "ROLLBACK");
}

struct span db_column(sqlite3_stmt *st, int col)
{
    const void *p = sqlite3_column_blob(st, col);
    int len = sqlite3_column_bytes(st, col);

    return span_of(p, p == NULL ? 0 : (size_t)len);
}

int db_meta_put(struct store *s, const char *name, struct span value)
{
    sqlite3_stmt *st = NULL;
    int rc = db_prepare(s, "INSERT OR REPLACE INTO meta(name, value) VALUES(?, ?)", &st);

    if (rc != SQLITE_OK)
        return rc;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, value.ptr, (int)value.len, SQLITE_STATIC);
    return db_finish(st);
}

size_t db_meta_get(struct store *s, const char *name, uint8_t *out, size_t cap)
{
    sqlite3_stmt *st = NULL;
    size_t len = 0;

    if (db_prepare(s, "SELECT value FROM meta WHERE name = ?", &st) != SQLITE_OK)
        return 0;
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_step(st) == SQLITE_ROW) {
        struct span v = db_column(st, 0);

        if (v.len != 0 && v.len <= cap) {
            memcpy(out, v.ptr, v.len);
            len = v.len;
        }
    }
    sqlite3_finalize(st);
    return len;
}

int db_run(sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    sqlite3_reset(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

void db_place_bind(sqlite3_stmt *st, int first, const struct place *p)
{
    sqlite3_bind_int(st, first, p->kind);
    sqlite3_bind_blob(st, first + 1, p->id, KEY_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(st, first + 2, p->sub);
}

bool db_place(sqlite3_stmt *st, struct place *out)
{
    int64_t kind = sqlite3_column_int64(st, 0);
    struct span id = db_column(st, 1);
    int64_t sub = sqlite3_column_int64(st, 2);

    *out = (struct place){.kind = (uint8_t)kind, .sub = (uint32_t)sub};
    if (id.len == KEY_ID_LEN)
        memcpy(out->id, id.ptr, KEY_ID_LEN);
    return kind >= 0 && kind <= UINT8_MAX && sub >= 0 && sub <= UINT32_MAX && id.len == KEY_ID_LEN;
}
