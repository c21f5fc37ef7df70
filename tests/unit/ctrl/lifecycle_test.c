#include "ctrl/keys/lifecycle.h"
#include "tests/unit/ctrl/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every state that one key of at most 3 versions can reach from nothing, by every event at every version, with time
 * that goes by in between: each case below looks at each step from each of them.  Dates are counted from now, so that
 * there are finitely many. */
#define VERSIONS 3
#define DAY      86400
#define MONTH    LIFECYCLE_WINDOW_DEFAULT_S
#define EVENTS   (LIFECYCLE_EXPIRE + 1)

static const struct lifecycle_time now = {1700000000, 5000000};

struct picture {
    struct lifecycle_unit key, versions[VERSIONS + 1];
    uint32_t primary, window_s, version_count;
};

struct walk {
    struct picture before, after;
    struct lifecycle_input in;
    enum lifecycle_status status;
};

static struct picture *reached;
static size_t reached_count, reached_cap;
static uint32_t *slots;
#define SLOTS (1u << 20)

static bool picture_equal(const struct picture *a, const struct picture *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void reach(const struct picture *p)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < sizeof *p; i++)
        h = (h ^ ((const uint8_t *)p)[i]) * 1099511628211u;
    size_t at = (size_t)(h ^ h >> 32) & (SLOTS - 1);
    while (slots[at] != 0 && !picture_equal(&reached[slots[at] - 1], p))
        at = (at + 1) & (SLOTS - 1);
    if (slots[at] != 0)
        return;
    if (reached_count == reached_cap) {
        reached_cap = reached_cap == 0 ? 4096 : 2 * reached_cap;
        reached = realloc(reached, reached_cap * sizeof *reached);
        assert_non_null(reached);
    }
    reached[reached_count++] = *p;
    assert_true(reached_count < SLOTS / 2);
    slots[at] = (uint32_t)reached_count;
}

static void take_step(struct walk *w)
{
    struct lifecycle l = {w->before.key, w->before.primary, w->before.window_s, w->before.version_count,
                          w->after.versions};

    w->after = w->before;
    w->status = lifecycle_step(&l, &w->in);
    w->after.key = l.key;
    w->after.primary = l.primary;
    w->after.window_s = l.window_s;
    w->after.version_count = l.version_count;
}

static void sooner(struct lifecycle_unit *u, uint32_t by_s)
{
    int64_t left = u->at_unix_s - now.unix_s - by_s;

    if (u->state != KEY_STATE_DESTROY_SCHEDULED)
        return;
    left = left < 0 ? 0 : left;
    u->at_unix_s = now.unix_s + left;
    u->watched_s = now.watched_s + (uint64_t)left;
}

static struct picture later(const struct picture *p, uint32_t by_s)
{
    struct picture q = *p;

    sooner(&q.key, by_s);
    for (uint32_t i = 0; i < q.version_count; i++)
        sooner(&q.versions[i], by_s);
    return q;
}

/* Every event, at the key and every version and one that is not there, every window that makes a difference. */
static void steps_from(const struct picture *p, void (*look)(const struct walk *))
{
    static const uint32_t afters[] = {0, DAY, MONTH, DAY - 1, LIFECYCLE_WINDOW_CAP_S + 1};

    for (int event = 0; event < EVENTS; event++) {
        for (uint32_t version = 0; version <= p->version_count + 1; version++) {
            size_t windows = event == LIFECYCLE_DESTROY ? sizeof afters / sizeof afters[0] : 1;

            for (size_t i = 0; i < 2 * windows; i++) {
                struct walk w = {
                    .before = *p,
                    .in = {(enum lifecycle_event)event, version, afters[i / 2], i % 2 != 0, false, now}};

                if (windows == 1 && i != 0)
                    continue;
                take_step(&w);
                look(&w);
            }
        }
    }
}

static void reach_after(const struct walk *w)
{
    if (w->status == LIFECYCLE_CHANGED && w->after.version_count <= VERSIONS)
        reach(&w->after);
}

