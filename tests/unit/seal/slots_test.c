#include "drivers/seal/seal.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct rig {
    struct mbed_rng *rng;
    uint8_t identity[2][AGE_KEY_LEN];
    struct age_recipient recipient[2];
    struct shamir_share shares[5];
    uint8_t bytes[SEAL_SLOT_MAX];
    struct buf slot;
};

static const uint8_t root[SEAL_SRK_LEN] = "the root key of a test, 32 bytes";
static const uint8_t zero[SEAL_SRK_LEN];

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);

    assert_non_null(g);
    g->rng = mbed_rng_new();
    assert_non_null(g->rng);
    for (size_t i = 0; i < 2; i++) {
        age_identity_new(g->rng, g->identity[i]);
        g->recipient[i] = age_recipient_of(g->rng, g->identity[i]);
    }
    g->slot = (struct buf){g->bytes, 0, sizeof g->bytes};
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;

    mbed_rng_free(g->rng);
    free(g);
    return 0;
}

static void make_age(struct rig *g, size_t recipients)
{
    assert_int_equal(seal_age_create(g->rng, 2, 7, g->recipient, recipients, root, &g->slot), SEAL_OK);
}

static void make_shares(struct rig *g)
{
    assert_int_equal(seal_shares_create(g->rng, 3, 7, 3, 5, root, &g->slot, g->shares), SEAL_OK);
}

static enum seal_status open_age(struct rig *g, size_t identity, uint16_t shard, uint8_t *srk)
{
    return seal_age_open(g->rng, buf_span(&g->slot), shard, g->identity[identity], srk);
}

static enum seal_status open_shares(struct rig *g, size_t given, uint8_t *srk, enum shamir_status *cause)
{
    size_t at;

    return seal_shares_open(g->rng, buf_span(&g->slot), 7, g->shares, given, srk, cause, &at);
}

/* Puts a sound sum on an altered slot: what somebody who forges one would do. */
static void mend_sum(struct rig *g)
{
    uint8_t digest[MBED_DIGEST_LEN];

    mbed_sha256(span_of(g->bytes, g->slot.len - 8), digest);
    memcpy(g->bytes + g->slot.len - 8, digest, 8);
}

static void each_of_its_recipients_opens_an_age_slot(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];

    make_age(g, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(open_age(g, i, 7, srk), SEAL_OK);
        assert_memory_equal(srk, root, sizeof srk);
    }
}

static void another_identity_is_named_and_leaves_zeros(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];

    make_age(g, 1);
    assert_int_equal(open_age(g, 1, 7, srk), SEAL_WRONG_IDENTITY);
    assert_memory_equal(srk, zero, sizeof srk);
}

static void a_slot_of_another_shard_is_refused(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];
    enum shamir_status cause;
    size_t at;

    make_age(g, 1);
    assert_int_equal(open_age(g, 0, 8, srk), SEAL_WRONG_SHARD);
    make_shares(g);
    assert_int_equal(seal_shares_open(g->rng, buf_span(&g->slot), 8, g->shares, 3, srk, &cause, &at),
                     SEAL_WRONG_SHARD);
}

static void any_altered_byte_of_an_age_slot_is_damage(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];

    make_age(g, 2);
    for (size_t at = 0; at < g->slot.len; at++) {
        g->bytes[at] ^= 0x20;
        assert_int_equal(open_age(g, 0, 7, srk), SEAL_CORRUPT);
        g->bytes[at] ^= 0x20;
    }
}

static void any_cut_of_an_age_slot_is_damage(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];
    size_t whole;

    make_age(g, 1);
    whole = g->slot.len;
    for (g->slot.len = 0; g->slot.len < whole; g->slot.len++)
        assert_int_equal(open_age(g, 0, 7, srk), SEAL_CORRUPT);
}

/* With a sound sum, as a forger would leave it: whatever is altered, the result is a refusal or the root key
 * itself (the list of recipients alone is not under the file's own MAC). */
