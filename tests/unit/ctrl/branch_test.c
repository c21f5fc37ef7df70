/* Which names in a sink are of another history. */
#include "ctrl/backup/branch.h"

#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Letters for kin, one second apart: o ours, x other, a ahead, u unknown. */
static enum branch_kin kin(void *ctx, const struct backup_name *n)
{
    const char *letters = ctx;

    switch (letters[n->made_unix_s - 1]) {
    case 'o':
        return BRANCH_OURS;
    case 'x':
        return BRANCH_OTHER;
    case 'a':
        return BRANCH_AHEAD;
    default:
        return BRANCH_UNKNOWN;
    }
}

/* The second of the name that is found; 0: none. */
static int64_t found(const char *letters, int64_t adopted)
{
    struct backup_name names[16] = {0};
    size_t count = strlen(letters);

    for (size_t i = 0; i < count; i++)
        names[i].made_unix_s = (int64_t)(count - i);
    const struct backup_name *n = branch_find(names, count, kin, (void *)(uintptr_t)letters, adopted);
    return n == NULL ? 0 : n->made_unix_s;
}

static void what_is_ours_or_cannot_be_told_is_no_branch(void **state)
{
    (void)state;
    assert_int_equal(found("", 0), 0);
    assert_int_equal(found("ooo", 0), 0);
    assert_int_equal(found("uoouu", 0), 0);
}

static void what_is_older_than_all_of_ours_is_of_the_root_before(void **state)
{
    (void)state;
    assert_int_equal(found("xxxo", 0), 0);
    assert_int_equal(found("xxx", 0), 0);
}

static void what_is_younger_than_something_of_ours_is_a_branch(void **state)
{
    (void)state;
    assert_int_equal(found("ooxo", 0), 3);
    assert_int_equal(found("xoxux", 0), 5);
}

static void what_we_never_reached_is_a_branch_whatever_its_age(void **state)
{
    (void)state;
    assert_int_equal(found("a", 0), 1);
    assert_int_equal(found("aoo", 0), 1);
}

static void what_was_adopted_counts_no_more_and_what_comes_later_does(void **state)
{
    (void)state;
    assert_int_equal(found("oaxo", 3), 0);
    assert_int_equal(found("oaxoxo", 3), 5);
}

static void an_adoption_is_kept_by_sink(void **state)
{
    char folder[] = "/tmp/ww-branch-XXXXXX", file[64];
    struct refusal why;

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(branch_adopted(folder, "near"), 0);
    assert_true(branch_adopt(folder, "near", 17, &why) && branch_adopt(folder, "far", 18, &why));
    assert_int_equal(branch_adopted(folder, "near"), 17);
    assert_int_equal(branch_adopted(folder, "far"), 18);
    snprintf(file, sizeof file, "%s/adopted.json", folder);
    assert_int_equal(truncate(file, 9), 0);
    assert_int_equal(branch_adopted(folder, "near"), 0);
    unlink(file);
    assert_false(branch_adopt("/nonexistent/folder", "near", 1, &why));
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_ours_or_cannot_be_told_is_no_branch),
        cmocka_unit_test(what_is_older_than_all_of_ours_is_of_the_root_before),
        cmocka_unit_test(what_is_younger_than_something_of_ours_is_a_branch),
        cmocka_unit_test(what_we_never_reached_is_a_branch_whatever_its_age),
        cmocka_unit_test(what_was_adopted_counts_no_more_and_what_comes_later_does),
        cmocka_unit_test(an_adoption_is_kept_by_sink),
    };

    return RUN_TESTS("ctrl branch", tests);
}