static int reach_all(void **state)
{
    (void)state;
    slots = calloc(SLOTS, sizeof *slots);
    assert_non_null(slots);
    reach(&(struct picture){0});
    for (size_t i = 0; i < reached_count; i++) {
        struct picture p = reached[i], q = later(&p, DAY), r = later(&p, MONTH);

        reach(&q);
        reach(&r);
        steps_from(&p, reach_after);
    }
    return 0;
}

static int forget_all(void **state)
{
    (void)state;
    free(reached);
    free(slots);
    return 0;
}

static void walk_all(void (*look)(const struct walk *))
{
    for (size_t i = 0; i < reached_count; i++)
        steps_from(&reached[i], look);
}

static const struct lifecycle_unit *unit_at(const struct picture *p, uint32_t version)
{
    return version == 0 ? &p->key : &p->versions[version - 1];
}

static bool unit_same(const struct walk *w, uint32_t version)
{
    return memcmp(unit_at(&w->before, version), unit_at(&w->after, version), sizeof(struct lifecycle_unit)) ==
           0;
}

static bool names_a_unit(const struct walk *w)
{
    return w->in.event >= LIFECYCLE_ENABLE && w->before.key.state != 0 &&
           w->in.version <= w->before.version_count;
}

/* ---- claims about every step ---- */

static void look_unchanged(const struct walk *w)
{
    if (w->status != LIFECYCLE_CHANGED)
        assert_true(picture_equal(&w->before, &w->after));
    else
        assert_false(picture_equal(&w->before, &w->after));
}

static void only_changed_changes_anything(void **state)
{
    (void)state;
    assert_true(reached_count > 5000);
    walk_all(look_unchanged);
}

static void look_one_unit(const struct walk *w)
{
    if (!names_a_unit(w))
        return;
    for (uint32_t v = 0; v <= w->before.version_count; v++) {
        if (v != w->in.version)
            assert_true(unit_same(w, v));
    }
    assert_int_equal(w->after.primary, w->before.primary);
    assert_int_equal(w->after.version_count, w->before.version_count);
}

static void an_event_touches_the_unit_that_it_names_and_no_other(void **state)
{
    (void)state;
    walk_all(look_one_unit);
}

static void look_missing(const struct walk *w)
{
    if (w->before.key.state == 0 && w->in.event != LIFECYCLE_CREATE)
        assert_int_equal(w->status, LIFECYCLE_NO_KEY);
    else if (w->in.event >= LIFECYCLE_ENABLE && w->in.version > w->before.version_count)
        assert_int_equal(w->status, LIFECYCLE_NO_VERSION);
}

static void what_is_not_there_is_named(void **state)
{
    (void)state;
    walk_all(look_missing);
}

static void look_create(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_CREATE)
        return;
    assert_int_equal(w->status, w->before.key.state == 0 ? LIFECYCLE_CHANGED : LIFECYCLE_EXISTS);
    if (w->status == LIFECYCLE_CHANGED) {
        assert_int_equal(w->after.version_count, 1);
        assert_int_equal(w->after.primary, 0);
        assert_int_equal(w->after.versions[0].state, KEY_STATE_PENDING_DURABLE);
        assert_int_equal(w->after.key.state, KEY_STATE_PENDING_DURABLE);
    }
}

static void create_makes_one_pending_version_and_only_where_there_was_never_a_key(void **state)
{
    (void)state;
    walk_all(look_create);
}