static void no_forged_byte_yields_another_key(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN], was;

    make_age(g, 1);
    for (size_t at = 0; at < g->slot.len - 8; at++) {
        was = g->bytes[at];
        g->bytes[at] ^= 1;
        mend_sum(g);
        bool listed = at >= 7 && at < 7 + AGE_KEY_LEN;
        assert_int_equal(open_age(g, 0, 7, srk) == SEAL_OK, listed);
        assert_memory_equal(srk, listed ? root : zero, sizeof srk);
        g->bytes[at] = was;
    }
}

static void an_age_file_moved_to_another_slot_is_damage(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];

    make_age(g, 1);
    g->bytes[2] = 9; /* its number */
    mend_sum(g);
    assert_int_equal(open_age(g, 0, 7, srk), SEAL_CORRUPT);
}

static void counts_of_recipients_out_of_range_are_refused(void **state)
{
    struct rig *g = *state;
    struct age_recipient many[SEAL_SLOT_RECIPIENTS_MAX + 1] = {{{0}}};

    assert_int_equal(seal_age_create(g->rng, 0, 7, many, 0, root, &g->slot), SEAL_BAD_PARAMETER);
    assert_int_equal(seal_age_create(g->rng, 0, 7, many, SEAL_SLOT_RECIPIENTS_MAX + 1, root, &g->slot),
                     SEAL_BAD_PARAMETER);
    assert_int_equal(seal_age_create(g->rng, 0, 7, many, 1, root, &g->slot), SEAL_BAD_PARAMETER);
}

static void the_largest_age_slot_fits(void **state)
{
    struct rig *g = *state;
    struct age_recipient many[SEAL_SLOT_RECIPIENTS_MAX];
    uint8_t srk[SEAL_SRK_LEN];

    for (size_t i = 0; i < SEAL_SLOT_RECIPIENTS_MAX; i++)
        many[i] = g->recipient[i == SEAL_SLOT_RECIPIENTS_MAX - 1];
    assert_int_equal(seal_age_create(g->rng, 2, 7, many, SEAL_SLOT_RECIPIENTS_MAX, root, &g->slot), SEAL_OK);
    assert_int_equal(open_age(g, 1, 7, srk), SEAL_OK);
}

static void a_slot_says_what_it_is_without_being_opened(void **state)
{
    struct rig *g = *state;
    struct seal_slot_info info;

    make_age(g, 2);
    assert_int_equal(seal_slot_info(buf_span(&g->slot), &info), SEAL_OK);
    assert_int_equal(info.kind, SEAL_KIND_AGE);
    assert_int_equal(info.number, 2);
    assert_int_equal(info.shard, 7);
    assert_int_equal(info.recipient_count, 2);
    assert_memory_equal(info.recipients, g->recipient, sizeof g->recipient);
    make_shares(g);
    assert_int_equal(seal_slot_info(buf_span(&g->slot), &info), SEAL_OK);
    assert_int_equal(info.kind, SEAL_KIND_SHARES);
    assert_int_equal(info.threshold, 3);
    assert_int_equal(info.share_count, 5);
    assert_memory_equal(info.set, g->shares[0].set, SHAMIR_SET_LEN);
}

static void age_and_shares_are_kept_away_from_the_machine(void **state)
{
    (void)state;
    assert_true(seal_kind_is_offline(SEAL_KIND_AGE));
    assert_true(seal_kind_is_offline(SEAL_KIND_SHARES));
    assert_false(seal_kind_is_offline(SEAL_KIND_PASSPHRASE));
    assert_false(seal_kind_is_offline(99));
}

