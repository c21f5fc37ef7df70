#include "base/check.h"
#include "drivers/seal/age_crypt.h"
#include "tests/unit/test.h"
#include "tests/unit/vectors.h"

#include <stdlib.h>

#define FILE_CAP (1u << 20)

struct rig {
    struct mbed_rng *rng;
    uint8_t identity[3][AGE_KEY_LEN];
    struct age_recipient recipient[3];
    struct buf file, out;
};

static int setup(void **state)
{
    struct rig *g = calloc(1, sizeof *g);

    assert_non_null(g);
    g->rng = mbed_rng_new();
    assert_non_null(g->rng);
    for (size_t i = 0; i < 3; i++) {
        age_identity_new(g->rng, g->identity[i]);
        g->recipient[i] = age_recipient_of(g->rng, g->identity[i]);
    }
    g->file = (struct buf){malloc(FILE_CAP), 0, FILE_CAP};
    g->out = (struct buf){malloc(FILE_CAP), 0, FILE_CAP};
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct rig *g = *state;

    free(g->file.ptr);
    free(g->out.ptr);
    mbed_rng_free(g->rng);
    free(g);
    return 0;
}

static void encrypt(struct rig *g, size_t recipients, struct span plain)
{
    g->file.len = 0;
    assert_int_equal(age_encrypt(g->rng, g->recipient, recipients, plain, &g->file), AGE_OK);
}

static enum age_status decrypt(struct rig *g, size_t identity)
{
    g->out.len = 0;
    return age_decrypt(g->rng, g->identity[identity], buf_span(&g->file), &g->out);
}

/* A pattern that no chunk shares with its neighbour. */
static struct span pattern(size_t len)
{
    static uint8_t bytes[FILE_CAP / 2];

    assert_true(len <= sizeof bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + i / AGE_CHUNK);
    return span_of(bytes, len);
}

static void any_recipient_opens_what_was_sealed_to_all(void **state)
{
    struct rig *g = *state;

    encrypt(g, 3, span_str("to the three of you"));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(decrypt(g, i), AGE_OK);
        assert_true(span_is(buf_span(&g->out), "to the three of you"));
    }
}

static void nobody_else_opens_it(void **state)
{
    struct rig *g = *state;

    encrypt(g, 2, span_str("to the two of you"));
    assert_int_equal(decrypt(g, 2), AGE_NO_IDENTITY);
    assert_int_equal(g->out.len, 0);
}

static void payloads_around_the_size_of_a_chunk_come_back(void **state)
{
    static const size_t sizes[] = {
        0, 1, AGE_CHUNK - 1, AGE_CHUNK, AGE_CHUNK + 1, 2 * AGE_CHUNK, 5 * AGE_CHUNK + 17};
    struct rig *g = *state;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        encrypt(g, 1, pattern(sizes[i]));
        assert_int_equal(g->file.len, AGE_FILE_LEN(1, sizes[i]));
        assert_int_equal(decrypt(g, 0), AGE_OK);
        assert_true(span_equal(buf_span(&g->out), pattern(sizes[i])));
    }
}

static void every_altered_byte_of_a_small_file_is_noticed(void **state)
{
    struct rig *g = *state;

    encrypt(g, 2, span_str("small"));
    for (size_t at = 0; at < g->file.len; at++) {
        g->file.ptr[at] ^= 1;
        enum age_status status = decrypt(g, 0);
        assert_true(status != AGE_OK && status != AGE_NO_ROOM && status != AGE_NO_MEMORY);
        assert_int_equal(g->out.len, 0);
        g->file.ptr[at] ^= 1;
    }
}

static void every_cut_of_a_small_file_is_noticed(void **state)
{
    struct rig *g = *state;

    encrypt(g, 1, span_str("small"));
    size_t whole = g->file.len;
    for (size_t len = 0; len < whole; len++) {
        g->file.len = len;
        enum age_status status = decrypt(g, 0);
        assert_int_equal(status, len > AGE_HEAD_LEN(1) + 15 ? AGE_BAD_PAYLOAD : AGE_TRUNCATED);
    }
}