/* The arrows of lifecycle.h, and no other. */
static bool arrow(uint8_t from, uint8_t to, enum lifecycle_event by)
{
    static const struct {
        uint8_t from, to;
        enum lifecycle_event by;
    } arrows[] = {
        {0, KEY_STATE_PENDING_DURABLE, LIFECYCLE_CREATE},
        {0, KEY_STATE_PENDING_DURABLE, LIFECYCLE_ROTATE},
        {KEY_STATE_PENDING_DURABLE, KEY_STATE_ENABLED, LIFECYCLE_DURABLE},
        {KEY_STATE_ENABLED, KEY_STATE_DISABLED, LIFECYCLE_DISABLE},
        {KEY_STATE_DISABLED, KEY_STATE_ENABLED, LIFECYCLE_ENABLE},
        {KEY_STATE_DISABLED, KEY_STATE_DESTROY_SCHEDULED, LIFECYCLE_DESTROY},
        {KEY_STATE_ENABLED, KEY_STATE_DESTROY_SCHEDULED, LIFECYCLE_DESTROY}, /* from_enabled */
        {KEY_STATE_DESTROY_SCHEDULED, KEY_STATE_DISABLED, LIFECYCLE_RESTORE},
        {KEY_STATE_DESTROY_SCHEDULED, KEY_STATE_DESTROYED, LIFECYCLE_EXPIRE},
        {KEY_STATE_PENDING_DURABLE, KEY_STATE_DESTROYED,
         LIFECYCLE_EXPIRE}, /* the following with the key only */
        {KEY_STATE_ENABLED, KEY_STATE_DESTROYED, LIFECYCLE_EXPIRE},
        {KEY_STATE_DISABLED, KEY_STATE_DESTROYED, LIFECYCLE_EXPIRE},
    };

    for (size_t i = 0; i < sizeof arrows / sizeof arrows[0]; i++) {
        if (arrows[i].from == from && arrows[i].to == to && arrows[i].by == by)
            return true;
    }
    return from == to;
}

static void look_arrows(const struct walk *w)
{
    for (uint32_t v = 0; v <= VERSIONS; v++) {
        const struct lifecycle_unit *from = unit_at(&w->before, v), *to = unit_at(&w->after, v);

        assert_true(arrow(from->state, to->state, w->in.event));
        if (from->state == KEY_STATE_ENABLED && to->state == KEY_STATE_DESTROY_SCHEDULED)
            assert_true(w->in.from_enabled);
        if (to->state == KEY_STATE_DESTROYED && from->state != to->state &&
            from->state != KEY_STATE_DESTROY_SCHEDULED)
            assert_true(v != 0 && w->before.key.state == KEY_STATE_DESTROYED);
    }
}

static void states_change_along_the_arrows_only(void **state)
{
    (void)state;
    walk_all(look_arrows);
}

static void look_dates(const struct walk *w)
{
    for (uint32_t v = 0; v <= w->after.version_count; v++) {
        const struct lifecycle_unit *u = unit_at(&w->after, v);

        assert_int_equal(u->window_s != 0, u->state == KEY_STATE_DESTROY_SCHEDULED);
        assert_int_equal(u->watched_s != 0, u->state == KEY_STATE_DESTROY_SCHEDULED);
        assert_int_equal(u->at_unix_s != 0, u->state >= KEY_STATE_DESTROY_SCHEDULED);
    }
}

static void the_doomed_have_both_their_dates_and_the_destroyed_the_day_they_went(void **state)
{
    (void)state;
    walk_all(look_dates);
}

static void look_early(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_EXPIRE || w->status != LIFECYCLE_CHANGED)
        return;
    const struct lifecycle_unit *u = unit_at(&w->before, w->in.version);
    bool with_key = w->in.version != 0 && w->before.key.state == KEY_STATE_DESTROYED;
    assert_true(with_key || (u->state == KEY_STATE_DESTROY_SCHEDULED && u->at_unix_s <= now.unix_s &&
                             u->watched_s <= now.watched_s));
}

static void nothing_is_destroyed_before_its_time(void **state)
{
    (void)state;
    walk_all(look_early);
}

