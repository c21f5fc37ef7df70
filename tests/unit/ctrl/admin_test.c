/* Who may do what, what waits for signatures, and what the admin log holds. */
#include "tests/unit/ctrl/rig.h"

#include "base/log.h"
#include "ctrl/admin/admin.h"
#include "ctrl/lib/file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config people(void)
{
    struct config c = {.admin = {.approvals = 2, .person_count = 2}};

    c.admin.people[0] = (struct config_person){"kim", "1001", "key_officer", ""};
    c.admin.people[1] = (struct config_person){"ann", "", "approver, auditor", "/nowhere"};
    return c;
}

/* ---- roles ---- */

static void every_command_has_a_rule(void **state)
{
    (void)state;
    for (size_t i = 0; admin_command(i) != NULL; i++)
        assert_string_equal(role_rule(admin_command(i))->command, admin_command(i));
}

static void what_is_unknown_is_an_act_of_key_officers(void **state)
{
    (void)state;
    assert_true(role_rule("no such")->act);
    assert_int_equal(role_rule("no such")->roles, ROLE_KEY_OFFICER);
}

static void auditors_and_approvers_act_on_nothing_but_approvals(void **state)
{
    (void)state;
    for (size_t i = 0; admin_command(i) != NULL; i++) {
        const struct role_rule *r = role_rule(admin_command(i));

        if (r->act && strncmp(r->command, "approval ", 9) != 0)
            assert_int_equal(r->roles & (ROLE_AUDITOR | ROLE_APPROVER), 0);
    }
}

static void root_is_everybody_in_dev_and_no_approver_elsewhere(void **state)
{
    struct config c = {.admin = {.approvals = 2}};
    struct actor who;

    (void)state;
    assert_true(roles_of_uid(&c, true, 0, &who));
    assert_int_equal(who.roles, ROLES_ALL);
    assert_true(roles_of_uid(&c, false, 0, &who));
    assert_int_equal(who.roles, ROLES_ALL & ~ROLE_APPROVER);
}

static void a_uid_is_who_the_configuration_says_or_nobody(void **state)
{
    struct config c = people();
    struct actor who;

    (void)state;
    assert_true(roles_of_uid(&c, false, 1001, &who));
    assert_string_equal(who.name, "kim");
    assert_int_equal(who.roles, ROLE_KEY_OFFICER);
    assert_false(roles_of_uid(&c, true, 1002, &who));
    assert_int_equal(who.roles, 0);
}

static void a_name_has_its_roles_and_a_strangers_none(void **state)
{
    struct config c = people();
    struct actor who;
    struct refusal why;

    (void)state;
    assert_true(roles_of_name(&c, "ann", "192.0.2.7", &who));
    assert_int_equal(who.roles, ROLE_APPROVER | ROLE_AUDITOR);
    assert_false(roles_of_name(&c, "ANN", "192.0.2.7", &who));
    assert_false(roles_allow(role_rule("status"), &who, &why));
    assert_string_equal(why.code, "not_allowed");
}

/* ---- the admin log ---- */

static struct admin_log *log_ok(struct rig *g)
{
    struct admin_log *l = admin_log_open(g->dir, &g->why);

    assert_non_null(l);
    return l;
}

static uint64_t one_act(struct admin_log *l, const char *command, json_t *request)
{
    struct actor who = {"kim", "local uid 1001", ROLE_KEY_OFFICER};
    struct refusal why;
    uint64_t seq;

    assert_true(admin_log_begin(l, 1800000000, &who, command, request, 7, &seq, &why));
    assert_true(admin_log_end(l, 1800000001, seq, "done", 8));
    json_decref(request);
    return seq;
}

static bool is_whole(const struct admin_log *l, uint64_t *lines)
{
    bool whole;

    json_decref(admin_log_tail(l, 100, &whole, lines));
    return whole;
}

static void an_act_and_its_outcome_are_two_chained_lines(void **state)
{
    struct rig *g = *state;
    struct admin_log *l = log_ok(g);
    uint64_t lines;

    one_act(l, "key create", json_pack("{s:s}", "path", "v0/a"));
    assert_true(is_whole(l, &lines));
    assert_int_equal(lines, 2);
    admin_log_close(l);
    l = log_ok(g);
    assert_int_equal(one_act(l, "key rotate", json_object()), 3);
    assert_true(is_whole(l, &lines));
    admin_log_close(l);
}

