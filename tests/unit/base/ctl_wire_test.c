#include <stdlib.h>

#include "base/ctl_wire.h"
#include "base/secret_priv.h"
#include "tests/unit/test.h"

static uint8_t scratch[2 * CTL_MESSAGE_MAX];

/* The body of the one message in w, after its head was found right. */
static struct span body_of(const struct writer *w, enum ctl_type type, uint16_t shard, uint64_t epoch)
{
    struct ctl_head h;

    assert_true(writer_ok(w));
    assert_int_equal(ctl_head_parse(writer_span(w), &h), CTL_HEAD_OK);
    assert_int_equal(h.version, CTL_VERSION);
    assert_int_equal(h.type, type);
    assert_int_equal(h.shard, shard);
    assert_int_equal(h.len, w->len);
    assert_true(h.epoch == epoch);
    return span_from(writer_span(w), CTL_HEAD_LEN);
}

/* Runs `parse` on every proper prefix of body, each in memory of exactly its size, and on body and a byte
 * more. */
#define REFUSES_EVERY_OTHER_LENGTH(parse, type, body)                                                        \
    do {                                                                                                     \
        for (size_t cut_ = 0; cut_ <= (body).len + 1; cut_++) {                                              \
            type out_;                                                                                       \
            uint8_t *exact_ = calloc(cut_ + 1, 1);                                                           \
            memcpy(exact_, (body).ptr, cut_ < (body).len ? cut_ : (body).len);                               \
            bool ok_ = parse(span_of(exact_, cut_), &out_);                                                  \
            free(exact_);                                                                                    \
            assert_int_equal(ok_, cut_ == (body).len);                                                       \
        }                                                                                                    \
    } while (0)

static uint8_t *byte_at(struct span body, size_t at)
{
    assert_true(at < body.len);
    return scratch + CTL_HEAD_LEN + at;
}

/* ---- head ---- */

static void a_head_of_fewer_than_16_bytes_asks_for_more(void **state)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_head h;
    (void)state;

    ctl_write_bare(&w, CTL_PING, 0, 7);
    assert_int_equal(w.len, CTL_HEAD_LEN);
    for (size_t n = 0; n < CTL_HEAD_LEN; n++)
        assert_int_equal(ctl_head_parse(span_of(scratch, n), &h), CTL_HEAD_MORE);
}

static void every_bodiless_message_round_trips(void **state)
{
    const enum ctl_type types[] = {CTL_ACK, CTL_PONG, CTL_PING};
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct writer w = writer_of(scratch, sizeof scratch);
        ctl_write_bare(&w, types[i], 0x1234, 0x0102030405060708u);
        assert_int_equal(body_of(&w, types[i], 0x1234, 0x0102030405060708u).len, 0);
    }
}

static void the_head_is_big_endian_in_the_order_the_header_says(void **state)
{
    const uint8_t want[] = {1, 16, 0x12, 0x34, 0, 0, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8};
    struct writer w = writer_of(scratch, sizeof scratch);
    (void)state;

    ctl_write_bare(&w, CTL_PING, 0x1234, 0x0102030405060708u);
    assert_memory_equal(scratch, want, sizeof want);
}

static enum ctl_head_status head_status(uint8_t version, uint8_t type, uint32_t len)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_head h;

    write_u8(&w, version);
    write_u8(&w, type);
    write_u16(&w, 0);
    write_u32(&w, len);
    write_u64(&w, 1);
    return ctl_head_parse(writer_span(&w), &h);
}

static void a_head_of_another_version_is_bad(void **state)
{
    (void)state;
    assert_int_equal(head_status(1, CTL_PING, 16), CTL_HEAD_OK);
    assert_int_equal(head_status(0, CTL_PING, 16), CTL_HEAD_BAD);
    assert_int_equal(head_status(2, CTL_PING, 16), CTL_HEAD_BAD);
}

static void a_head_of_unknown_type_is_bad(void **state)
{
    (void)state;
    for (unsigned t = 0; t < 256; t++) {
        bool known = (t >= 1 && t <= 4) || (t >= 16 && t <= 25);
        bool bare = t == CTL_ACK || t == CTL_PONG || t == CTL_PING;
        assert_int_equal(head_status(1, (uint8_t)t, bare ? 16 : 40), known ? CTL_HEAD_OK : CTL_HEAD_BAD);
    }
}