static void only_date_or_only_watched_time_is_not_enough(void **state)
{
    struct lifecycle_unit version;
    struct lifecycle l = {{KEY_STATE_DESTROY_SCHEDULED, DAY, now.unix_s, now.watched_s}, 1, DAY, 0, &version};
    struct lifecycle_input in = {.event = LIFECYCLE_EXPIRE, .now = {now.unix_s - 1, now.watched_s}};

    (void)state;
    assert_int_equal(lifecycle_step(&l, &in), LIFECYCLE_NOT_DUE);
    in.now = (struct lifecycle_time){now.unix_s + 1000 * (int64_t)DAY, now.watched_s - 1};
    assert_int_equal(lifecycle_step(&l, &in), LIFECYCLE_NOT_DUE);
    in.now = now;
    assert_int_equal(lifecycle_step(&l, &in), LIFECYCLE_CHANGED);
}

static void look_window(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_DESTROY || w->status != LIFECYCLE_CHANGED)
        return;
    const struct lifecycle_unit *was = unit_at(&w->before, w->in.version),
                                *is = unit_at(&w->after, w->in.version);
    assert_true(is->window_s >= DAY && is->window_s <= LIFECYCLE_WINDOW_CAP_S);
    assert_int_equal(is->at_unix_s, now.unix_s + is->window_s);
    assert_int_equal(is->watched_s, now.watched_s + is->window_s);
    assert_true(is->window_s >= w->before.window_s && is->at_unix_s >= was->at_unix_s);
    assert_int_equal(w->after.window_s, is->window_s);
    if (w->in.after_s == 0)
        assert_true(is->window_s >= MONTH);
    else
        assert_int_equal(is->window_s, w->in.after_s);
}

static void a_window_is_within_its_bounds_and_never_shorter_than_one_before(void **state)
{
    (void)state;
    walk_all(look_window);
}

static void look_primary(const struct walk *w)
{
    const struct picture *p = &w->after;

    if (p->primary == 0 || p->key.state == KEY_STATE_DESTROYED)
        return;
    assert_true(p->versions[p->primary - 1].state < KEY_STATE_DESTROY_SCHEDULED);
}

static void the_primary_is_neither_doomed_nor_destroyed_while_its_key_is_there(void **state)
{
    (void)state;
    walk_all(look_primary);
}

static void look_destroy_refused(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_DESTROY || !names_a_unit(w))
        return;
    const struct lifecycle_unit *u = unit_at(&w->before, w->in.version);
    if (u->state == KEY_STATE_ENABLED && !w->in.from_enabled)
        assert_int_not_equal(w->status, LIFECYCLE_CHANGED);
    if (u->state == KEY_STATE_DESTROYED || w->before.key.state == KEY_STATE_DESTROYED)
        assert_int_equal(w->status, LIFECYCLE_GONE);
    else if (w->in.version != 0 && w->before.key.state == KEY_STATE_DESTROY_SCHEDULED)
        assert_int_equal(w->status, LIFECYCLE_DOOMED);
    else if (u->state == KEY_STATE_DISABLED && w->in.version == 0 && w->in.after_s == 0 &&
             w->before.versions[w->before.version_count - 1].state != KEY_STATE_PENDING_DURABLE)
        assert_int_equal(w->status, LIFECYCLE_CHANGED);
}

static void a_disabled_key_can_be_doomed_and_an_enabled_or_ended_one_cannot(void **state)
{
    (void)state;
    walk_all(look_destroy_refused);
}

static void look_restore(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_RESTORE || !names_a_unit(w))
        return;
    const struct lifecycle_unit *u = unit_at(&w->before, w->in.version);
    bool gone = w->before.key.state == KEY_STATE_DESTROYED || u->state == KEY_STATE_DESTROYED;
    assert_int_equal(w->status == LIFECYCLE_GONE, gone);
    if (!gone && u->state == KEY_STATE_DESTROY_SCHEDULED) {
        assert_int_equal(w->status, LIFECYCLE_CHANGED);
        assert_int_equal(unit_at(&w->after, w->in.version)->state, KEY_STATE_DISABLED);
    }
}

static void whatever_is_doomed_can_be_restored_and_whatever_is_destroyed_cannot(void **state)
{
    (void)state;
    walk_all(look_restore);
}

