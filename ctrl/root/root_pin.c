#include "ctrl/root/root_pin.h"

#include "base/cursor.h"
#include "base/log.h"
#include "ctrl/lib/file.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_LEN (2 * MBED_DIGEST_LEN + 1) /* hexadecimal and a line end */

void root_pin_file(const struct root_pin *p, char *out, size_t cap)
{
    snprintf(out, cap, "%s%u", p->prefix, p->info->number);
}

static void digest_text(const struct root_pin *p, char out[TEXT_LEN + 1])
{
    uint8_t bytes[SEAL_SLOT_MAX + 64], digest[MBED_DIGEST_LEN];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct stat st;

    write_bytes(&w, p->slot);
    if (p->info->pin[0] == '/' && stat(p->info->pin, &st) == 0) {
        write_u64(&w, (uint64_t)st.st_ino);
        write_u64(&w, (uint64_t)st.st_size);
        write_u64(&w, (uint64_t)st.st_mtim.tv_sec);
        write_u64(&w, (uint64_t)st.st_mtim.tv_nsec);
    }
    mbed_sha256(writer_span(&w), digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    out[TEXT_LEN - 1] = '\n';
    out[TEXT_LEN] = '\0';
}

bool root_pin_was_refused(const struct root_pin *p)
{
    char path[PATH_MAX], want[TEXT_LEN + 1];
    uint8_t have[TEXT_LEN + 2];
    size_t len;

    root_pin_file(p, path, sizeof path);
    digest_text(p, want);
    return file_exists(path) && file_read(path, have, sizeof have, &len, NULL) && len == TEXT_LEN &&
           memcmp(have, want, TEXT_LEN) == 0;
}

void root_pin_remember(const struct root_pin *p)
{
    char path[PATH_MAX], text[TEXT_LEN + 1];
    struct refusal why;

    root_pin_file(p, path, sizeof path);
    digest_text(p, text);
    if (!file_write(path, span_of(text, TEXT_LEN), &why))
        log_error("a refused PIN is not remembered: the next start tries it again, and the token may lock",
                  F("why", why.text));
}

void root_pin_forget(const struct root_pin *p)
{
    char path[PATH_MAX];

    root_pin_file(p, path, sizeof path);
    (void)unlink(path);
}
