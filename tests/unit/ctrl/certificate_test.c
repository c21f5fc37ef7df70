#include "ctrl/trust/certificate.h"
#include "ctrl/lib/file.h"
#include "ctrl/trust/trust.h"
#include "tests/unit/ctrl/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HOST "ekm.wirewrap.test"

struct files {
    struct rig *g;
    struct config config;
    char ca[128];
    int64_t now;
};

static struct refusal why;

static int files_setup(void **state)
{
    struct files *f = calloc(1, sizeof *f);
    void *rig;

    assert_non_null(f);
    rig_setup(&rig);
    f->g = rig;
    f->now = 1800000000;
    rig_path(f->g, "server.pem", f->config.tls.certificate_file, sizeof f->config.tls.certificate_file);
    rig_path(f->g, "server.key", f->config.tls.key_file, sizeof f->config.tls.key_file);
    rig_path(f->g, "ca.pem", f->ca, sizeof f->ca);
    f->config.auth.issuer_count = 1;
    snprintf(f->config.auth.issuers[0].iss, CONFIG_TEXT_CAP, "https://issuer.example");
    rig_path(f->g, "jwks.json", f->config.auth.issuers[0].jwks_file, CONFIG_TEXT_CAP);
    f->config.auth.issuers[0].jwks_fresh_s = 3600;
    *state = f;
    return 0;
}

static int files_teardown(void **state)
{
    struct files *f = *state;
    void *rig = f->g;

    free(f);
    return rig_teardown(&rig);
}

static void make(struct files *f)
{
    if (!certificate_make_dev(f->g->rng, HOST, f->config.tls.certificate_file, f->config.tls.key_file, f->ca,
                              f->now, &why))
        fail_msg("%s", why.text);
}