static void a_length_below_the_head_or_above_the_maximum_is_bad(void **state)
{
    (void)state;
    assert_int_equal(head_status(1, CTL_KEY, 15), CTL_HEAD_BAD);
    assert_int_equal(head_status(1, CTL_KEY, 0), CTL_HEAD_BAD);
    assert_int_equal(head_status(1, CTL_KEY, CTL_MESSAGE_MAX), CTL_HEAD_OK);
    assert_int_equal(head_status(1, CTL_KEY, CTL_MESSAGE_MAX + 1), CTL_HEAD_BAD);
    assert_int_equal(head_status(1, CTL_KEY, UINT32_MAX), CTL_HEAD_BAD);
}

static void a_bodiless_type_with_a_body_is_bad(void **state)
{
    (void)state;
    assert_int_equal(head_status(1, CTL_ACK, 17), CTL_HEAD_BAD);
    assert_int_equal(head_status(1, CTL_PONG, 17), CTL_HEAD_BAD);
    assert_int_equal(head_status(1, CTL_PING, 17), CTL_HEAD_BAD);
}

/* ---- bodies ---- */

static struct span written_hello(uint16_t workers)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_hello m = {.worker_count = workers, .held_epoch = 0xfedcba9876543210u};

    for (uint8_t i = 0; i < 16; i++)
        m.boot_id[i] = (uint8_t)(i + 1);
    ctl_write_hello(&w, 3, 9, &m);
    return body_of(&w, CTL_HELLO, 3, 9);
}

static void hello_round_trips(void **state)
{
    struct span body = written_hello(WORKERS_MAX);
    struct ctl_hello m;
    (void)state;

    assert_true(ctl_hello_parse(body, &m));
    assert_int_equal(m.boot_id[0], 1);
    assert_int_equal(m.boot_id[15], 16);
    assert_int_equal(m.worker_count, WORKERS_MAX);
    assert_true(m.held_epoch == 0xfedcba9876543210u);
}

static void hello_of_any_other_length_is_refused(void **state)
{
    struct span body = written_hello(1);
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_hello_parse, struct ctl_hello, body);
}

static void hello_of_no_worker_or_too_many_is_refused(void **state)
{
    struct ctl_hello m;
    (void)state;
    assert_false(ctl_hello_parse(written_hello(0), &m));
    assert_false(ctl_hello_parse(written_hello(WORKERS_MAX + 1), &m));
}

static struct span written_begin(bool full, uint64_t base)
{
    struct writer w = writer_of(scratch, sizeof scratch);

    ctl_write_begin(&w, 0, 5, &(struct ctl_begin){full, base, 0x01020304});
    return body_of(&w, CTL_BEGIN, 0, 5);
}

static void begin_round_trips_full_and_delta(void **state)
{
    struct ctl_begin m;
    (void)state;

    assert_true(ctl_begin_parse(written_begin(true, 0), &m));
    assert_true(m.full && m.base_epoch == 0 && m.record_count == 0x01020304);
    assert_true(ctl_begin_parse(written_begin(false, 41), &m));
    assert_true(!m.full && m.base_epoch == 41);
}

static void begin_of_any_other_length_is_refused(void **state)
{
    struct span body = written_begin(false, 41);
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_begin_parse, struct ctl_begin, body);
}

static void begin_with_a_kind_neither_0_nor_1_is_refused(void **state)
{
    struct span body = written_begin(true, 0);
    struct ctl_begin m;
    (void)state;

    *byte_at(body, 0) = 2;
    assert_false(ctl_begin_parse(body, &m));
}

static void a_full_begin_with_a_base_epoch_is_refused(void **state)
{
    struct ctl_begin m;
    (void)state;
    assert_false(ctl_begin_parse(written_begin(true, 1), &m));
}

static struct span written_end(void)
{
    struct writer w = writer_of(scratch, sizeof scratch);

    ctl_write_end(&w, 0, 5, &(struct ctl_end){77});
    return body_of(&w, CTL_END, 0, 5);
}

static void end_round_trips(void **state)
{
    struct ctl_end m;
    (void)state;
    assert_true(ctl_end_parse(written_end(), &m));
    assert_int_equal(m.record_count, 77);
}