static char *content(struct rig *g)
{
    static uint8_t text[65536];
    char path[160];
    size_t len;

    rig_path(g, "admin.jsonl", path, sizeof path);
    assert_true(file_read(path, text, sizeof text, &len, &g->why));
    return (char *)text;
}

static void a_secret_of_a_request_is_not_kept(void **state)
{
    struct rig *g = *state;
    struct admin_log *l = log_ok(g);

    one_act(l, "key import", json_pack("{s:s, s:s}", "path", "v0/a", "wrapped", "c0ffee"));
    assert_null(strstr(content(g), "c0ffee"));
    assert_non_null(strstr(content(g), "\"wrapped\":\"(not kept)\""));
    admin_log_close(l);
}

/* Each line of three taken out, and a byte changed in each. */
static void what_is_altered_breaks_the_chain(void **state)
{
    struct rig *g = *state;
    struct admin_log *l = log_ok(g);
    char path[160];
    uint64_t lines;

    for (int i = 0; i < 3; i++)
        one_act(l, "key rotate", json_pack("{s:s}", "path", "v0/a"));
    rig_path(g, "admin.jsonl", path, sizeof path);
    char *before = strdup(content(g));
    for (char *line = before, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        char *cut = strdup(before);
        memmove(cut + (line - before), end + 1, strlen(end + 1) + 1);
        rig_write(path, cut);
        assert_false(is_whole(l, &lines));
        free(cut);
        char kept = line[10];
        line[10] = (char)(kept ^ 1);
        rig_write(path, before);
        assert_false(is_whole(l, &lines));
        line[10] = kept;
    }
    rig_write(path, before);
    assert_true(is_whole(l, &lines));
    free(before);
    admin_log_close(l);
}

static void a_torn_last_line_is_cut_off(void **state)
{
    struct rig *g = *state;
    struct admin_log *l = log_ok(g);
    char path[160];
    uint64_t lines;

    one_act(l, "key rotate", json_object());
    admin_log_close(l);
    rig_path(g, "admin.jsonl", path, sizeof path);
    char *torn = strdup(content(g));
    torn[strlen(torn) - 5] = '\0';
    rig_write(path, torn);
    free(torn);
    l = log_ok(g);
    assert_int_equal(one_act(l, "key rotate", json_object()), 2);
    assert_true(is_whole(l, &lines));
    assert_int_equal(lines, 3);
    admin_log_close(l);
}

/* ---- approvals ---- */

static const uint8_t store_id[16] = {0xab};

static const struct approval *asked(struct approvals *a, const char *path, int64_t now)
{
    static const uint8_t key_id[KEY_ID_LEN] = {1, 2, 3};
    struct actor who = {"kim", "local uid 1001", ROLE_KEY_OFFICER};
    json_t *change = json_pack("{s:s, s:s}", "command", "key destroy", "path", path);
    struct approval_ask q = {.store_id = store_id,
                             .epoch = 7,
                             .key_id = key_id,
                             .means = "Destroy a key.\n  It is gone then.",
                             .change = change,
                             .who = &who,
                             .now_unix_s = now,
                             .expiry_s = 3600};
    struct refusal why;
    const struct approval *p = approvals_ask(a, &q, &why);

    json_decref(change);
    return p;
}

static struct approvals *approvals_ok(struct rig *g)
{
    struct approvals *a = approvals_open(g->dir, g->rng, &g->why);

    assert_non_null(a);
    return a;
}

static void a_request_says_everything_that_it_is_bound_to(void **state)
{
    struct rig *g = *state;
    struct approvals *a = approvals_ok(g);
    const struct approval *p = asked(a, "v0/a", 1000);
    static const char *const parts[] = {"Wirewrap approval request 1\n",
                                        "\nstore: ab00",
                                        "\nepoch: 7\n",
                                        "\nkey id: 010203",
                                        "\nasked by: kim\n",
                                        "\nexpires unix: 4600\n",
                                        "\nDestroy a key.\n",
                                        "\nexactly: {\"command\":\"key destroy\",\"path\":\"v0/a\"}\n"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(p->statement, parts[i]));
    approvals_close(a);
}

static void the_same_change_is_one_request_and_another_is_another(void **state)
{
    struct rig *g = *state;
    struct approvals *a = approvals_ok(g);
    const struct approval *p = asked(a, "v0/a", 1000);

    assert_ptr_equal(asked(a, "v0/a", 1001), p);
    assert_ptr_not_equal(asked(a, "v0/b", 1001), p);
    assert_int_equal(approvals_count(a), 2);
    approvals_close(a);
}

