#include "ctrl/lifecycle.h"
#include "tests/unit/test.h"

#include <string.h>

/* Every key of up to 3 versions in every combination of states (those that exist later, too), and every event at
 * every version: each case below looks at all of them. */
#define VERSIONS 3

struct walk {
    uint8_t before_states[VERSIONS + 1], after_states[VERSIONS + 1];
    struct lifecycle before, after;
    enum lifecycle_event event;
    uint32_t version;
    enum lifecycle_status status;
};

static uint64_t walked;

static void step_all(struct walk *w, void (*look)(const struct walk *))
{
    for (int event = LIFECYCLE_CREATE; event <= LIFECYCLE_DISABLE; event++) {
        for (uint32_t version = 0; version <= VERSIONS + 1; version++) {
            w->event = (enum lifecycle_event)event;
            w->version = version;
            w->after = w->before;
            memcpy(w->after_states, w->before_states, sizeof w->after_states);
            w->after.version_states = w->after_states;
            w->status = lifecycle_step(&w->after, w->event, version);
            walked++;
            look(w);
        }
    }
}

static void versions_all(struct walk *w, uint32_t at, void (*look)(const struct walk *))
{
    if (at == w->before.version_count) {
        for (uint32_t primary = 0; primary <= w->before.version_count; primary++) {
            w->before.primary = primary;
            step_all(w, look);
        }
        return;
    }
    for (uint8_t state = KEY_STATE_PENDING_DURABLE; state <= KEY_STATE_DESTROYED; state++) {
        w->before_states[at] = state;
        versions_all(w, at + 1, look);
    }
}

static void walk_all(void (*look)(const struct walk *))
{
    for (uint8_t key = 0; key <= KEY_STATE_DESTROYED; key++) {
        for (uint32_t count = key == 0 ? 0 : 1; count <= (key == 0 ? 0 : VERSIONS); count++) {
            struct walk w = {.before = {.key_state = key, .version_count = count}};

            w.before.version_states = w.before_states;
            versions_all(&w, 0, look);
        }
    }
}

static bool same(const struct walk *w)
{
    return w->before.key_state == w->after.key_state && w->before.primary == w->after.primary &&
           w->before.version_count == w->after.version_count &&
           memcmp(w->before_states, w->after_states, w->before.version_count) == 0;
}

static uint8_t state_at(const struct walk *w, bool after, uint32_t version)
{
    const struct lifecycle *l = after ? &w->after : &w->before;

    return version == 0 ? l->key_state : l->version_states[version - 1];
}

static void look_unchanged(const struct walk *w)
{
    if (w->status != LIFECYCLE_CHANGED)
        assert_true(same(w));
}

static void anything_but_changed_leaves_everything_as_it_was(void **state)
{
    (void)state;
    walked = 0;
    walk_all(look_unchanged);
    assert_true(walked > 10000);
}

static void look_changed(const struct walk *w)
{
    if (w->status == LIFECYCLE_CHANGED)
        assert_false(same(w));
}

static void changed_means_that_something_changed(void **state)
{
    (void)state;
    walk_all(look_changed);
}

static void look_no_key(const struct walk *w)
{
    if (w->before.key_state == 0 && w->event != LIFECYCLE_CREATE)
        assert_int_equal(w->status, LIFECYCLE_NO_KEY);
}

static void nothing_but_create_happens_to_a_key_that_is_not_there(void **state)
{
    (void)state;
    walk_all(look_no_key);
}

static void look_create(const struct walk *w)
{
    if (w->event != LIFECYCLE_CREATE)
        return;
    assert_int_equal(w->status, w->before.key_state == 0 ? LIFECYCLE_CHANGED : LIFECYCLE_EXISTS);
    if (w->status == LIFECYCLE_CHANGED) {
        assert_int_equal(w->after.version_count, 1);
        assert_int_equal(w->after.primary, 0);
        assert_int_equal(w->after_states[0], KEY_STATE_PENDING_DURABLE);
        assert_int_equal(w->after.key_state, KEY_STATE_PENDING_DURABLE);
    }
}

static void create_makes_one_pending_version_and_only_where_there_is_no_key(void **state)
{
    (void)state;
    walk_all(look_create);
}

static void look_no_destroyed_returns(const struct walk *w)
{
    for (uint32_t v = 0; w->before.key_state != 0 && v <= w->before.version_count; v++) {
        uint8_t was = state_at(w, false, v);

        if (was == KEY_STATE_DESTROYED || was == KEY_STATE_DESTROY_SCHEDULED)
            assert_int_equal(state_at(w, true, v), was);
    }
}

static void no_event_brings_back_what_is_doomed_or_destroyed(void **state)
{
    (void)state;
    walk_all(look_no_destroyed_returns);
}

static void look_pending(const struct walk *w)
{
    if (w->event == LIFECYCLE_DURABLE || w->before.key_state == 0)
        return;
    for (uint32_t v = 0; v <= w->before.version_count; v++) {
        if (state_at(w, false, v) == KEY_STATE_PENDING_DURABLE)
            assert_int_equal(state_at(w, true, v), KEY_STATE_PENDING_DURABLE);
    }
}

