#include "dataplane/warm_key.h"

#include "base/check.h"
#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char credential_prefix[] = "credential:", tpm2_prefix[] = "tpm2:";

static bool begins_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool check_key(const uint8_t key[WARM_KEY_LEN], const char *path, struct warm_problem *why)
{
    uint8_t all = 0;

    for (size_t i = 0; i < WARM_KEY_LEN; i++)
        all |= key[i];
    return all != 0 ||
           warm_refuse(why, "warm_key_length", "make one from /dev/urandom", "%s is all zeros", path);
}

/* ---- a credential ---- */

static bool is_in_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static bool lies_in(const char *folder, const char *file)
{
    char a[PATH_MAX], b[PATH_MAX];

    if (realpath(folder, a) == NULL || realpath(file, b) == NULL)
        return false;
    size_t len = strlen(a);
    return strncmp(a, b, len) == 0 && (b[len] == '/' || b[len] == '\0');
}

static bool key_from(int fd, const char *path, uint8_t key[WARM_KEY_LEN], struct warm_problem *why)
{
    uint8_t bytes[WARM_KEY_LEN + 1];
    ssize_t n = read(fd, bytes, sizeof bytes);

    if (n == WARM_KEY_LEN)
        memcpy(key, bytes, WARM_KEY_LEN);
    secret_wipe(bytes, sizeof bytes);
    if (n != WARM_KEY_LEN)
        return warm_refuse(why, "warm_key_length", "head -c 32 /dev/urandom | systemd-creds encrypt - FILE",
                           "%s must have exactly %d bytes", path, WARM_KEY_LEN);
    return check_key(key, path, why);
}

static bool read_credential(const char *name, const char *dir, uint8_t key[WARM_KEY_LEN],
                            struct warm_problem *why)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    if (folder == NULL)
        return warm_refuse(
            why, "warm_key_absent", "add LoadCredentialEncrypted= to the unit of ww-dataplane",
            "the warm key is to be the credential \"%s\", but $CREDENTIALS_DIRECTORY is not set", name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return warm_refuse(why, "warm_key_absent", "add LoadCredentialEncrypted= to the unit of ww-dataplane",
                           "%s: %s", path, strerror(errno));
    bool ok = true;
    if (lies_in(dir, path))
        ok = warm_refuse(why, "warm_key_beside", "let systemd hand it over: LoadCredentialEncrypted=",
                         "%s lies beside the snapshot that it seals: that protects nothing", path);
    else if (!is_in_memory(fd))
        ok = warm_refuse(why, "warm_key_on_disk", "let systemd hand it over: LoadCredentialEncrypted=",
                         "%s lies on a disk: whoever has the snapshot would have its key", path);
    ok = ok && key_from(fd, path, key, why);
    close(fd);
    return ok;
}

/* ---- the TPM ---- */

/* said: by ww-seal, for a person. */
static bool device_refused(enum device_status status, const char *path, const char *said,
                           struct warm_problem *why)
{
    static const char anew[] =
        "was it meant? Then ww-seal warm-key makes a new one; until then start ww-ctrl";

    switch (status) {
    case DEVICE_POLICY:
        return warm_refuse(why, "warm_key_policy", anew,
                           "%s: the TPM's PCRs are not what they were when it was sealed", path);
    case DEVICE_REFUSED:
        return warm_refuse(why, "warm_key_other_tpm", anew,
                           "%s: this TPM did not seal it, or was cleared since, or the file was altered",
                           path);
    case DEVICE_NO_DEVICE:
        return warm_refuse(why, "warm_key_no_tpm", "see to the TPM, or start ww-ctrl", "%s: %s", path, said);
    case DEVICE_NO_PROGRAM:
        return warm_refuse(why, "warm_key_no_child", "set seal.device_program to ww-seal", "%s", said);
    case DEVICE_NO_ANSWER:
        return warm_refuse(why, "warm_key_no_answer", "see to the TPM, or start ww-ctrl", "%s", said);
    default:
        return warm_refuse(why, "warm_key_device", "see to the TPM, or start ww-ctrl", "%s: %s", path, said);
    }
}