static void threshold_shares_open_and_fewer_do_not(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];
    enum shamir_status cause;

    make_shares(g);
    assert_int_equal(open_shares(g, 3, srk, &cause), SEAL_OK);
    assert_memory_equal(srk, root, sizeof srk);
    assert_int_equal(open_shares(g, 5, srk, &cause), SEAL_OK);
    assert_int_equal(open_shares(g, 2, srk, &cause), SEAL_WRONG_SHARES);
    assert_int_equal(cause, SHAMIR_TOO_FEW);
    assert_memory_equal(srk, zero, sizeof srk);
}

static void a_share_of_another_slot_is_named_with_its_place(void **state)
{
    struct rig *g = *state;
    struct shamir_share old;
    uint8_t srk[SEAL_SRK_LEN];
    enum shamir_status cause;
    size_t at;

    make_shares(g);
    old = g->shares[1];
    make_shares(g);
    g->shares[1] = old;
    assert_int_equal(seal_shares_open(g->rng, buf_span(&g->slot), 7, g->shares, 3, srk, &cause, &at),
                     SEAL_WRONG_SHARES);
    assert_int_equal(cause, SHAMIR_OTHER_SET);
    assert_int_equal(at, 1);
}

static void numbers_of_shares_out_of_range_are_refused(void **state)
{
    struct rig *g = *state;
    struct shamir_share shares[SHAMIR_SHARES_MAX];

    assert_int_equal(seal_shares_create(g->rng, 3, 7, 1, 5, root, &g->slot, shares), SEAL_BAD_PARAMETER);
    assert_int_equal(seal_shares_create(g->rng, 3, 7, 4, 3, root, &g->slot, shares), SEAL_BAD_PARAMETER);
}

static void the_identity_of_the_shares_opens_their_slot_too(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];
    size_t at;

    make_shares(g);
    assert_int_equal(shamir_combine(g->shares, 3, g->identity[0], &at), SHAMIR_OK);
    assert_int_equal(open_age(g, 0, 7, srk), SEAL_OK);
    assert_memory_equal(srk, root, sizeof srk);
}

static void a_new_root_key_takes_no_holder_to_be_there(void **state)
{
    static const uint8_t next[SEAL_SRK_LEN] = "the root key after the next one!";
    struct rig *g = *state;
    uint8_t bytes[SEAL_SLOT_MAX], srk[SEAL_SRK_LEN];
    struct buf again = {bytes, 0, sizeof bytes};
    enum shamir_status cause;
    size_t at;

    make_shares(g);
    assert_int_equal(seal_slot_rewrap(g->rng, buf_span(&g->slot), next, &again), SEAL_OK);
    assert_int_equal(seal_shares_open(g->rng, buf_span(&again), 7, g->shares, 3, srk, &cause, &at), SEAL_OK);
    assert_memory_equal(srk, next, sizeof srk);
    make_age(g, 2);
    assert_int_equal(seal_slot_rewrap(g->rng, buf_span(&g->slot), next, &again), SEAL_OK);
    assert_int_equal(seal_age_open(g->rng, buf_span(&again), 7, g->identity[1], srk), SEAL_OK);
    assert_memory_equal(srk, next, sizeof srk);
}

static void a_slot_of_another_kind_is_not_opened(void **state)
{
    struct rig *g = *state;
    uint8_t srk[SEAL_SRK_LEN];
    enum shamir_status cause;

    make_age(g, 1);
    assert_int_equal(open_shares(g, 3, srk, &cause), SEAL_UNKNOWN_KIND);
    assert_int_equal(seal_passphrase_open(buf_span(&g->slot), 7, span_str("a passphrase"), srk),
                     SEAL_UNKNOWN_KIND);
    g->bytes[1] = 99;
    mend_sum(g);
    assert_int_equal(open_age(g, 0, 7, srk), SEAL_UNKNOWN_KIND);
}