static void end_of_any_other_length_is_refused(void **state)
{
    struct span body = written_end();
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_end_parse, struct ctl_end, body);
}

static struct span written_refuse(uint8_t cause)
{
    struct writer w = writer_of(scratch, sizeof scratch);

    ctl_write_refuse(&w, 0, 5, &(struct ctl_refuse){cause});
    return body_of(&w, CTL_REFUSE, 0, 5);
}

static void refuse_round_trips_for_every_cause_and_no_other(void **state)
{
    struct ctl_refuse m;
    (void)state;

    for (unsigned c = 0; c < 256; c++) {
        bool known = c >= CTL_REFUSE_EPOCH_OLD && c <= CTL_REFUSE_SHARD;
        assert_int_equal(ctl_refuse_parse(written_refuse((uint8_t)c), &m), known);
        assert_int_equal(strcmp(ctl_refusal_name((uint8_t)c), "unknown") != 0, known);
    }
}

static void refuse_of_any_other_length_is_refused(void **state)
{
    struct span body = written_refuse(CTL_REFUSE_FULL);
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_refuse_parse, struct ctl_refuse, body);
}

static struct ctl_key sample_key(void)
{
    struct ctl_key m = {.state = KEY_STATE_ENABLED,
                        .deny_status = 403,
                        .primary_version = 2,
                        .reasons_allowed = ACCESS_REASONS_ALL | ACCESS_REASON_UNKNOWN_BIT,
                        .path = span_str("v0/demo/key"),
                        .caller_count = 2};

    memset(m.id, 0xa5, sizeof m.id);
    m.callers[0] = span_str("a@example.test");
    m.callers[1] = span_str("b@example.test");
    return m;
}

static struct span written_key(const struct ctl_key *m)
{
    struct writer w = writer_of(scratch, sizeof scratch);

    ctl_write_key(&w, 0, 5, m);
    return body_of(&w, CTL_KEY, 0, 5);
}

static bool key_parses(const struct ctl_key *m)
{
    struct ctl_key out;
    return ctl_key_parse(written_key(m), &out);
}

static void key_round_trips(void **state)
{
    struct ctl_key m = sample_key(), out;
    (void)state;

    assert_true(ctl_key_parse(written_key(&m), &out));
    assert_memory_equal(out.id, m.id, KEY_ID_LEN);
    assert_int_equal(out.state, m.state);
    assert_int_equal(out.deny_status, 403);
    assert_int_equal(out.primary_version, 2);
    assert_int_equal(out.reasons_allowed, m.reasons_allowed);
    assert_true(span_equal(out.path, m.path));
    assert_int_equal(out.caller_count, 2);
    assert_true(span_equal(out.callers[0], m.callers[0]));
    assert_true(span_equal(out.callers[1], m.callers[1]));
}

static void key_of_any_other_length_is_refused(void **state)
{
    struct ctl_key m = sample_key();
    struct span body = written_key(&m);
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_key_parse, struct ctl_key, body);
}

static void key_in_an_unknown_state_is_refused(void **state)
{
    struct ctl_key m = sample_key();
    (void)state;

    for (unsigned s = 0; s < 256; s++) {
        m.state = (uint8_t)s;
        bool known = s >= KEY_STATE_PENDING_DURABLE && s <= KEY_STATE_DESTROYED;
        assert_int_equal(key_parses(&m), known);
        assert_int_equal(strcmp(key_state_name((uint8_t)s), "unknown") != 0, known);
    }
}

static void key_with_a_deny_status_other_than_403_and_400_is_refused(void **state)
{
    struct ctl_key m = sample_key();
    (void)state;

    m.deny_status = 400;
    assert_true(key_parses(&m));
    m.deny_status = 200;
    assert_false(key_parses(&m));
    m.deny_status = 0;
    assert_false(key_parses(&m));
}

static void key_with_a_reason_bit_we_do_not_know_is_refused(void **state)
{
    struct ctl_key m = sample_key();
    (void)state;

    m.reasons_allowed = 1u << (ACCESS_REASON_LAST + 1);
    assert_false(key_parses(&m));
    m.reasons_allowed = 1u << 29;
    assert_false(key_parses(&m));
}