static void look_durable(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_DURABLE || w->status != LIFECYCLE_CHANGED)
        return;
    uint32_t last_pending = 0;
    for (uint32_t v = 1; v <= w->before.version_count; v++) {
        assert_int_not_equal(unit_at(&w->after, v)->state, KEY_STATE_PENDING_DURABLE);
        if (unit_at(&w->before, v)->state == KEY_STATE_PENDING_DURABLE)
            last_pending = v;
    }
    assert_int_equal(w->after.primary, last_pending == 0 ? w->before.primary : last_pending);
}

static void durable_makes_the_newest_pending_version_primary(void **state)
{
    (void)state;
    walk_all(look_durable);
}

static bool any_pending(const struct picture *p)
{
    bool pending = p->key.state == KEY_STATE_PENDING_DURABLE;

    for (uint32_t i = 0; i < p->version_count; i++)
        pending |= p->versions[i].state == KEY_STATE_PENDING_DURABLE;
    return pending;
}

static void look_rotate(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_ROTATE || w->before.key.state == 0)
        return;
    assert_int_equal(w->status == LIFECYCLE_CHANGED,
                     !any_pending(&w->before) && w->before.key.state == KEY_STATE_ENABLED);
    if (w->status == LIFECYCLE_CHANGED) {
        assert_int_equal(w->after.version_count, w->before.version_count + 1);
        assert_int_equal(w->after.primary, w->before.primary);
    }
}

static void rotate_adds_one_pending_version_to_an_enabled_key_and_leaves_the_primary(void **state)
{
    (void)state;
    walk_all(look_rotate);
}

static void look_switch(const struct walk *w)
{
    if ((w->in.event != LIFECYCLE_ENABLE && w->in.event != LIFECYCLE_DISABLE) || !names_a_unit(w))
        return;
    uint8_t was = unit_at(&w->before, w->in.version)->state;
    uint8_t to = w->in.event == LIFECYCLE_ENABLE ? KEY_STATE_ENABLED : KEY_STATE_DISABLED;
    bool key_ended = w->in.version != 0 && w->before.key.state >= KEY_STATE_DESTROY_SCHEDULED;
    bool may = (was == KEY_STATE_ENABLED || was == KEY_STATE_DISABLED) && !key_ended;
    assert_int_equal(w->status == LIFECYCLE_CHANGED, may && was != to);
    assert_int_equal(w->status == LIFECYCLE_ALREADY, may && was == to);
}

static void enabled_and_disabled_can_be_switched_and_nothing_else_can(void **state)
{
    (void)state;
    walk_all(look_switch);
}

static void look_follow(const struct walk *w)
{
    if (w->in.event != LIFECYCLE_EXPIRE || !names_a_unit(w) || w->in.version == 0 ||
        w->before.key.state != KEY_STATE_DESTROYED)
        return;
    assert_int_equal(unit_at(&w->after, w->in.version)->state, KEY_STATE_DESTROYED);
}

static void every_version_follows_its_destroyed_key(void **state)
{
    (void)state;
    walk_all(look_follow);
}

static void rotate_stops_at_the_most_versions_a_key_can_have(void **state)
{
    static struct lifecycle_unit units[KEY_VERSIONS_PER_KEY + 1];
    struct lifecycle l = {{.state = KEY_STATE_ENABLED}, 1, 0, KEY_VERSIONS_PER_KEY, units};
    struct lifecycle_input in = {.event = LIFECYCLE_ROTATE};

    (void)state;
    for (size_t i = 0; i < KEY_VERSIONS_PER_KEY; i++)
        units[i].state = KEY_STATE_ENABLED;
    assert_int_equal(lifecycle_step(&l, &in), LIFECYCLE_TOO_MANY);
    l.version_count--;
    assert_int_equal(lifecycle_step(&l, &in), LIFECYCLE_CHANGED);
}