static void a_file_cut_between_chunks_is_told_from_an_altered_one(void **state)
{
    struct rig *g = *state;

    encrypt(g, 1, pattern(2 * AGE_CHUNK + 5));
    g->file.len = AGE_HEAD_LEN(1) + 2 * (AGE_CHUNK + 16);
    assert_int_equal(decrypt(g, 0), AGE_TRUNCATED);
    g->file.len = AGE_HEAD_LEN(1);
    assert_int_equal(decrypt(g, 0), AGE_TRUNCATED);
}

static void chunks_that_change_places_are_noticed(void **state)
{
    static uint8_t first[AGE_CHUNK + 16];
    struct rig *g = *state;

    encrypt(g, 1, pattern(3 * AGE_CHUNK));
    uint8_t *payload = g->file.ptr + AGE_HEAD_LEN(1);
    memcpy(first, payload, sizeof first);
    memcpy(payload, payload + sizeof first, sizeof first);
    memcpy(payload + sizeof first, first, sizeof first);
    assert_int_equal(decrypt(g, 0), AGE_BAD_PAYLOAD);
}

static void bytes_after_the_last_chunk_are_noticed(void **state)
{
    struct rig *g = *state;

    encrypt(g, 1, pattern(AGE_CHUNK));
    memset(g->file.ptr + g->file.len, 0, 16);
    g->file.len += 16;
    assert_int_equal(decrypt(g, 0), AGE_BAD_PAYLOAD);
}

/* One chunk sealed as if another came, then an empty last one: only an empty payload has that. */
static void an_empty_last_chunk_after_others_is_refused(void **state)
{
    struct rig *g = *state;
    struct age_header h;
    uint8_t file_key[AGE_FILE_KEY_LEN], key[32];

    encrypt(g, 1, pattern(AGE_CHUNK));
    assert_int_equal(age_header_parse(buf_span(&g->file), &h), AGE_OK);
    assert_true(age_stanza_open(g->rng, g->identity[0], &h.x25519[0], file_key));
    age_payload_key(file_key, g->file.ptr + h.len, key);
    uint8_t *payload = g->file.ptr + AGE_HEAD_LEN(1);
    age_chunk_seal(key, 0, false, pattern(AGE_CHUNK), payload);
    age_chunk_seal(key, 1, true, pattern(0), payload + AGE_CHUNK + AGE_TAG_LEN);
    g->file.len += AGE_TAG_LEN;
    assert_int_equal(decrypt(g, 0), AGE_BAD_PAYLOAD);
}

static bool append(void *ctx, struct span bytes)
{
    return buf_put(ctx, bytes);
}

static void a_stream_read_in_any_pieces_gives_the_same(void **state)
{
    static const size_t pieces[] = {1, 2, 13, 21, 22, 23, 4096, AGE_CHUNK, AGE_CHUNK + 16, FILE_CAP};
    struct rig *g = *state;

    encrypt(g, 2, pattern(AGE_CHUNK + 99));
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct age_reader *r =
            age_reader_new(g->rng, (const uint8_t(*)[AGE_KEY_LEN])g->identity[1], 1, append, &g->out);

        assert_non_null(r);
        g->out.len = 0;
        for (size_t at = 0; at < g->file.len; at += pieces[i]) {
            size_t left = g->file.len - at;
            struct span piece = span_of(g->file.ptr + at, left < pieces[i] ? left : pieces[i]);
            assert_int_equal(age_reader_put(r, piece), AGE_OK);
        }
        assert_int_equal(age_reader_finish(r), AGE_OK);
        assert_true(span_equal(buf_span(&g->out), pattern(AGE_CHUNK + 99)));
        age_reader_free(r);
    }
}