static void only_durable_ends_pending(void **state)
{
    (void)state;
    walk_all(look_pending);
}

static void look_durable(const struct walk *w)
{
    if (w->event != LIFECYCLE_DURABLE || w->status != LIFECYCLE_CHANGED)
        return;
    uint32_t last_pending = 0;
    for (uint32_t v = 1; v <= w->before.version_count; v++) {
        assert_int_not_equal(state_at(w, true, v), KEY_STATE_PENDING_DURABLE);
        if (state_at(w, false, v) == KEY_STATE_PENDING_DURABLE)
            last_pending = v;
    }
    assert_int_equal(w->after.primary, last_pending == 0 ? w->before.primary : last_pending);
}

static void durable_makes_the_newest_pending_version_primary(void **state)
{
    (void)state;
    walk_all(look_durable);
}

static void look_one_switched(const struct walk *w)
{
    if (w->status != LIFECYCLE_CHANGED || (w->event != LIFECYCLE_ENABLE && w->event != LIFECYCLE_DISABLE))
        return;
    for (uint32_t v = 0; v <= w->before.version_count; v++) {
        if (v != w->version)
            assert_int_equal(state_at(w, true, v), state_at(w, false, v));
    }
    assert_int_equal(state_at(w, true, w->version),
                     w->event == LIFECYCLE_ENABLE ? KEY_STATE_ENABLED : KEY_STATE_DISABLED);
    assert_int_equal(w->after.primary, w->before.primary);
}

static void a_switch_touches_what_it_names_and_nothing_else(void **state)
{
    (void)state;
    walk_all(look_one_switched);
}

static void look_switch_allowed(const struct walk *w)
{
    if (w->before.key_state == 0 || (w->event != LIFECYCLE_ENABLE && w->event != LIFECYCLE_DISABLE))
        return;
    if (w->version > w->before.version_count) {
        assert_int_equal(w->status, LIFECYCLE_NO_VERSION);
        return;
    }
    uint8_t was = state_at(w, false, w->version);
    uint8_t to = w->event == LIFECYCLE_ENABLE ? KEY_STATE_ENABLED : KEY_STATE_DISABLED;
    bool may = was == KEY_STATE_ENABLED || was == KEY_STATE_DISABLED;
    assert_int_equal(w->status == LIFECYCLE_CHANGED, may && was != to);
    assert_int_equal(w->status == LIFECYCLE_ALREADY, may && was == to);
}

static void enabled_and_disabled_can_be_switched_and_nothing_else_can(void **state)
{
    (void)state;
    walk_all(look_switch_allowed);
}

static void look_rotate(const struct walk *w)
{
    if (w->event != LIFECYCLE_ROTATE || w->before.key_state == 0)
        return;
    bool pending = lifecycle_has_pending(&w->before);
    assert_int_equal(w->status == LIFECYCLE_CHANGED, !pending && w->before.key_state == KEY_STATE_ENABLED);
    if (w->status != LIFECYCLE_CHANGED)
        return;
    assert_int_equal(w->after.version_count, w->before.version_count + 1);
    assert_int_equal(w->after_states[w->before.version_count], KEY_STATE_PENDING_DURABLE);
    assert_memory_equal(w->after_states, w->before_states, w->before.version_count);
    assert_int_equal(w->after.primary, w->before.primary);
}

static void rotate_adds_one_pending_version_to_an_enabled_key_and_leaves_the_primary(void **state)
{
    (void)state;
    walk_all(look_rotate);
}

static void rotate_stops_at_the_most_versions_a_key_can_have(void **state)
{
    static uint8_t states[KEY_VERSIONS_PER_KEY + 1];
    struct lifecycle l = {KEY_STATE_ENABLED, 1, KEY_VERSIONS_PER_KEY, states};

    (void)state;
    memset(states, KEY_STATE_ENABLED, sizeof states);
    assert_int_equal(lifecycle_step(&l, LIFECYCLE_ROTATE, 0), LIFECYCLE_TOO_MANY);
    l.version_count--;
    assert_int_equal(lifecycle_step(&l, LIFECYCLE_ROTATE, 0), LIFECYCLE_CHANGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anything_but_changed_leaves_everything_as_it_was),
        cmocka_unit_test(changed_means_that_something_changed),
        cmocka_unit_test(nothing_but_create_happens_to_a_key_that_is_not_there),
        cmocka_unit_test(create_makes_one_pending_version_and_only_where_there_is_no_key),
        cmocka_unit_test(no_event_brings_back_what_is_doomed_or_destroyed),
        cmocka_unit_test(only_durable_ends_pending),
        cmocka_unit_test(durable_makes_the_newest_pending_version_primary),
        cmocka_unit_test(a_switch_touches_what_it_names_and_nothing_else),
        cmocka_unit_test(enabled_and_disabled_can_be_switched_and_nothing_else_can),
        cmocka_unit_test(rotate_adds_one_pending_version_to_an_enabled_key_and_leaves_the_primary),
        cmocka_unit_test(rotate_stops_at_the_most_versions_a_key_can_have),
    };

    return RUN_TESTS("ctrl lifecycle", tests);
}
