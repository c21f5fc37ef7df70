/* What crypto.engine names is found, or refused in a way that helps; handshakes that wait are in tests/sim/worker/engine_test.c. */
#include "tests/unit/test.h"
#include "tests/unit/tls/rig.h"

#include <openssl/crypto.h>
#include <string.h>

static void what_is_nowhere_is_refused_with_where_it_was_looked_for(void **state)
{
    char why[1024], path[512];
    (void)state;

    assert_false(tls_engine_check("nosuch", why, sizeof why));
    snprintf(path, sizeof path, "%s/nosuch.so", OPENSSL_info(OPENSSL_INFO_MODULES_DIR));
    assert_non_null(strstr(why, path));
    snprintf(path, sizeof path, "%s/nosuch.so", OPENSSL_info(OPENSSL_INFO_ENGINES_DIR));
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "crypto.engine"));
    assert_non_null(strstr(why, "leave crypto.engine empty"));
}

static void a_file_that_is_neither_is_refused(void **state)
{
    char why[1024];
    (void)state;

    assert_false(tls_engine_check("/dev/null", why, sizeof why));
    assert_non_null(strstr(why, "/dev/null"));
}

static void a_provider_of_openssl_s_folder_is_found_by_its_name(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    char why[1024];
    (void)state;

    assert_true(tls_engine_check("legacy", why, sizeof why));
    assert_true(tls_engine_use(w, "legacy"));
    struct pair *p = connected(w, TLS1_3_VERSION); /* it has no keys: OpenSSL's own sign on */
    assert_int_equal(tls_jobs_waiting(w), 0);
    pair_free(p);
    tls_worker_free(w);
}

static void a_worker_does_without_what_it_cannot_find(void **state)
{
    struct tls_worker *w = worker_with("P-256");
    (void)state;

    assert_false(tls_engine_use(w, "nosuch"));
    struct pair *p = connected(w, TLS1_3_VERSION);
    pair_free(p);
    tls_worker_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_nowhere_is_refused_with_where_it_was_looked_for),
        cmocka_unit_test(a_file_that_is_neither_is_refused),
        cmocka_unit_test(a_provider_of_openssl_s_folder_is_found_by_its_name),
        cmocka_unit_test(a_worker_does_without_what_it_cannot_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