static bool read_sealed(const char *path, uint8_t file[DEVICE_SEALED_MAX + 1], struct device_sealed *out,
                        struct warm_problem *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, file, DEVICE_SEALED_MAX + 1);
    int cause = errno;

    if (fd >= 0)
        close(fd);
    if (n < 0)
        return warm_refuse(why, "warm_key_absent", "make it: ww-seal warm-key FILE --tpm2 TCTI", "%s: %s",
                           path, strerror(cause));
    return device_sealed_parse(span_of(file, (size_t)n), out) ||
           warm_refuse(why, "warm_key_damaged", "make a new one: ww-seal warm-key FILE --tpm2 TCTI",
                       "%s is no sealed warm key of this version, or is damaged", path);
}

static bool read_tpm2(const struct warm_key_source *s, const char *path, uint8_t key[WARM_KEY_LEN],
                      struct warm_problem *why)
{
    uint8_t file[DEVICE_SEALED_MAX + 1];
    char said[DEVICE_TEXT_MAX + 1] = "";
    struct device_sealed sealed;
    struct buf payload = {key, 0, WARM_KEY_LEN};

    if (!read_sealed(path, file, &sealed, why))
        return false;
    struct device_request r = {DEVICE_OPEN, DEVICE_KIND_TPM2, sealed.params, sealed.blob};
    enum device_status status = device_ask(&s->device, &r, &payload, said, sizeof said);
    if (status != DEVICE_OK)
        return device_refused(status, path, said, why);
    if (payload.len != WARM_KEY_LEN) {
        secret_wipe(key, WARM_KEY_LEN);
        return device_refused(DEVICE_REFUSED, path, said, why);
    }
    return check_key(key, path, why);
}

bool warm_key_read(const struct warm_key_source *s, uint8_t key[WARM_KEY_LEN], struct warm_problem *why)
{
    if (begins_with(s->name, tpm2_prefix))
        return read_tpm2(s, s->name + sizeof tpm2_prefix - 1, key, why);
    CHECK(begins_with(s->name, credential_prefix));
    return read_credential(s->name + sizeof credential_prefix - 1, s->dir, key, why);
}

/* ---- the thread ---- */

struct warm_key {
    struct warm_key_source source;
    pthread_t thread;
    uint8_t *key;            /* locked pages; the thread's until it is done */
    struct warm_problem why; /* likewise */
    bool ok, given;
    _Atomic bool done;
};

static void *read_on_a_thread(void *arg)
{
    struct warm_key *k = arg;

    (void)pthread_setname_np(pthread_self(), "ww-warm-key");
    k->ok = warm_key_read(&k->source, k->key, &k->why);
    atomic_store(&k->done, true);
    return NULL;
}

/* Signals are the main thread's. */
struct warm_key *warm_key_begin(const struct warm_key_source *s)
{
    struct warm_key *k = calloc(1, sizeof *k);
    sigset_t all, before;

    CHECK(k != NULL);
    k->source = *s;
    k->key = secret_pages_alloc(WARM_KEY_LEN);
    CHECK(k->key != NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    CHECK(pthread_create(&k->thread, NULL, read_on_a_thread, k) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return k;
}

bool warm_key_hand_over(struct warm_key *k, struct warm *w)
{
    if (k->given || !atomic_load(&k->done))
        return k->given;
    k->given = true;
    if (k->ok)
        k->ok = warm_unlock(w, k->key, &k->why);
    secret_wipe(k->key, WARM_KEY_LEN);
    if (!k->ok)
        warm_no_key(w, &k->why);
    return true;
}

void warm_key_end(struct warm_key *k)
{
    if (k == NULL)
        return;
    pthread_join(k->thread, NULL);
    secret_pages_free(k->key, WARM_KEY_LEN);
    free(k);
}