static void key_with_an_empty_too_long_or_slashed_path_is_refused(void **state)
{
    struct ctl_key m = sample_key();
    char path[EKM_KEY_PATH_MAX + 1];
    (void)state;

    memset(path, 'p', sizeof path);
    m.path = span_of(path, EKM_KEY_PATH_MAX);
    assert_true(key_parses(&m));
    m.path = span_of(path, EKM_KEY_PATH_MAX + 1);
    assert_false(key_parses(&m));
    m.path = span_of(path, 0);
    assert_false(key_parses(&m));
    m.path = span_str("/v0/demo");
    assert_false(key_parses(&m));
}

static void key_with_an_empty_or_too_long_caller_is_refused(void **state)
{
    struct ctl_key m = sample_key();
    char caller[EKM_CALLER_MAX + 1];
    (void)state;

    memset(caller, 'c', sizeof caller);
    m.callers[1] = span_of(caller, EKM_CALLER_MAX);
    assert_true(key_parses(&m));
    m.callers[1] = span_of(caller, EKM_CALLER_MAX + 1);
    assert_false(key_parses(&m));
    m.callers[1] = span_of(caller, 0);
    assert_false(key_parses(&m));
}

static void key_with_more_callers_than_the_limit_is_refused(void **state)
{
    struct ctl_key m = sample_key(), out;
    struct span body;
    (void)state;

    m.caller_count = EKM_CALLERS_PER_KEY;
    for (size_t i = 0; i < EKM_CALLERS_PER_KEY; i++)
        m.callers[i] = span_str("x");
    body = written_key(&m);
    assert_true(ctl_key_parse(body, &out));
    /* One more, length and count both telling the truth. */
    size_t count_at = 16 + 1 + 2 + 4 + 4 + 2 + m.path.len;
    *byte_at(body, count_at) = EKM_CALLERS_PER_KEY + 1;
    scratch[CTL_HEAD_LEN + body.len] = 1;
    scratch[CTL_HEAD_LEN + body.len + 1] = 'x';
    assert_false(ctl_key_parse(span_of(body.ptr, body.len + 2), &out));
}

static struct span written_version(uint32_t version, uint8_t state, size_t material_len)
{
    static const uint8_t material[64] = {[0] = 0x11, [31] = 0x99};
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_key_version m = {.version = version, .state = state};

    memset(m.key_id, 0x5a, sizeof m.key_id);
    memset(m.tag, 0x77, sizeof m.tag);
    m.material = secret_of(material, material_len);
    ctl_write_key_version(&w, 0, 5, &m);
    return body_of(&w, CTL_KEY_VERSION, 0, 5);
}

static void key_version_round_trips(void **state)
{
    struct ctl_key_version m;
    (void)state;

    assert_true(ctl_key_version_parse(written_version(7, KEY_STATE_DISABLED, 32), &m));
    assert_int_equal(m.key_id[15], 0x5a);
    assert_int_equal(m.version, 7);
    assert_int_equal(m.state, KEY_STATE_DISABLED);
    assert_int_equal(m.tag[7], 0x77);
    struct span material = secret_expose(m.material);
    assert_int_equal(material.len, 32);
    assert_int_equal(material.ptr[0], 0x11);
    assert_int_equal(material.ptr[31], 0x99);
}

static void key_version_of_any_other_length_is_refused(void **state)
{
    struct span body = written_version(7, KEY_STATE_ENABLED, 32);
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_key_version_parse, struct ctl_key_version, body);
}

static void key_version_number_zero_is_refused(void **state)
{
    struct ctl_key_version m;
    (void)state;
    assert_false(ctl_key_version_parse(written_version(0, KEY_STATE_ENABLED, 32), &m));
}

static void key_version_in_an_unknown_state_is_refused(void **state)
{
    struct ctl_key_version m;
    (void)state;
    assert_false(ctl_key_version_parse(written_version(1, 0, 32), &m));
    assert_false(ctl_key_version_parse(written_version(1, 6, 32), &m));
}