static void a_stream_written_in_any_pieces_opens_to_the_same(void **state)
{
    static const size_t pieces[] = {977, AGE_CHUNK - 1, AGE_CHUNK, AGE_CHUNK + 1, 2 * AGE_CHUNK};
    struct rig *g = *state;
    struct span plain = pattern(2 * AGE_CHUNK);
    enum age_status status;

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        g->file.len = 0;
        struct age_writer *w = age_writer_new(g->rng, g->recipient, 1, append, &g->file, &status);
        assert_non_null(w);
        for (size_t at = 0; at < plain.len; at += pieces[i]) {
            size_t left = plain.len - at;
            struct span piece = span_of(plain.ptr + at, left < pieces[i] ? left : pieces[i]);
            assert_int_equal(age_writer_put(w, piece), AGE_OK);
        }
        assert_int_equal(age_writer_finish(w), AGE_OK);
        age_writer_free(w);
        assert_int_equal(g->file.len, AGE_FILE_LEN(1, plain.len));
        assert_int_equal(decrypt(g, 0), AGE_OK);
        assert_true(span_equal(buf_span(&g->out), plain));
    }
}

static void a_file_without_its_last_chunk_is_no_file(void **state)
{
    struct rig *g = *state;
    enum age_status status;

    g->file.len = 0;
    struct age_writer *w = age_writer_new(g->rng, g->recipient, 1, append, &g->file, &status);
    assert_non_null(w);
    assert_int_equal(age_writer_put(w, pattern(AGE_CHUNK + 1)), AGE_OK);
    age_writer_free(w);
    assert_int_equal(decrypt(g, 0), AGE_TRUNCATED);
}

static void a_sink_that_takes_no_more_ends_the_stream(void **state)
{
    struct rig *g = *state;

    encrypt(g, 1, pattern(3 * AGE_CHUNK));
    struct buf small = {g->out.ptr, 0, AGE_CHUNK + 1};
    assert_int_equal(age_decrypt(g->rng, g->identity[0], buf_span(&g->file), &small), AGE_NO_ROOM);
    assert_int_equal(small.len, 0);
    struct buf tight = {g->out.ptr, 0, AGE_FILE_LEN(1, 10) - 1};
    assert_int_equal(age_encrypt(g->rng, g->recipient, 1, pattern(10), &tight), AGE_NO_ROOM);
    assert_int_equal(tight.len, 0);
}

static void text_of_keys_is_that_of_the_age_program(void **state)
{
    struct rig *g = *state;
    uint8_t buf[256], identity[AGE_KEY_LEN];
    char text[AGE_IDENTITY_TEXT_LEN + 1];
    struct age_recipient r;

    struct span golden = vector_get("seal/age.txt", "key", "identity", buf, sizeof buf);
    assert_int_equal(age_identity_parse(golden, identity), AGE_OK);
    age_identity_print(identity, text);
    assert_true(span_is(golden, text));
    golden = vector_get("seal/age.txt", "key", "recipient", buf, sizeof buf);
    assert_int_equal(age_recipient_parse(g->rng, golden, &r), AGE_OK);
    age_recipient_print(&r, text);
    assert_true(span_is(golden, text));
    struct age_recipient derived = age_recipient_of(g->rng, identity);
    assert_memory_equal(&derived, &r, sizeof r);
}

static void a_mistyped_key_is_refused_and_leaves_zeros(void **state)
{
    static const uint8_t zero[AGE_KEY_LEN];
    struct rig *g = *state;
    char text[AGE_IDENTITY_TEXT_LEN + 1];
    uint8_t identity[AGE_KEY_LEN];

    age_identity_print(g->identity[0], text);
    text[40] = text[40] == 'Q' ? 'P' : 'Q';
    assert_int_equal(age_identity_parse(span_str(text), identity), AGE_BAD_KEY);
    assert_memory_equal(identity, zero, sizeof zero);
}

static void a_recipient_that_everybody_could_open_is_refused(void **state)
{
    struct rig *g = *state;
    struct age_recipient zero = {{0}}, again;
    char text[AGE_RECIPIENT_TEXT_LEN + 1];

    age_recipient_print(&zero, text);
    assert_int_equal(age_recipient_parse(g->rng, span_str(text), &again), AGE_BAD_KEY);
    g->file.len = 0;
    assert_int_equal(age_encrypt(g->rng, &zero, 1, span_str("x"), &g->file), AGE_BAD_KEY);
    assert_int_equal(g->file.len, 0);
}

