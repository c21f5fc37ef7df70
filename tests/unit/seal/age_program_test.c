/* The age program as the other party, both ways. */
#include "drivers/seal/age.h"
#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLAIN_LEN (5 * AGE_CHUNK + 321)

struct rig {
    struct mbed_rng *rng;
    char dir[64];
    uint8_t identity[2][AGE_KEY_LEN];
    struct age_recipient recipient[2];
    uint8_t *plain;
};

static void path_of(const struct rig *g, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", g->dir, name);
}

static void write_file(const struct rig *g, const char *name, struct span bytes)
{
    char path[128];

    path_of(g, name, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
    assert_int_equal(fclose(f), 0);
}

static struct buf read_file(const struct rig *g, const char *name)
{
    size_t cap = PLAIN_LEN + 4096;
    struct buf out = {malloc(cap), 0, cap};
    char path[128];

    path_of(g, name, path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    out.len = fread(out.ptr, 1, cap, f);
    fclose(f);
    return out;
}

/* Runs a command line within the folder. */
static int run(const struct rig *g, const char *command)
{
    char line[512];

    snprintf(line, sizeof line, "cd %s && (%s) 2>err", g->dir, command);
    return system(line);
}

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);
    char text[AGE_IDENTITY_TEXT_LEN + 1];

    assert_non_null(g);
    g->rng = mbed_rng_new();
    snprintf(g->dir, sizeof g->dir, "/tmp/ww-age-test.XXXXXX");
    assert_non_null(mkdtemp(g->dir));
    for (size_t i = 0; i < 2; i++) {
        age_identity_new(g->rng, g->identity[i]);
        g->recipient[i] = age_recipient_of(g->rng, g->identity[i]);
        age_identity_print(g->identity[i], text);
        write_file(g, i == 0 ? "key0" : "key1", span_str(text));
    }
    g->plain = malloc(PLAIN_LEN);
    for (size_t i = 0; i < PLAIN_LEN; i++)
        g->plain[i] = (uint8_t)(i * 31 + i / 997);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;
    char line[128];

    snprintf(line, sizeof line, "rm -r %s", g->dir);
    assert_int_equal(system(line), 0);
    free(g->plain);
    mbed_rng_free(g->rng);
    free(g);
    return 0;
}

static const size_t sizes[] = {0, 1, AGE_CHUNK - 1, AGE_CHUNK, AGE_CHUNK + 1, PLAIN_LEN};

static void the_age_program_opens_our_files(void **state)
{
    struct rig *g = *state;
    struct buf file = {malloc(PLAIN_LEN + 4096), 0, PLAIN_LEN + 4096};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct span plain = span_of(g->plain, sizes[i]);

        file.len = 0;
        assert_int_equal(age_encrypt(g->rng, g->recipient, 2, plain, &file), AGE_OK);
        write_file(g, "file", buf_span(&file));
        assert_int_equal(run(g, i % 2 == 0 ? "age -d -i key0 file > out" : "age -d -i key1 file > out"), 0);
        struct buf out = read_file(g, "out");
        assert_true(span_equal(buf_span(&out), plain));
        free(out.ptr);
    }
    free(file.ptr);
}

static void we_open_files_of_the_age_program(void **state)
{
    struct rig *g = *state;
    struct buf out = {malloc(PLAIN_LEN), 0, PLAIN_LEN};
    char a[AGE_RECIPIENT_TEXT_LEN + 1], b[AGE_RECIPIENT_TEXT_LEN + 1], command[256];

    age_recipient_print(&g->recipient[0], a);
    age_recipient_print(&g->recipient[1], b);
    snprintf(command, sizeof command, "age -r %s -r %s -o file plain", a, b);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct span plain = span_of(g->plain, sizes[i]);

        write_file(g, "plain", plain);
        assert_int_equal(run(g, command), 0);
        struct buf file = read_file(g, "file");
        out.len = 0;
        assert_int_equal(age_decrypt(g->rng, g->identity[i % 2], buf_span(&file), &out), AGE_OK);
        assert_true(span_equal(buf_span(&out), plain));
        free(file.ptr);
    }
    free(out.ptr);
}

static void keys_of_age_keygen_are_ours_and_ours_are_its(void **state)
{
    struct rig *g = *state;
    uint8_t identity[AGE_KEY_LEN];
    char ours[AGE_RECIPIENT_TEXT_LEN + 2];

    assert_int_equal(
        run(g, "age-keygen -o new && age-keygen -y new > new.pub && age-keygen -y key0 > key0.pub"), 0);
    struct buf file = read_file(g, "new"), pub = read_file(g, "new.pub"), pub0 = read_file(g, "key0.pub");
    assert_int_equal(age_identity_find(buf_span(&file), identity), AGE_OK);
    struct age_recipient r = age_recipient_of(g->rng, identity);
    age_recipient_print(&r, ours);
    assert_true(span_is(span_of(pub.ptr, AGE_RECIPIENT_TEXT_LEN), ours));
    age_recipient_print(&g->recipient[0], ours);
    assert_true(span_is(span_of(pub0.ptr, AGE_RECIPIENT_TEXT_LEN), ours));
    free(file.ptr);
    free(pub.ptr);
    free(pub0.ptr);
}

static void a_file_of_the_age_program_for_others_is_not_ours(void **state)
{
    struct rig *g = *state;
    uint8_t bytes[64];
    struct buf out = {bytes, 0, sizeof bytes};

    assert_int_equal(run(g, "age-keygen -o other && age-keygen -y other > other.pub"), 0);
    assert_int_equal(run(g, "echo hello | age -R other.pub -o file"), 0);
    struct buf file = read_file(g, "file");
    assert_int_equal(age_decrypt(g->rng, g->identity[0], buf_span(&file), &out), AGE_NO_IDENTITY);
    free(file.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_age_program_opens_our_files, setup, teardown),
        cmocka_unit_test_setup_teardown(we_open_files_of_the_age_program, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_of_age_keygen_are_ours_and_ours_are_its, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_of_the_age_program_for_others_is_not_ours, setup, teardown),
    };

    return RUN_TESTS("seal age program", tests);
}