static void a_second_window_may_be_longer_and_needs_approval_to_be_shorter_even_after_a_restore(void **state)
{
    struct lifecycle_unit version = {.state = KEY_STATE_ENABLED};
    struct lifecycle l = {{.state = KEY_STATE_DISABLED}, 1, 0, 1, &version};
    struct lifecycle_input doom = {.event = LIFECYCLE_DESTROY, .after_s = 40 * DAY, .now = now},
                           back = {.event = LIFECYCLE_RESTORE};

    (void)state;
    assert_int_equal(lifecycle_step(&l, &doom), LIFECYCLE_CHANGED);
    doom.after_s = 39 * DAY;
    assert_int_equal(lifecycle_step(&l, &doom), LIFECYCLE_NEEDS_APPROVAL);
    assert_int_equal(lifecycle_step(&l, &back), LIFECYCLE_CHANGED);
    assert_int_equal(lifecycle_step(&l, &doom), LIFECYCLE_NEEDS_APPROVAL);
    doom.after_s = 41 * DAY;
    assert_int_equal(lifecycle_step(&l, &doom), LIFECYCLE_CHANGED);
    doom.after_s = 0;
    assert_int_equal(lifecycle_step(&l, &doom), LIFECYCLE_ALREADY);
}

/* ---- three keys, by chance, against a model that is told the rules in another way ---- */

#define WALKS 100000
#define STEPS 24
#define KEYS  3

struct model {
    char key, versions[STEPS + 2]; /* 0 nothing, P E D S X */
    int64_t key_left, left[STEPS + 2];
    int count, primary;
    int64_t window;
};

static bool model_ended(const struct model *m, int v)
{
    return m->key == 'X' || m->key == 'S' || (v != 0 && (m->versions[v] == 'X' || m->versions[v] == 'S'));
}

static bool model_pends(const struct model *m)
{
    for (int v = 1; v <= m->count; v++) {
        if (m->versions[v] == 'P')
            return true;
    }
    return false;
}

static bool model_doom(struct model *m, int v, char *state, int64_t *left, int64_t after)
{
    int64_t window = after != 0 ? after : m->window > MONTH ? m->window : MONTH;

    if (*state == 'X' || m->key == 'X' || (v != 0 && m->key == 'S') || (*state == 'S' && after == 0))
        return false;
    if (*state == 'P' || *state == 'E' || (v == 0 && model_pends(m)) || (v != 0 && v == m->primary))
        return false;
    if (window < DAY || window > 120 * DAY || window < m->window || (*state == 'S' && window <= *left))
        return false;
    *state = 'S';
    *left = m->window = window;
    return true;
}

static bool model_unit(struct model *m, enum lifecycle_event e, int v, int64_t after)
{
    char *state = v == 0 ? &m->key : &m->versions[v];
    int64_t *left = v == 0 ? &m->key_left : &m->left[v];
    char from = *state;

    if (v > m->count)
        return false;
    if (e == LIFECYCLE_DESTROY)
        return model_doom(m, v, state, left, after);
    if (e == LIFECYCLE_ENABLE && from == 'D' && !model_ended(m, v))
        *state = 'E';
    if (e == LIFECYCLE_DISABLE && from == 'E' && !model_ended(m, v))
        *state = 'D';
    if (e == LIFECYCLE_RESTORE && from == 'S' && m->key != 'X')
        *state = 'D';
    if (e == LIFECYCLE_EXPIRE && ((from == 'S' && *left <= 0) || (v != 0 && m->key == 'X')))
        *state = 'X';
    return *state != from;
}

static bool model_step(struct model *m, enum lifecycle_event e, int v, int64_t after)
{
    if (e == LIFECYCLE_CREATE) {
        if (m->key != 0)
            return false;
        m->key = m->versions[1] = 'P';
        m->count = 1;
        return true;
    }
    if (m->key == 0)
        return false;
    if (e == LIFECYCLE_ROTATE) {
        if (m->key != 'E' || model_pends(m))
            return false;
        m->versions[++m->count] = 'P';
        return true;
    }
    if (e != LIFECYCLE_DURABLE)
        return model_unit(m, e, v, after);
    if (!model_pends(m))
        return false;
    m->primary = m->count;
    m->versions[m->count] = 'E';
    m->key = m->key == 'P' ? 'E' : m->key;
    return true;
}