static void slots_of_earlier_builds_open(void **state)
{
    struct rig *g = *state;
    uint8_t text[256], srk[SEAL_SRK_LEN];
    enum shamir_status cause;
    size_t at;

    g->slot.len = vector_get("seal/slots.txt", "passphrase", "slot", g->bytes, sizeof g->bytes).len;
    assert_int_equal(seal_passphrase_open(buf_span(&g->slot), 7, span_str("correct horse"), srk), SEAL_OK);
    assert_memory_equal(srk, root, sizeof srk);
    g->slot.len = vector_get("seal/slots.txt", "age", "slot", g->bytes, sizeof g->bytes).len;
    struct span key = vector_get("seal/slots.txt", "age", "identity", text, sizeof text);
    assert_int_equal(age_identity_parse(key, g->identity[0]), AGE_OK);
    assert_int_equal(open_age(g, 0, 7, srk), SEAL_OK);
    assert_memory_equal(srk, root, sizeof srk);
    g->slot.len = vector_get("seal/slots.txt", "shares", "slot", g->bytes, sizeof g->bytes).len;
    for (size_t i = 0; i < 2; i++) {
        key = vector_get("seal/slots.txt", "shares", i == 0 ? "share_1" : "share_2", text, sizeof text);
        assert_int_equal(shamir_parse(key, &g->shares[i]), SHAMIR_OK);
    }
    assert_int_equal(seal_shares_open(g->rng, buf_span(&g->slot), 7, g->shares, 2, srk, &cause, &at),
                     SEAL_OK);
    assert_memory_equal(srk, root, sizeof srk);
}

static void an_identity_is_read_from_its_file(void **state)
{
    struct rig *g = *state;
    char path[] = "/tmp/ww-seal-test.XXXXXX", text[AGE_IDENTITY_TEXT_LEN + 1], err[512];
    uint8_t identity[AGE_KEY_LEN];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_false(seal_identity_read(path, identity, err, sizeof err));
    assert_non_null(strstr(err, "holds no age identity"));
    age_identity_print(g->identity[0], text);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    assert_true(seal_identity_read(path, identity, err, sizeof err));
    assert_memory_equal(identity, g->identity[0], sizeof identity);
    unlink(path);
    assert_false(seal_identity_read(path, identity, err, sizeof err));
    assert_non_null(strstr(err, "No such file"));
}

static void every_status_and_kind_has_a_text(void **state)
{
    (void)state;
    for (int s = SEAL_OK; s <= SEAL_BAD_PARAMETER; s++)
        assert_string_not_equal(seal_status_text((enum seal_status)s), "unknown");
    for (uint8_t kind = SEAL_KIND_PASSPHRASE; kind <= SEAL_KIND_SHARES; kind++)
        assert_string_not_equal(seal_kind_text(kind), "unknown");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_of_its_recipients_opens_an_age_slot),
        CASE(another_identity_is_named_and_leaves_zeros),
        CASE(a_slot_of_another_shard_is_refused),
        CASE(any_altered_byte_of_an_age_slot_is_damage),
        CASE(any_cut_of_an_age_slot_is_damage),
        CASE(no_forged_byte_yields_another_key),
        CASE(an_age_file_moved_to_another_slot_is_damage),
        CASE(counts_of_recipients_out_of_range_are_refused),
        CASE(the_largest_age_slot_fits),
        CASE(a_slot_says_what_it_is_without_being_opened),
        CASE(age_and_shares_are_kept_away_from_the_machine),
        CASE(threshold_shares_open_and_fewer_do_not),
        CASE(a_share_of_another_slot_is_named_with_its_place),
        CASE(numbers_of_shares_out_of_range_are_refused),
        CASE(the_identity_of_the_shares_opens_their_slot_too),
        CASE(a_new_root_key_takes_no_holder_to_be_there),
        CASE(a_slot_of_another_kind_is_not_opened),
        CASE(slots_of_earlier_builds_open),
        CASE(an_identity_is_read_from_its_file),
        CASE(every_status_and_kind_has_a_text),
    };

    return RUN_TESTS("seal slots", tests);
}
