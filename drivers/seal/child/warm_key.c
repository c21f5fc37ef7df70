/* `ww-seal warm-key FILE --tpm2 TCTI [--pcrs 7,11]`: a new random key, sealed by this machine's TPM into FILE, which is
 * written once the TPM was seen to open it.  The key is told to nobody. */
#include "base/secret.h"
#include "drivers/seal/child/device.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { MADE = 0, REFUSED = 1, USAGE = 2 };

struct order {
    const char *file, *tcti;
    uint32_t pcrs;
};

static int usage(void)
{
    fprintf(stderr,
            "usage: ww-seal warm-key FILE --tpm2 TCTI [--pcrs 7,11]\n"
            "  Makes the warm key of ww-dataplane, sealed by the TPM, for dataplane.warm_key: tpm2:FILE.\n"
            "  TCTI is device:/dev/tpmrm0, say.  With PCRs, it opens while they are what they are now.\n"
            "  Without arguments ww-seal is a child of ww-ctrl and ww-dataplane.\n");
    return USAGE;
}

static bool read_pcrs(const char *text, uint32_t *out)
{
    for (*out = 0;;) {
        char *end;
        unsigned long n = strtoul(text, &end, 10);

        if (end == text || n > 23 || (*end != ',' && *end != '\0'))
            return false;
        *out |= 1u << n;
        if (*end == '\0')
            return true;
        text = end + 1;
    }
}

static bool read_order(int argc, char **argv, struct order *o)
{
    if ((argc != 5 && argc != 7) || strcmp(argv[1], "warm-key") != 0 || strcmp(argv[3], "--tpm2") != 0)
        return false;
    *o = (struct order){.file = argv[2], .tcti = argv[4]};
    return strlen(o->tcti) <= 255 &&
           (argc == 5 || (strcmp(argv[5], "--pcrs") == 0 && read_pcrs(argv[6], &o->pcrs)));
}

static bool ask(uint8_t operation, struct span params, struct span payload, struct answer *a)
{
    struct device_request r = {operation, DEVICE_KIND_TPM2, params, payload};

    a->payload.len = 0;
    return tpm2_answer(&r, a) == DEVICE_OK;
}

/* secret, opened: locked pages, as a->payload is. */
static bool seal_and_open(const struct order *o, uint8_t *secret, struct answer *a, struct writer *file)
{
    uint8_t bytes[DEVICE_PARAMS_MAX], blob[DEVICE_BLOB_MAX];
    struct writer params = writer_of(bytes, sizeof bytes);
    struct device_tpm2 t = {o->pcrs, span_str(o->tcti)};
    struct device_sealed sealed;

    device_tpm2_write(&params, &t);
    if (getrandom(secret, DEVICE_SECRET_LEN, 0) != DEVICE_SECRET_LEN ||
        !ask(DEVICE_SEAL, writer_span(&params), span_of(secret, DEVICE_SECRET_LEN), a))
        return false;
    memcpy(blob, a->payload.ptr, a->payload.len);
    sealed = (struct device_sealed){writer_span(&params), span_of(blob, a->payload.len)};
    device_sealed_write(file, &sealed);
    if (!writer_ok(file) || !device_sealed_parse(writer_span(file), &sealed) ||
        !ask(DEVICE_OPEN, sealed.params, sealed.blob, a))
        return false;
    return (a->payload.len == DEVICE_SECRET_LEN && secret_equal(a->payload.ptr, secret, DEVICE_SECRET_LEN)) ||
           answer_fail(a, DEVICE_FAILED, "the TPM opens it to something else") == DEVICE_OK;
}

/* A key that a snapshot was sealed under is not overwritten. */
static int write_file(const char *path, struct span content)
{
    char folder[PATH_MAX];

    snprintf(folder, sizeof folder, "%s", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, content.ptr, content.len) == (ssize_t)content.len && fsync(fd) == 0;
    int cause = errno;
    if (fd >= 0)
        close(fd);
    fd = ok ? open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (ok && fd >= 0 && fsync(fd) == 0) {
        printf("%s: made; this TPM opens it.  wirewrap.yaml: dataplane: {warm_key: \"tpm2:%s\"}\n", path,
               path);
        fflush(stdout);
        return MADE;
    }
    fprintf(stderr, "%s: %s%s\n", path, strerror(ok ? errno : cause),
            cause == EEXIST ? ": move it away first, if no snapshot needs it" : "");
    return REFUSED;
}

int warm_key_make(int argc, char **argv)
{
    uint8_t bytes[DEVICE_SEALED_MAX];
    struct writer file = writer_of(bytes, sizeof bytes);
    struct order o;

    if (!read_order(argc, argv, &o))
        return usage();
    uint8_t *secret = secret_pages_alloc(DEVICE_SECRET_LEN);
    struct answer a = {.payload = {secret_pages_alloc(DEVICE_BLOB_MAX), 0, DEVICE_BLOB_MAX}};
    if (secret == NULL || a.payload.ptr == NULL) {
        fprintf(stderr, "ww-seal: no locked memory: raise the limit (ulimit -l)\n");
        return REFUSED;
    }
    bool ok = seal_and_open(&o, secret, &a, &file);
    secret_pages_free(secret, DEVICE_SECRET_LEN);
    secret_pages_free(a.payload.ptr, DEVICE_BLOB_MAX);
    if (ok)
        return write_file(o.file, writer_span(&file));
    fprintf(stderr, "ww-seal: %s\n", a.text);
    return REFUSED;
}
