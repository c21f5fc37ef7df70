#include "ctrl/keys/policy.h"
#include "tests/unit/test.h"

#include <stdio.h>

static struct policy policy;
static struct refusal why;

static bool parse(const char *text)
{
    policy_free(&policy);
    return policy_parse(span_str(text), &policy, &why);
}

static void accept(const char *text)
{
    if (!parse(text))
        fail_msg("%s", why.text);
}

static void refuse_with(const char *text, const char *message)
{
    assert_false(parse(text));
    assert_string_equal(why.code, "bad_policy");
    assert_string_equal(why.text, message);
}

static int forget(void **state)
{
    (void)state;
    policy_free(&policy);
    return 0;
}

static void a_json_file_is_read(void **state)
{
    (void)state;
    accept(
        "{\"callers\": [\"a@b.example\", \"c@d.example\"], \"reasons\": \"all\",\n\t\"deny_status\": 400}");
    assert_int_equal(policy.caller_count, 2);
    assert_string_equal(policy.callers[1], "c@d.example");
    assert_int_equal(policy.reasons, ACCESS_REASONS_ALL);
    assert_int_equal(policy.deny_status, 400);
}

static void a_yaml_file_is_read(void **state)
{
    (void)state;
    accept(
        "callers:\n  - a@b.example\nreasons:\n  - CUSTOMER_INITIATED_ACCESS\n  - GOOGLE_INITIATED_SERVICE\n");
    assert_int_equal(policy.caller_count, 1);
    assert_int_equal(policy.reasons, 1u << 5 | 1u << 2);
    assert_int_equal(policy.deny_status, 403);
}

static void all_reasons_are_the_default_and_include_a_missing_one_but_no_unknown_one(void **state)
{
    (void)state;
    accept("callers: []");
    assert_int_equal(policy.caller_count, 0);
    assert_int_equal(policy.reasons, ACCESS_REASONS_ALL);
}

static void a_list_of_reasons_excludes_a_missing_one_unless_it_says_so(void **state)
{
    (void)state;
    accept("callers: []\nreasons: [REASON_UNSPECIFIED]");
    assert_int_equal(policy.reasons, 1u);
    accept("callers: []\nreasons: [REASON_UNSPECIFIED]\nallow_missing_reason: true");
    assert_int_equal(policy.reasons, 1u | ACCESS_REASON_ABSENT_BIT);
}

static void a_missing_reason_can_be_refused_beside_all(void **state)
{
    (void)state;
    accept("allow_missing_reason: false\nreasons: all\ncallers: []");
    assert_int_equal(policy.reasons, ACCESS_REASONS_ALL & ~ACCESS_REASON_ABSENT_BIT);
}

static void unknown_reasons_are_allowed_only_when_said(void **state)
{
    (void)state;
    accept("callers: []\nallow_unknown_reason: true");
    assert_int_equal(policy.reasons, ACCESS_REASONS_ALL | ACCESS_REASON_UNKNOWN_BIT);
}

static void an_empty_list_of_reasons_allows_none(void **state)
{
    (void)state;
    accept("callers: []\nreasons: []");
    assert_int_equal(policy.reasons, 0);
}

static void an_unknown_name_is_refused_with_place_and_nearest_name(void **state)
{
    (void)state;
    refuse_with("callers: []\n\nreason: all\n",
                "line 3, column 1: unknown name \"reason\"; did you mean \"reasons\"?");
}

static void an_unknown_reason_is_refused_with_place_and_nearest_name(void **state)
{
    (void)state;
    refuse_with("callers: []\nreasons:\n  - CUSTOMER_INITIATED_ACESS\n",
                "line 3, column 5: unknown reason \"CUSTOMER_INITIATED_ACESS\"; did you mean "
                "\"CUSTOMER_INITIATED_ACCESS\"?");
}

static void a_reason_is_its_exact_name(void **state)
{
    (void)state;
    assert_false(parse("callers: []\nreasons: [reason_unspecified]\n"));
    assert_false(parse("callers: []\nreasons: [5]\n"));
}

static void reasons_that_are_neither_all_nor_a_list_are_refused(void **state)
{
    (void)state;
    refuse_with("callers: []\nreasons: none\n",
                "line 2, column 10: must be \"all\" or a list of reason names");
}

