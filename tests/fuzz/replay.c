/* Runs every file of a corpus directory through the fuzz target it is linked with, each as one TAP case. */
#include "base/check.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

static int run_file(const char *dir, const char *name, int number)
{
    static uint8_t data[INPUT_MAX];
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    size_t len = fread(data, 1, sizeof data, f);
    fclose(f);
    /* A copy of exactly this size, so that the sanitizer sees the first byte read beyond it. */
    uint8_t *exact = malloc(len != 0 ? len : 1);
    CHECK(exact != NULL);
    for (size_t i = 0; i < len; i++)
        exact[i] = data[i];
    int rc = LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    printf("%s %d - %s\n", rc == 0 ? "ok" : "not ok", number, name);
    return rc;
}

int main(int argc, char **argv)
{
    struct dirent **names;
    int failed = 0, number = 0;

    CHECK(argc == 2);
    int count = scandir(argv[1], &names, NULL, alphasort);
    CHECK(count > 0);
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.')
            failed |= run_file(argv[1], names[i]->d_name, ++number);
        free(names[i]);
    }
    free(names);
    printf("1..%d\n", number);
    CHECK(number > 0);
    return failed != 0;
}