static void an_identity_file_may_hold_comments_and_empty_lines(void **state)
{
    struct rig *g = *state;
    char text[AGE_IDENTITY_TEXT_LEN + 1], file[512];
    uint8_t identity[AGE_KEY_LEN];

    age_identity_print(g->identity[0], text);
    int len = snprintf(file, sizeof file, "# created: then\n\n# public key: age1...\r\n %s \r\n", text);
    assert_int_equal(age_identity_find(span_of(file, (size_t)len), identity), AGE_OK);
    assert_memory_equal(identity, g->identity[0], AGE_KEY_LEN);
    assert_int_equal(age_identity_find(span_str("# nothing\n"), identity), AGE_BAD_KEY);
    assert_int_equal(age_identity_find(span_str(""), identity), AGE_BAD_KEY);
}

static void files_of_the_age_program_open(void **state)
{
    static const char *const names[] = {"file to one", "file to two", "file of nothing"};
    struct rig *g = *state;
    uint8_t text[256], want[256];

    struct span key = vector_get("seal/age.txt", "key", "identity", text, sizeof text);
    assert_int_equal(age_identity_parse(key, g->identity[0]), AGE_OK);
    for (size_t i = 0; i < 3; i++) {
        struct span plain = vector_get("seal/age.txt", names[i], "plain", want, sizeof want);

        g->file.len = vector_get("seal/age.txt", names[i], "file", g->file.ptr, FILE_CAP).len;
        assert_int_equal(decrypt(g, 0), AGE_OK);
        assert_true(span_equal(buf_span(&g->out), plain));
    }
}

static enum age_status parse(const char *header, struct age_header *h)
{
    return age_header_parse(span_str(header), h);
}

#define FIRST  "age-encryption.org/v1\n"
#define SHARE  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define LINE64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define STANZA "-> X25519 " SHARE "\n" SHARE "\n"
#define MAC    "--- " SHARE "\n"

static void a_header_is_parsed_with_stanzas_of_other_kinds_passed_over(void **state)
{
    struct age_header h;

    (void)state;
    assert_int_equal(parse(FIRST STANZA MAC "payload", &h), AGE_OK);
    assert_int_equal(h.len, strlen(FIRST STANZA MAC));
    assert_int_equal(h.covered.len, strlen(FIRST STANZA "---"));
    assert_int_equal(h.x25519_count, 1);
    assert_int_equal(parse(FIRST "-> ssh-ed25519 aaa bbb\n" LINE64 "\nAAAA\n" STANZA "-> x-grease\n" LINE64
                                 "\n\n" MAC,
                           &h),
                     AGE_OK);
    assert_int_equal(h.stanza_count, 3);
    assert_int_equal(h.x25519_count, 1);
}

static void a_malformed_header_is_refused(void **state)
{
    static const char *const bad[] = {
        FIRST MAC,                                       /* no stanza */
        FIRST "-> X25519\n" SHARE "\n" MAC,              /* no share */
        FIRST "-> X25519 " SHARE " x\n" SHARE "\n" MAC,  /* an argument too many */
        FIRST "-> X25519 " SHARE "=\n" SHARE "\n" MAC,   /* padding */
        FIRST "-> X25519 " SHARE "\n" SHARE "=\n" MAC,   /* padding */
        FIRST "-> X25519 AAAA\n" SHARE "\n" MAC,         /* a short share */
        FIRST "-> X25519 " SHARE "\nAAAA\n" MAC,         /* a short body */
        FIRST "-> X25519 " SHARE "\n" LINE64 "\n\n" MAC, /* a long body */
        FIRST "-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\n" SHARE "\n" MAC, /* spare bits */
        FIRST "->  X25519 " SHARE "\n" SHARE "\n" MAC,                                  /* two spaces */
        FIRST "-> X25519 " SHARE " \n" SHARE "\n" MAC,     /* a space at the end */
        FIRST "-> \n\n" MAC,                               /* no kind */
        FIRST "-> a\tb\n\n" MAC,                           /* a tab */
        FIRST "-> a\r\n\n" MAC,                            /* CR LF */
        FIRST "-> a\n" LINE64 "A\n" MAC,                   /* a long line */
        FIRST "-> a\nAA==\n" MAC,                          /* padding */
        FIRST "-> a\n-_AA\n" MAC,                          /* the URL's alphabet */
        FIRST "-> scrypt aaaa 18\n" SHARE "\n" STANZA MAC, /* a passphrase beside a recipient */
        FIRST STANZA "--- AAAA\n",                         /* a short MAC */
        FIRST STANZA "---\n",                              /* no MAC */
        FIRST STANZA "nonsense\n",
    };
    struct age_header h;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i], &h) != AGE_BAD_HEADER)
            fail_msg("parsed: %s", bad[i]);
    }
}

