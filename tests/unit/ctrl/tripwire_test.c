#include "ctrl/audit/tripwire.h"
#include "tests/unit/ctrl/rig.h"

#include <stdio.h>

static struct tripwire wire;
static struct key_record *key;
static struct tripwire_sum sum;

static int setup(void **state)
{
    static const uint8_t id[KEY_ID_LEN] = {7};

    if (rig_setup(state) != 0)
        return -1;
    wire.count = 0;
    key = record_new(id, "v0/a");
    key->life.state = KEY_STATE_DISABLED;
    key->version_count = 1;
    key->versions[0].life.state = KEY_STATE_ENABLED;
    return 0;
}

static int teardown(void **state)
{
    record_unref(key);
    return rig_teardown(state);
}

static void ask(uint8_t id, const char *caller, uint32_t version, uint64_t when, const char *verdict)
{
    struct audit_record r = {.key_id = {id}, .version = version, .time_unix_us = when};

    r.caller_len = (uint8_t)snprintf(r.caller, sizeof r.caller, "%s", caller);
    tripwire_note(&wire, &r, verdict);
}

static void look(void)
{
    tripwire_of(&wire, key, &sum, NULL, NULL);
}

static void callers_of_a_key_that_is_off_are_counted_with_their_last_time(void **state)
{
    (void)state;
    ask(7, "a@b.example", 0, 10, "ekm_key_disabled");
    ask(7, "a@b.example", 0, 30, "ekm_key_gone");
    ask(7, "c@d.example", 0, 20, "ekm_key_gone");
    ask(8, "c@d.example", 0, 90, "ekm_key_gone");
    look();
    assert_int_equal(sum.callers, 2);
    assert_int_equal(sum.count, 3);
    assert_int_equal(sum.last_unix_us, 30);
}

static void requests_that_were_served_or_refused_for_another_reason_do_not_count(void **state)
{
    (void)state;
    ask(7, "a@b.example", 1, 10, "ekm_wrap_ok");
    ask(7, "a@b.example", 0, 10, "ekm_caller_denied");
    ask(7, "a@b.example", 0, 10, "ekm_key_gonee");
    look();
    assert_int_equal(sum.callers, 0);
}

static void a_version_that_is_off_counts_while_its_key_serves(void **state)
{
    (void)state;
    key->life.state = KEY_STATE_ENABLED;
    ask(7, "a@b.example", 1, 10, "ekm_version_disabled");
    look();
    assert_int_equal(sum.callers, 0);
    key->versions[0].life.state = KEY_STATE_DESTROY_SCHEDULED;
    look();
    assert_int_equal(sum.callers, 1);
}

static void one_caller_of_key_and_version_is_one_caller(void **state)
{
    (void)state;
    ask(7, "a@b.example", 1, 10, "ekm_version_disabled");
    ask(7, "a@b.example", 0, 10, "ekm_key_disabled");
    look();
    assert_int_equal(sum.callers, 1);
    assert_int_equal(sum.count, 2);
}

static void what_serves_again_is_forgotten(void **state)
{
    (void)state;
    ask(7, "a@b.example", 0, 10, "ekm_key_disabled");
    ask(8, "a@b.example", 0, 10, "ekm_key_disabled");
    key->life.state = KEY_STATE_ENABLED;
    tripwire_changed(&wire, key);
    assert_int_equal(wire.count, 1);
    key->life.state = KEY_STATE_DISABLED;
    look();
    assert_int_equal(sum.callers, 0);
}

static void when_all_entries_are_taken_the_longest_silent_makes_room(void **state)
{
    char caller[32];

    (void)state;
    for (int i = 0; i <= TRIPWIRE_ENTRIES_MAX; i++) {
        snprintf(caller, sizeof caller, "caller-%d", i);
        ask(7, caller, 0, (uint64_t)(i + 1), "ekm_key_gone");
    }
    look();
    assert_int_equal(sum.callers, TRIPWIRE_ENTRIES_MAX);
    ask(7, "caller-0", 0, 9999, "ekm_key_gone");
    look();
    assert_int_equal(sum.count, TRIPWIRE_ENTRIES_MAX);
}

static void a_callers_name_is_kept_as_printable_text(void **state)
{
    (void)state;
    ask(7, "a\n\x01\xff", 0, 10, "ekm_key_gone");
    assert_string_equal(wire.entries[0].caller, "a???");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(callers_of_a_key_that_is_off_are_counted_with_their_last_time),
        CASE(requests_that_were_served_or_refused_for_another_reason_do_not_count),
        CASE(a_version_that_is_off_counts_while_its_key_serves),
        CASE(one_caller_of_key_and_version_is_one_caller),
        CASE(what_serves_again_is_forgotten),
        CASE(when_all_entries_are_taken_the_longest_silent_makes_room),
        CASE(a_callers_name_is_kept_as_printable_text),
    };

    return RUN_TESTS("ctrl tripwire", tests);
}
