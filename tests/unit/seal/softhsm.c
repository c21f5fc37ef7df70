#include "tests/unit/seal/softhsm.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void softhsm_write(const char *dir, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

void softhsm_run(const char *dir, const char *command)
{
    char line[512];

    snprintf(line, sizeof line, "cd %s && (%s) >out 2>&1", dir, command);
    if (system(line) != 0)
        fail_msg("failed: %s (see %s/out)", command, dir);
}

void softhsm_make(const char *dir)
{
    char conf[128], text[256];

    snprintf(conf, sizeof conf, "%s/softhsm2.conf", dir);
    snprintf(text, sizeof text,
             "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", dir);
    softhsm_write(dir, "softhsm2.conf", text);
    softhsm_write(dir, "one.key", "an AES key for tests, 32 bytes!!");
    softhsm_write(dir, "two.key", "another AES key, of 32 bytes too");
    softhsm_write(dir, "pin", "1234\n");
    assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
    softhsm_run(dir, "mkdir tokens && softhsm2-util --init-token --free --label ww --pin 1234 --so-pin 5678");
    softhsm_run(dir, "softhsm2-util --import one.key --aes --token ww --label one --id 01 --pin 1234");
    softhsm_run(dir, "softhsm2-util --import two.key --aes --token ww --label two --id 02 --pin 1234");
}