static void requests_are_there_after_a_restart(void **state)
{
    struct rig *g = *state;
    struct approvals *a = approvals_ok(g);
    char *statement = strdup(asked(a, "v0/a", 1000)->statement);

    approvals_close(a);
    a = approvals_ok(g);
    assert_int_equal(approvals_count(a), 1);
    assert_string_equal(approvals_at(a, 0)->statement, statement);
    assert_string_equal(approvals_at(a, 0)->asked_by, "kim");
    assert_int_equal(approvals_at(a, 0)->epoch, 7);
    free(statement);
    approvals_close(a);
}

static void requests_end_with_their_time_and_their_number_is_bounded(void **state)
{
    struct rig *g = *state;
    struct approvals *a = approvals_ok(g);
    char path[32];

    for (int i = 0; i < APPROVALS_MAX; i++) {
        snprintf(path, sizeof path, "v0/%d", i);
        assert_non_null(asked(a, path, 1000));
    }
    assert_null(asked(a, "v0/one/more", 1000));
    approvals_expire(a, 4599);
    assert_int_equal(approvals_count(a), APPROVALS_MAX);
    approvals_expire(a, 4600);
    assert_int_equal(approvals_count(a), 0);
    approvals_close(a);
    a = approvals_ok(g);
    assert_int_equal(approvals_count(a), 0);
    approvals_close(a);
}

static void a_signature_after_the_expiry_is_refused(void **state)
{
    struct rig *g = *state;
    struct approvals *a = approvals_ok(g);
    const struct approval *p = asked(a, "v0/a", 1000);
    struct config c = people();
    const char *by;

    assert_false(approvals_sign(a, p->id, span_str("x"), &c, 4600, &by, &g->why));
    assert_string_equal(g->why.code, "approval_expired");
    assert_false(approvals_sign(a, p->id, span_str("x"), &c, 4599, &by, &g->why));
    assert_int_equal(approvals_good(p, &c), 0);
    approvals_close(a);
}

static void a_change_cannot_pose_as_the_head(void **state)
{
    struct approval p;

    (void)state;
    assert_true(
        approval_parse("Wirewrap approval request 1\nrequest: 00112233445566778899aabbccddeeff\nstore: x\n"
                       "epoch: 7\nkey id: \nasked by: kim\nexpires unix: 5\n\nwords\nexactly: "
                       "{\"a\":\"\\nasked by: ann\"}\n",
                       &p));
    assert_string_equal(p.asked_by, "kim");
    approval_free_parts(&p);
    assert_false(
        approval_parse("Wirewrap approval request 1\nexactly: {}\nrequest: 00112233445566778899aabbccddeeff\n"
                       "epoch: 7\nkey id: \nasked by: kim\nexpires unix: 5\n",
                       &p));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, rig_setup_in_memory, teardown)

/* The rig removes its folder; the requests lie one deeper. */
static int teardown(void **state)
{
    struct rig *g = *state;
    char command[256];

    snprintf(command, sizeof command, "rm -rf %s/approvals", g->dir);
    return system(command) != 0 || rig_teardown(state) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_has_a_rule),
        cmocka_unit_test(what_is_unknown_is_an_act_of_key_officers),
        cmocka_unit_test(auditors_and_approvers_act_on_nothing_but_approvals),
        cmocka_unit_test(root_is_everybody_in_dev_and_no_approver_elsewhere),
        cmocka_unit_test(a_uid_is_who_the_configuration_says_or_nobody),
        cmocka_unit_test(a_name_has_its_roles_and_a_strangers_none),
        CASE(an_act_and_its_outcome_are_two_chained_lines),
        CASE(a_secret_of_a_request_is_not_kept),
        CASE(what_is_altered_breaks_the_chain),
        CASE(a_torn_last_line_is_cut_off),
        CASE(a_request_says_everything_that_it_is_bound_to),
        CASE(the_same_change_is_one_request_and_another_is_another),
        CASE(requests_are_there_after_a_restart),
        CASE(requests_end_with_their_time_and_their_number_is_bounded),
        CASE(a_signature_after_the_expiry_is_refused),
        cmocka_unit_test(a_change_cannot_pose_as_the_head),
    };
    log_set_level(LOG_ERROR + 1);
    return RUN_TESTS("ctrl_admin", tests);
}
