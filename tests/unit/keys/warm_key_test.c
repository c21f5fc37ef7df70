/* The warm key through a ww-seal that does not do its work: named, in bounded time.  With a TPM: tests/e2e/warm_start.py. */
#include "dataplane/warm_key.h"

#include "base/log.h"
#include "tests/unit/test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* It stays until it is ended: its answer is not lost with it. */
#define ANSWERED " >&3\nexec sleep 600\n"

static char folder[64], sealed[128], program[128], name[160];

static void put(const char *path, const void *bytes, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
    static const uint8_t params[] = {0, 0, 0, 0, 7, 'd', 'e', 'v', 'i', 'c', 'e', ':'};
    uint8_t bytes[DEVICE_SEALED_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct device_sealed s = {span_of(params, sizeof params), span_str("object")};

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ww-warm-key-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(sealed, sizeof sealed, "%s/sealed", folder);
    snprintf(program, sizeof program, "%s/ww-seal", folder);
    snprintf(name, sizeof name, "tpm2:%s", sealed);
    device_sealed_write(&w, &s);
    put(sealed, bytes, w.len, 0600);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(sealed);
    unlink(program);
    return rmdir(folder);
}

static void expect(unsigned timeout_ms, const char *code)
{
    struct warm_key_source s = {name, folder, {program, timeout_ms}};
    struct warm_problem why = {{0}, {0}, {0}};
    uint8_t key[WARM_KEY_LEN] = {0};
    static const uint8_t zero[WARM_KEY_LEN];

    assert_false(warm_key_read(&s, key, &why));
    assert_string_equal(why.code, code);
    assert_true(why.text[0] != '\0' && why.next[0] != '\0');
    assert_memory_equal(key, zero, sizeof zero);
}

static void child(const char *script)
{
    put(program, script, strlen(script), 0700);
}

static void a_child_that_hangs_is_not_waited_for_and_ended(void **state)
{
    char line[256];

    (void)state;
    snprintf(line, sizeof line, "#!/bin/sh\necho $$ > %s/pid\nexec sleep 600\n", folder);
    child(line);
    expect(1500, "warm_key_no_answer");
    snprintf(line, sizeof line, "%s/pid", folder);
    FILE *f = fopen(line, "r");
    unlink(line);
    if (f == NULL)
        return; /* it was ended before it had begun */
    long pid = 0;
    int got = fscanf(f, "%ld", &pid);
    fclose(f);
    if (got == 1)
        assert_int_equal(kill((pid_t)pid, 0), -1);
}

static void a_child_that_dies_is_named(void **state)
{
    (void)state;
    child("#!/bin/sh\nexit 3\n");
    expect(60000, "warm_key_no_answer");
}

static void a_child_that_talks_nonsense_is_named(void **state)
{
    (void)state;
    child("#!/bin/sh\nprintf '\\000\\000\\000\\002hi'" ANSWERED);
    expect(60000, "warm_key_no_answer");
}

static void an_answer_of_another_length_is_no_key(void **state)
{
    (void)state;
    child("#!/bin/sh\nprintf '\\000\\000\\000\\014\\001\\000\\000\\006secret\\000\\000'" ANSWERED);
    expect(60000, "warm_key_other_tpm");
}

static void what_ww_seal_refuses_has_names(void **state)
{
    static const struct {
        char status;
        const char *code;
    } table[] = {{'2', "warm_key_no_tpm"},
                 {'5', "warm_key_other_tpm"},
                 {'6', "warm_key_policy"},
                 {'7', "warm_key_device"}};
    char script[128];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        snprintf(script, sizeof script,
                 "#!/bin/sh\nprintf '\\000\\000\\000\\010\\001\\00%c\\000\\000\\000\\002no'" ANSWERED,
                 table[i].status);
        child(script);
        expect(60000, table[i].code);
    }
}

static void a_program_that_is_not_there_is_named(void **state)
{
    (void)state;
    expect(60000, "warm_key_no_child");
}

static void a_file_that_is_missing_or_damaged_is_named_and_nobody_asked(void **state)
{
    (void)state;
    assert_int_equal(truncate(sealed, 8), 0);
    expect(60000, "warm_key_damaged");
    unlink(sealed);
    expect(60000, "warm_key_absent");
}

static uint64_t date(void)
{
    return 1800000000;
}

static void nobody_is_kept_waiting_while_the_child_hangs(void **state)
{
    struct counters counters = {0};
    struct warm_key_source s = {name, folder, {program, 1000}};
    struct warm_config wc = {folder, 3600, 0, &counters, date};
    struct warm_problem why;
    struct warm_status status;

    (void)state;
    child("#!/bin/sh\nexec sleep 600\n");
    struct warm *w = warm_new(&wc, NULL, &why);
    assert_non_null(w);
    struct warm_key *k = warm_key_begin(&s);
    assert_false(warm_key_hand_over(k, w));
    assert_true(warm_waits(w));
    for (int i = 0; i < 60000 && !warm_key_hand_over(k, w); i++)
        usleep(1000);
    assert_false(warm_waits(w));
    warm_status(w, &status);
    assert_string_equal(status.problem.code, "warm_key_no_answer");
    assert_true(warm_key_hand_over(k, w));
    warm_key_end(k);
    warm_free(w);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_child_that_hangs_is_not_waited_for_and_ended),
        CASE(a_child_that_dies_is_named),
        CASE(a_child_that_talks_nonsense_is_named),
        CASE(an_answer_of_another_length_is_no_key),
        CASE(what_ww_seal_refuses_has_names),
        CASE(a_program_that_is_not_there_is_named),
        CASE(a_file_that_is_missing_or_damaged_is_named_and_nobody_asked),
        CASE(nobody_is_kept_waiting_while_the_child_hangs),
    };
    log_set_level(LOG_ERROR + 1);
    return RUN_TESTS("warm key", tests);
}