static void key_material_is_32_bytes_and_none_once_destroyed(void **state)
{
    struct ctl_key_version m;
    (void)state;

    for (uint8_t s = KEY_STATE_PENDING_DURABLE; s <= KEY_STATE_DESTROYED; s++) {
        bool gone = s == KEY_STATE_DESTROYED;
        assert_int_equal(ctl_key_version_parse(written_version(1, s, 32), &m), !gone);
        assert_int_equal(ctl_key_version_parse(written_version(1, s, 0), &m), gone);
        assert_false(ctl_key_version_parse(written_version(1, s, 31), &m));
        assert_false(ctl_key_version_parse(written_version(1, s, 33), &m));
    }
}

static void key_gone_round_trips_and_has_one_length(void **state)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_key_gone m, out;
    (void)state;

    memset(m.key_id, 0x3c, sizeof m.key_id);
    ctl_write_key_gone(&w, 0, 5, &m);
    struct span body = body_of(&w, CTL_KEY_GONE, 0, 5);
    assert_true(ctl_key_gone_parse(body, &out));
    assert_memory_equal(out.key_id, m.key_id, KEY_ID_LEN);
    REFUSES_EVERY_OTHER_LENGTH(ctl_key_gone_parse, struct ctl_key_gone, body);
}

static struct span written_issuer(struct span iss)
{
    struct writer w = writer_of(scratch, sizeof scratch);

    ctl_write_issuer(&w, 0, 5, &(struct ctl_issuer){iss, 1700000000, 3600});
    return body_of(&w, CTL_ISSUER, 0, 5);
}

static void issuer_round_trips(void **state)
{
    struct ctl_issuer m;
    (void)state;

    assert_true(ctl_issuer_parse(written_issuer(span_str("https://issuer.test")), &m));
    assert_true(span_is(m.iss, "https://issuer.test"));
    assert_true(m.jwks_loaded_unix_s == 1700000000);
    assert_int_equal(m.jwks_fresh_s, 3600);
}

static void issuer_of_any_other_length_is_refused(void **state)
{
    struct span body = written_issuer(span_str("https://issuer.test"));
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_issuer_parse, struct ctl_issuer, body);
}

static void an_empty_or_too_long_issuer_is_refused(void **state)
{
    char iss[JWT_ISSUER_MAX + 1];
    struct ctl_issuer m;
    (void)state;

    memset(iss, 'i', sizeof iss);
    assert_true(ctl_issuer_parse(written_issuer(span_of(iss, JWT_ISSUER_MAX)), &m));
    assert_false(ctl_issuer_parse(written_issuer(span_of(iss, JWT_ISSUER_MAX + 1)), &m));
    assert_false(ctl_issuer_parse(written_issuer(span_of(iss, 0)), &m));
}

static const uint8_t zeros[600];

static struct span written_jwk(uint8_t alg, size_t kid_len, size_t n_len, size_t e_len)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_jwk m = {alg, span_of(zeros, kid_len), span_of(zeros, n_len), span_of(zeros, e_len)};

    ctl_write_jwk(&w, 0, 5, &m);
    return body_of(&w, CTL_JWK, 0, 5);
}

static bool jwk_parses(uint8_t alg, size_t kid_len, size_t n_len, size_t e_len)
{
    struct ctl_jwk m;
    return ctl_jwk_parse(written_jwk(alg, kid_len, n_len, e_len), &m);
}

static void jwk_round_trips(void **state)
{
    struct ctl_jwk m;
    (void)state;

    assert_true(ctl_jwk_parse(written_jwk(JWK_RS256, 5, 256, 3), &m));
    assert_int_equal(m.alg, JWK_RS256);
    assert_int_equal(m.kid.len, 5);
    assert_int_equal(m.n_or_x.len, 256);
    assert_int_equal(m.e_or_y.len, 3);
    assert_true(ctl_jwk_parse(written_jwk(JWK_ES256, 5, 32, 32), &m));
    assert_int_equal(m.alg, JWK_ES256);
}

static void jwk_of_any_other_length_is_refused(void **state)
{
    struct span body = written_jwk(JWK_ES256, 5, 32, 32);
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_jwk_parse, struct ctl_jwk, body);
}

static void jwk_of_an_unknown_algorithm_is_refused(void **state)
{
    (void)state;
    assert_false(jwk_parses(0, 5, 32, 32));
    assert_false(jwk_parses(3, 5, 32, 32));
}

