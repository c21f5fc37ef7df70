/* ekm: a whole request as text to a reply, with a token seen before and with one that is refused. */
#include "base/check.h"
#include "base/log.h"
#include "bench/micro/micro.h"
#include "tests/unit/ekm/rig.h"

static void wrap_once(void *arg)
{
    (void)arg;
    CHECK(wrap(KEY, good(), "aGVsbG8=") == 200);
}

static void stranger_once(void *arg)
{
    (void)arg;
    CHECK(wrap(KEY, "garbled", "aGVsbG8=") == 401);
}

static void bad_body_once(void *arg)
{
    (void)arg;
    CHECK(post("/" KEY ":wrap", good(), "{\"plaintext\":1}") == 400);
}

int main(int argc, char **argv)
{
    void *state = NULL;
    struct micro list[] = {
        {"a wrap, from its text to its reply", wrap_once, NULL, NULL},
        {"a token that is none", stranger_once, NULL, NULL},
        {"a body that is refused", bad_body_once, NULL, NULL},
    };

    log_set_level(LOG_ERROR);
    CHECK(rig_setup(&state) == 0);
    int rc = micro_main(argc, argv, list, sizeof list / sizeof list[0]);
    CHECK(rig_teardown(&state) == 0);
    return rc;
}