static void model_time(struct model *m, int64_t by)
{
    m->key_left -= by;
    for (int v = 1; v <= m->count; v++)
        m->left[v] -= by;
}

static void compare(const struct model *m, const struct lifecycle *l)
{
    static const char letters[] = {0, 'P', 'E', 'D', 'S', 'X'};

    assert_int_equal(letters[l->key.state], m->key);
    assert_int_equal(l->version_count, m->count);
    assert_int_equal(l->primary, m->primary);
    for (uint32_t v = 0; v < l->version_count; v++)
        assert_int_equal(letters[l->versions[v].state], m->versions[v + 1]);
}

static void walk_once(uint64_t seed)
{
    static const uint32_t afters[] = {0, DAY, 7 * DAY, MONTH, 120 * DAY, DAY - 1, 121 * DAY};
    struct lifecycle_unit units[KEYS][STEPS + 2] = {0};
    struct lifecycle l[KEYS] = {{.versions = units[0]}, {.versions = units[1]}, {.versions = units[2]}};
    struct model m[KEYS] = {0};
    struct lifecycle_time t = now;

    for (int i = 0; i < STEPS; i++) {
        uint64_t r = rig_random(&seed);
        size_t k = r % KEYS;
        struct lifecycle_input in = {(enum lifecycle_event)(r >> 8 & 7),
                                     (uint32_t)(r >> 16) % 4,
                                     afters[(r >> 24) % 7],
                                     false,
                                     false,
                                     t};

        assert_int_equal(lifecycle_step(&l[k], &in) == LIFECYCLE_CHANGED,
                         model_step(&m[k], in.event, (int)in.version, in.after_s));
        compare(&m[k], &l[k]);
        if ((r >> 32) % 4 != 0)
            continue;
        uint32_t by = (uint32_t)((r >> 40) % 40) * DAY;
        t.unix_s += by;
        t.watched_s += by;
        for (k = 0; k < KEYS; k++)
            model_time(&m[k], by);
    }
}

static void three_keys_walked_by_chance_do_what_the_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < WALKS; seed++)
        walk_once(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_changed_changes_anything),
        cmocka_unit_test(an_event_touches_the_unit_that_it_names_and_no_other),
        cmocka_unit_test(what_is_not_there_is_named),
        cmocka_unit_test(create_makes_one_pending_version_and_only_where_there_was_never_a_key),
        cmocka_unit_test(states_change_along_the_arrows_only),
        cmocka_unit_test(the_doomed_have_both_their_dates_and_the_destroyed_the_day_they_went),
        cmocka_unit_test(nothing_is_destroyed_before_its_time),
        cmocka_unit_test(only_date_or_only_watched_time_is_not_enough),
        cmocka_unit_test(a_window_is_within_its_bounds_and_never_shorter_than_one_before),
        cmocka_unit_test(the_primary_is_neither_doomed_nor_destroyed_while_its_key_is_there),
        cmocka_unit_test(a_disabled_key_can_be_doomed_and_an_enabled_or_ended_one_cannot),
        cmocka_unit_test(whatever_is_doomed_can_be_restored_and_whatever_is_destroyed_cannot),
        cmocka_unit_test(durable_makes_the_newest_pending_version_primary),
        cmocka_unit_test(rotate_adds_one_pending_version_to_an_enabled_key_and_leaves_the_primary),
        cmocka_unit_test(enabled_and_disabled_can_be_switched_and_nothing_else_can),
        cmocka_unit_test(every_version_follows_its_destroyed_key),
        cmocka_unit_test(rotate_stops_at_the_most_versions_a_key_can_have),
        cmocka_unit_test(a_second_window_may_be_longer_and_needs_approval_to_be_shorter_even_after_a_restore),
        cmocka_unit_test(three_keys_walked_by_chance_do_what_the_model_does),
    };

    return cmocka_run_group_tests_name("ctrl lifecycle", tests, reach_all, forget_all);
}