static void jwk_with_numbers_of_the_wrong_size_is_refused(void **state)
{
    (void)state;
    assert_false(jwk_parses(JWK_ES256, 5, 31, 32));
    assert_false(jwk_parses(JWK_ES256, 5, 32, 33));
    assert_false(jwk_parses(JWK_RS256, 5, JWK_RSA_MODULUS_MAX + 1, 3));
    assert_false(jwk_parses(JWK_RS256, 5, 0, 3));
    assert_false(jwk_parses(JWK_RS256, 5, 256, 0));
    assert_false(jwk_parses(JWK_RS256, 5, 256, JWK_RSA_EXPONENT_MAX + 1));
}

static void jwk_with_an_empty_or_too_long_kid_is_refused(void **state)
{
    (void)state;
    assert_true(jwk_parses(JWK_ES256, JWT_KID_MAX, 32, 32));
    assert_false(jwk_parses(JWK_ES256, JWT_KID_MAX + 1, 32, 32));
    assert_false(jwk_parses(JWK_ES256, 0, 32, 32));
}

static struct span written_audience(struct span audience)
{
    struct writer w = writer_of(scratch, sizeof scratch);

    ctl_write_audience(&w, 0, 5, &(struct ctl_audience){audience});
    return body_of(&w, CTL_AUDIENCE, 0, 5);
}

static void audience_round_trips_and_has_its_lengths(void **state)
{
    char aud[JWT_AUDIENCE_MAX + 1];
    struct ctl_audience m;
    (void)state;

    memset(aud, 'a', sizeof aud);
    assert_true(ctl_audience_parse(written_audience(span_str("https://ekm.test")), &m));
    assert_true(span_is(m.audience, "https://ekm.test"));
    assert_true(ctl_audience_parse(written_audience(span_of(aud, JWT_AUDIENCE_MAX)), &m));
    assert_false(ctl_audience_parse(written_audience(span_of(aud, JWT_AUDIENCE_MAX + 1)), &m));
    assert_false(ctl_audience_parse(written_audience(span_of(aud, 0)), &m));
}

static void audience_of_any_other_length_is_refused(void **state)
{
    struct span body = written_audience(span_str("https://ekm.test"));
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_audience_parse, struct ctl_audience, body);
}

static struct span written_certificate(const char *chain, const char *key)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_certificate m = {span_str(chain), secret_of(key, strlen(key))};

    ctl_write_certificate(&w, 0, 5, &m);
    return body_of(&w, CTL_CERTIFICATE, 0, 5);
}

static void certificate_round_trips(void **state)
{
    struct ctl_certificate m;
    (void)state;

    assert_true(ctl_certificate_parse(written_certificate("chain", "key"), &m));
    assert_true(span_is(m.chain_pem, "chain"));
    assert_true(span_is(secret_expose(m.key_pem), "key"));
}

static void certificate_of_any_other_length_is_refused(void **state)
{
    struct span body = written_certificate("chain", "key");
    (void)state;
    REFUSES_EVERY_OTHER_LENGTH(ctl_certificate_parse, struct ctl_certificate, body);
}

static void certificate_without_chain_or_key_is_refused(void **state)
{
    struct ctl_certificate m;
    (void)state;
    assert_false(ctl_certificate_parse(written_certificate("", "key"), &m));
    assert_false(ctl_certificate_parse(written_certificate("chain", ""), &m));
}

/* ---- writers ---- */

static void a_message_above_the_maximum_overflows_its_writer(void **state)
{
    static uint8_t big[CTL_MESSAGE_MAX];
    struct writer w = writer_of(scratch, sizeof scratch);
    (void)state;

    ctl_write_certificate(
        &w, 0, 5, &(struct ctl_certificate){span_of(big, CTL_MESSAGE_MAX - 16 - 4 - 1), secret_of(big, 1)});
    assert_true(writer_ok(&w));
    w = writer_of(scratch, sizeof scratch);
    ctl_write_certificate(
        &w, 0, 5, &(struct ctl_certificate){span_of(big, CTL_MESSAGE_MAX - 16 - 4), secret_of(big, 1)});
    assert_false(writer_ok(&w));
}

static void a_text_longer_than_its_length_field_overflows_the_writer(void **state)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_key m = sample_key();
    (void)state;

    m.callers[0] = span_of(zeros, 256);
    ctl_write_key(&w, 0, 5, &m);
    assert_false(writer_ok(&w));
}

