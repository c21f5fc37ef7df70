/* ww-vectors xaes [--rounds N]: prints the accumulated hash of C2SP XAES-256-GCM's test, 10 000 rounds unless
 * told. */
#include "drivers/crypto/vectors/accumulated.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int usage(void)
{
    fprintf(stderr, "usage: ww-vectors xaes [--rounds N]\n");
    return 2;
}

static bool parse_rounds(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
}

static int print_accumulated(uint64_t rounds)
{
    struct aead_worker *w = aead_worker_new();
    uint8_t hash[32];

    bool ok = w != NULL && xaes_accumulate(w, rounds, hash);
    aead_worker_free(w);
    if (!ok) {
        fprintf(stderr, "ww-vectors: a message did not seal and open\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof hash; i++)
        printf("%02x", hash[i]);
    printf("\n");
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t rounds = 10000;

    if (argc < 2 || strcmp(argv[1], "xaes") != 0)
        return usage();
    if (argc == 4 && strcmp(argv[2], "--rounds") == 0) {
        if (!parse_rounds(argv[3], &rounds))
            return usage();
    } else if (argc != 2) {
        return usage();
    }
    return print_accumulated(rounds);
}