static void another_format_is_named_as_such(void **state)
{
    struct rig *g = *state;
    struct age_header h;

    assert_int_equal(parse("age-encryption.org/v2\n" STANZA MAC, &h), AGE_NOT_AGE);
    assert_int_equal(parse("-----BEGIN AGE ENCRYPTED FILE-----\n", &h), AGE_NOT_AGE);
    assert_int_equal(parse("SQLite format 3", &h), AGE_NOT_AGE);
    memset(g->file.ptr, 'x', 1000);
    g->file.len = 1000;
    assert_int_equal(decrypt(g, 0), AGE_NOT_AGE);
}

static void a_header_cut_anywhere_wants_more(void **state)
{
    static const char whole[] = FIRST STANZA MAC;
    struct age_header h;

    (void)state;
    for (size_t len = 0; len < sizeof whole - 1; len++)
        assert_int_equal(age_header_parse(span_of(whole, len), &h), AGE_MORE);
}

static void a_header_without_end_is_refused(void **state)
{
    struct rig *g = *state;
    struct age_header h;

    g->file.len = 0;
    assert_true(buf_put(&g->file, span_str(FIRST "-> a\n")));
    while (g->file.len < 2 * AGE_HEADER_MAX)
        assert_true(buf_put(&g->file, span_str(LINE64 "\n")));
    assert_int_equal(age_header_parse(buf_span(&g->file), &h), AGE_BAD_HEADER);
    assert_int_equal(decrypt(g, 0), AGE_BAD_HEADER);
    g->file.len = 0;
    assert_true(buf_put(&g->file, span_str(FIRST)));
    for (size_t i = 0; i <= AGE_STANZAS_MAX; i++)
        assert_true(buf_put(&g->file, span_str("-> a\n\n")));
    assert_true(buf_put(&g->file, span_str(MAC)));
    assert_int_equal(age_header_parse(buf_span(&g->file), &h), AGE_BAD_HEADER);
}

static void every_status_has_a_text(void **state)
{
    (void)state;
    for (int s = AGE_OK; s <= AGE_NO_MEMORY; s++)
        assert_string_not_equal(age_status_text((enum age_status)s), "unknown");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(any_recipient_opens_what_was_sealed_to_all),
        CASE(nobody_else_opens_it),
        CASE(payloads_around_the_size_of_a_chunk_come_back),
        CASE(every_altered_byte_of_a_small_file_is_noticed),
        CASE(every_cut_of_a_small_file_is_noticed),
        CASE(a_file_cut_between_chunks_is_told_from_an_altered_one),
        CASE(chunks_that_change_places_are_noticed),
        CASE(bytes_after_the_last_chunk_are_noticed),
        CASE(an_empty_last_chunk_after_others_is_refused),
        CASE(a_stream_read_in_any_pieces_gives_the_same),
        CASE(a_stream_written_in_any_pieces_opens_to_the_same),
        CASE(a_file_without_its_last_chunk_is_no_file),
        CASE(a_sink_that_takes_no_more_ends_the_stream),
        CASE(text_of_keys_is_that_of_the_age_program),
        CASE(a_mistyped_key_is_refused_and_leaves_zeros),
        CASE(a_recipient_that_everybody_could_open_is_refused),
        CASE(an_identity_file_may_hold_comments_and_empty_lines),
        CASE(files_of_the_age_program_open),
        CASE(a_header_is_parsed_with_stanzas_of_other_kinds_passed_over),
        CASE(a_malformed_header_is_refused),
        CASE(another_format_is_named_as_such),
        CASE(a_header_cut_anywhere_wants_more),
        CASE(a_header_without_end_is_refused),
        CASE(every_status_has_a_text),
    };

    return RUN_TESTS("seal age", tests);
}