static void messages_follow_one_another_in_one_writer(void **state)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct ctl_head h;
    (void)state;

    ctl_write_bare(&w, CTL_PING, 0, 1);
    ctl_write_end(&w, 0, 2, &(struct ctl_end){3});
    assert_int_equal(ctl_head_parse(span_from(writer_span(&w), CTL_HEAD_LEN), &h), CTL_HEAD_OK);
    assert_int_equal(h.type, CTL_END);
    assert_int_equal(h.len, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_of_fewer_than_16_bytes_asks_for_more),
        cmocka_unit_test(every_bodiless_message_round_trips),
        cmocka_unit_test(the_head_is_big_endian_in_the_order_the_header_says),
        cmocka_unit_test(a_head_of_another_version_is_bad),
        cmocka_unit_test(a_head_of_unknown_type_is_bad),
        cmocka_unit_test(a_length_below_the_head_or_above_the_maximum_is_bad),
        cmocka_unit_test(a_bodiless_type_with_a_body_is_bad),
        cmocka_unit_test(hello_round_trips),
        cmocka_unit_test(hello_of_any_other_length_is_refused),
        cmocka_unit_test(hello_of_no_worker_or_too_many_is_refused),
        cmocka_unit_test(begin_round_trips_full_and_delta),
        cmocka_unit_test(begin_of_any_other_length_is_refused),
        cmocka_unit_test(begin_with_a_kind_neither_0_nor_1_is_refused),
        cmocka_unit_test(a_full_begin_with_a_base_epoch_is_refused),
        cmocka_unit_test(end_round_trips),
        cmocka_unit_test(end_of_any_other_length_is_refused),
        cmocka_unit_test(refuse_round_trips_for_every_cause_and_no_other),
        cmocka_unit_test(refuse_of_any_other_length_is_refused),
        cmocka_unit_test(key_round_trips),
        cmocka_unit_test(key_of_any_other_length_is_refused),
        cmocka_unit_test(key_in_an_unknown_state_is_refused),
        cmocka_unit_test(key_with_a_deny_status_other_than_403_and_400_is_refused),
        cmocka_unit_test(key_with_a_reason_bit_we_do_not_know_is_refused),
        cmocka_unit_test(key_with_an_empty_too_long_or_slashed_path_is_refused),
        cmocka_unit_test(key_with_an_empty_or_too_long_caller_is_refused),
        cmocka_unit_test(key_with_more_callers_than_the_limit_is_refused),
        cmocka_unit_test(key_version_round_trips),
        cmocka_unit_test(key_version_of_any_other_length_is_refused),
        cmocka_unit_test(key_version_number_zero_is_refused),
        cmocka_unit_test(key_version_in_an_unknown_state_is_refused),
        cmocka_unit_test(key_material_is_32_bytes_and_none_once_destroyed),
        cmocka_unit_test(key_gone_round_trips_and_has_one_length),
        cmocka_unit_test(issuer_round_trips),
        cmocka_unit_test(issuer_of_any_other_length_is_refused),
        cmocka_unit_test(an_empty_or_too_long_issuer_is_refused),
        cmocka_unit_test(jwk_round_trips),
        cmocka_unit_test(jwk_of_any_other_length_is_refused),
        cmocka_unit_test(jwk_of_an_unknown_algorithm_is_refused),
        cmocka_unit_test(jwk_with_numbers_of_the_wrong_size_is_refused),
        cmocka_unit_test(jwk_with_an_empty_or_too_long_kid_is_refused),
        cmocka_unit_test(audience_round_trips_and_has_its_lengths),
        cmocka_unit_test(audience_of_any_other_length_is_refused),
        cmocka_unit_test(certificate_round_trips),
        cmocka_unit_test(certificate_of_any_other_length_is_refused),
        cmocka_unit_test(certificate_without_chain_or_key_is_refused),
        cmocka_unit_test(a_message_above_the_maximum_overflows_its_writer),
        cmocka_unit_test(a_text_longer_than_its_length_field_overflows_the_writer),
        cmocka_unit_test(messages_follow_one_another_in_one_writer),
    };
    return RUN_TESTS("ctl_wire", tests);
}