static void missing_callers_are_refused(void **state)
{
    (void)state;
    refuse_with("reasons: all\n",
                "line 1, column 1: \"callers\" is missing; to let nobody in, write callers: []");
}

static void a_name_given_twice_is_refused(void **state)
{
    (void)state;
    refuse_with("callers: []\ncallers: [a@b.example]\n", "line 2, column 1: this name is given twice");
}

static void a_caller_given_twice_is_refused(void **state)
{
    (void)state;
    refuse_with("callers: [a@b.example, a@b.example]\n", "line 1, column 24: this caller is already listed");
}

static void a_caller_that_is_no_address_is_refused(void **state)
{
    static const char *const wrong[] = {
        "a",          "\"@b.example\"", "a@",        "a@b@c", "\"a @b.example\"",
        "\"a@b\\n\"", "\"\"",           "[a@b.com]", "5",     "\"\\u00e4@b.example\""};
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "callers: [%s]\n", wrong[i]);
        refuse_with(text, "line 1, column 11: a caller is an e-mail address of at most 254 ASCII characters");
    }
}

static void more_callers_than_a_key_can_have_are_refused(void **state)
{
    char text[EKM_CALLERS_PER_KEY * 16 + 64] = "callers:\n";
    size_t len = strlen(text);

    (void)state;
    for (int i = 0; i < EKM_CALLERS_PER_KEY; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "- c%d@b.ex\n", i);
    accept(text);
    assert_int_equal(policy.caller_count, EKM_CALLERS_PER_KEY);
    snprintf(text + len, sizeof text - len, "- last@b.ex\n");
    refuse_with(text, "line 66, column 3: more than 64 callers");
}

static void a_deny_status_other_than_403_and_400_is_refused(void **state)
{
    (void)state;
    refuse_with("callers: []\ndeny_status: 404\n", "line 2, column 14: must be 403 or 400");
    refuse_with("callers: []\ndeny_status: \"403\"\n", "line 2, column 14: must be 403 or 400");
}

static void a_boolean_is_true_or_false_and_not_text_or_yes(void **state)
{
    (void)state;
    refuse_with("callers: []\nallow_missing_reason: yes\n", "line 2, column 23: must be true or false");
    refuse_with("callers: []\nallow_missing_reason: \"true\"\n", "line 2, column 23: must be true or false");
}

static void a_file_that_is_no_mapping_is_refused(void **state)
{
    (void)state;
    refuse_with("- a\n", "line 1, column 1: must be a mapping with callers, reasons ...");
    refuse_with("", "line 1, column 1: the file is empty");
}

static void broken_yaml_is_refused_with_its_place(void **state)
{
    (void)state;
    assert_false(parse("callers: [\n"));
    assert_non_null(strstr(why.text, "line 2, column 1: "));
}

static void a_file_that_is_too_long_is_refused(void **state)
{
    static char text[POLICY_FILE_MAX + 2];

    (void)state;
    memset(text, '#', sizeof text - 1);
    refuse_with(text, "longer than 131072 bytes");
}

#define CASE(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_json_file_is_read),
        CASE(a_yaml_file_is_read),
        CASE(all_reasons_are_the_default_and_include_a_missing_one_but_no_unknown_one),
        CASE(a_list_of_reasons_excludes_a_missing_one_unless_it_says_so),
        CASE(a_missing_reason_can_be_refused_beside_all),
        CASE(unknown_reasons_are_allowed_only_when_said),
        CASE(an_empty_list_of_reasons_allows_none),
        CASE(an_unknown_name_is_refused_with_place_and_nearest_name),
        CASE(an_unknown_reason_is_refused_with_place_and_nearest_name),
        CASE(a_reason_is_its_exact_name),
        CASE(reasons_that_are_neither_all_nor_a_list_are_refused),
        CASE(missing_callers_are_refused),
        CASE(a_name_given_twice_is_refused),
        CASE(a_caller_given_twice_is_refused),
        CASE(a_caller_that_is_no_address_is_refused),
        CASE(more_callers_than_a_key_can_have_are_refused),
        CASE(a_deny_status_other_than_403_and_400_is_refused),
        CASE(a_boolean_is_true_or_false_and_not_text_or_yes),
        CASE(a_file_that_is_no_mapping_is_refused),
        CASE(broken_yaml_is_refused_with_its_place),
        CASE(a_file_that_is_too_long_is_refused),
    };

    return RUN_TESTS("ctrl policy", tests);
}