static const char good_jwks[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"k\",\"x\":"
                                "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static void make_all(struct files *f)
{
    make(f);
    rig_write(f->config.auth.issuers[0].jwks_file, good_jwks);
}

static void a_development_certificate_is_valid_for_its_host(void **state)
{
    struct files *f = *state;
    char command[1024];

    f->now = (int64_t)time(NULL);
    make(f);
    snprintf(command, sizeof command,
             "openssl verify -purpose sslserver -verify_hostname %s -CAfile %s %s >%s/log 2>&1", HOST, f->ca,
             f->config.tls.certificate_file, f->g->dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "openssl verify -verify_hostname other.test -CAfile %s %s >%s/log 2>&1",
             f->ca, f->config.tls.certificate_file, f->g->dir);
    assert_int_not_equal(system(command), 0);
}

static bool check_files(const char *chain, const char *key, int64_t now, struct certificate_facts *facts)
{
    uint8_t chain_pem[8192], key_pem[8192];
    size_t chain_len, key_len;

    assert_true(file_read(chain, chain_pem, sizeof chain_pem, &chain_len, &why));
    assert_true(file_read(key, key_pem, sizeof key_pem, &key_len, &why));
    return certificate_check(span_of(chain_pem, chain_len + 1), span_of(key_pem, key_len + 1), now, facts,
                             &why);
}

static void the_facts_of_a_certificate_are_told(void **state)
{
    struct files *f = *state;
    struct certificate_facts facts;

    make(f);
    assert_true(check_files(f->config.tls.certificate_file, f->config.tls.key_file, f->now, &facts));
    assert_string_equal(facts.subject, "CN=" HOST);
    assert_string_equal(facts.names, HOST);
    assert_string_equal(facts.key, "EC 256");
    assert_int_equal(facts.not_after_unix_s, f->now + 825 * 86400LL);
    assert_int_equal(facts.chain_count, 1);
    assert_int_equal(strlen(facts.sha256), 64);
}

static void an_expired_certificate_is_refused(void **state)
{
    struct files *f = *state;
    struct certificate_facts facts;

    make(f);
    assert_false(
        check_files(f->config.tls.certificate_file, f->config.tls.key_file, f->now + 826 * 86400LL, &facts));
    assert_non_null(strstr(why.text, "expired at 20"));
}

static void a_key_of_another_certificate_is_refused(void **state)
{
    struct files *f = *state;
    struct certificate_facts facts;

    make(f);
    assert_false(check_files(f->ca, f->config.tls.key_file, f->now, &facts));
    assert_non_null(strstr(why.text, "does not belong"));
}

static void a_key_in_place_of_a_certificate_is_refused_and_the_other_way_round(void **state)
{
    struct files *f = *state;
    struct certificate_facts facts;

    make(f);
    assert_false(check_files(f->config.tls.key_file, f->config.tls.key_file, f->now, &facts));
    assert_non_null(strstr(why.text, "certificate does not parse"));
    assert_false(check_files(f->config.tls.certificate_file, f->config.tls.certificate_file, f->now, &facts));
    assert_non_null(strstr(why.text, "private key does not parse"));
}

static void trust_is_read_from_its_files(void **state)
{
    struct files *f = *state;

    make_all(f);
    const struct trust *t = trust_load(&f->config, NULL, f->now);
    assert_int_equal(t->issuers[0].jwks.count, 1);
    assert_int_equal(t->issuers[0].loaded_unix_s, f->now);
    assert_true(t->chain_len > 0 && t->key_len > 0);
    assert_int_equal(trust_record_count(t), 3); /* issuer, key, certificate */
    trust_unref(t);
}

static void a_bad_jwks_file_leaves_the_last_good_set_and_its_age(void **state)
{
    struct files *f = *state;

    make_all(f);
    const struct trust *before = trust_load(&f->config, NULL, f->now);
    rig_write(f->config.auth.issuers[0].jwks_file, "<html>");
    const struct trust *t = trust_load(&f->config, before, f->now + 100);
    assert_int_equal(t->issuers[0].jwks.count, 1);
    assert_int_equal(t->issuers[0].loaded_unix_s, f->now);
    assert_int_not_equal(t->issuers[0].problem[0], '\0');
    assert_memory_equal(t->digest, before->digest, sizeof t->digest);
    trust_unref(before);
    trust_unref(t);
}

static void a_set_that_was_never_read_is_known_as_never_loaded(void **state)
{
    struct files *f = *state;

    make(f);
    const struct trust *t = trust_load(&f->config, NULL, f->now);
    assert_int_equal(t->issuers[0].jwks.count, 0);
    assert_int_equal(t->issuers[0].loaded_unix_s, 0);
    trust_unref(t);
}

static void a_bad_certificate_leaves_the_last_good_one(void **state)
{
    struct files *f = *state;

    make_all(f);
    const struct trust *before = trust_load(&f->config, NULL, f->now);
    rig_write(f->config.tls.certificate_file, "nonsense");
    const struct trust *t = trust_load(&f->config, before, f->now);
    assert_int_equal(t->chain_len, before->chain_len);
    assert_memory_equal(t->chain_pem, before->chain_pem, t->chain_len);
    assert_memory_equal(t->key_pem, before->key_pem, t->key_len);
    assert_int_not_equal(t->certificate_problem[0], '\0');
    trust_unref(before);
    trust_unref(t);
}

static void a_new_certificate_has_another_digest(void **state)
{
    struct files *f = *state;

    make_all(f);
    const struct trust *before = trust_load(&f->config, NULL, f->now);
    make(f);
    const struct trust *t = trust_load(&f->config, before, f->now);
    assert_memory_not_equal(t->digest, before->digest, sizeof t->digest);
    trust_unref(before);
    trust_unref(t);
}

static void no_certificate_at_all_leaves_its_record_out(void **state)
{
    struct files *f = *state;

    rig_write(f->config.auth.issuers[0].jwks_file, good_jwks);
    const struct trust *t = trust_load(&f->config, NULL, f->now);
    assert_int_equal(t->chain_len, 0);
    assert_int_equal(trust_record_count(t), 2);
    trust_unref(t);
}

static void sets_are_read_again_at_half_their_freshness(void **state)
{
    struct files *f = *state;

    const struct trust *t = trust_load(&f->config, NULL, f->now);
    assert_int_equal(trust_refresh_s(t), 1800);
    trust_unref(t);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, files_setup, files_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_development_certificate_is_valid_for_its_host),
        CASE(the_facts_of_a_certificate_are_told),
        CASE(an_expired_certificate_is_refused),
        CASE(a_key_of_another_certificate_is_refused),
        CASE(a_key_in_place_of_a_certificate_is_refused_and_the_other_way_round),
        CASE(trust_is_read_from_its_files),
        CASE(a_bad_jwks_file_leaves_the_last_good_set_and_its_age),
        CASE(a_set_that_was_never_read_is_known_as_never_loaded),
        CASE(a_bad_certificate_leaves_the_last_good_one),
        CASE(a_new_certificate_has_another_digest),
        CASE(no_certificate_at_all_leaves_its_record_out),
        CASE(sets_are_read_again_at_half_their_freshness),
    };

    return RUN_TESTS("ctrl certificate and trust", tests);
}
