/* One JSON text.  What is taken is balanced; a string that is unescaped and written again means the same; an
 * integer is the number that was written. */
#include "base/check.h"
#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *meaning, *written, *again;

static void check_string(struct span text)
{
    struct json_reader r;
    struct buf out = {written, 0, 6 * text.len + 2};
    size_t len = json_unescape(text, meaning);

    CHECK(len <= text.len);
    CHECK(memchr(meaning, 0, len) == NULL);
    CHECK(json_write_string(&out, span_of(meaning, len)));
    json_init(&r, buf_span(&out));
    CHECK(json_next(&r) == JSON_STRING);
    size_t len_again = json_unescape(r.text, again);
    CHECK(span_equal(span_of(meaning, len), span_of(again, len_again)));
    CHECK(json_next(&r) == JSON_END);
}

static void check_number(struct span text)
{
    char digits[32];
    int64_t v, w;

    if (!json_integer(text, INT64_MIN, INT64_MAX, &v))
        return;
    int len = snprintf(digits, sizeof digits, "%lld", (long long)v);
    CHECK(json_integer(span_of(digits, (size_t)len), v, v, &w) && w == v);
    CHECK(text.len != (size_t)len || text.ptr[0] == '0' || memcmp(text.ptr, digits, text.len) == 0 ||
          memchr(text.ptr, '.', text.len) != NULL || memchr(text.ptr, 'e', text.len) != NULL ||
          memchr(text.ptr, 'E', text.len) != NULL || span_is(text, "-0"));
}

static void check_tokens(struct json_reader *r)
{
    enum json_token token;
    size_t open = 0, at = 0;

    while ((token = json_next(r)) != JSON_END && token != JSON_ERROR) {
        CHECK(r->at > at && r->at <= r->in.len);
        at = r->at;
        open += token == JSON_OBJECT_BEGIN || token == JSON_ARRAY_BEGIN;
        open -= token == JSON_OBJECT_END || token == JSON_ARRAY_END;
        CHECK(open == r->depth && open <= JSON_DEPTH_MAX);
        if (token == JSON_NAME || token == JSON_STRING)
            check_string(r->text);
        if (token == JSON_NUMBER)
            check_number(r->text);
    }
    CHECK((token == JSON_ERROR) == (r->error != NULL));
    CHECK(token == JSON_ERROR || open == 0);
    CHECK(json_next(r) == token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_reader r, s;

    meaning = malloc(size + 1);
    again = malloc(6 * size + 2);
    written = malloc(6 * size + 2);
    CHECK(meaning != NULL && again != NULL && written != NULL);
    json_init(&r, span_of(data, size));
    check_tokens(&r);
    json_init(&s, span_of(data, size));
    bool skipped = json_skip(&s) && json_next(&s) == JSON_END;
    CHECK(skipped == (r.error == NULL));
    free(meaning);
    free(again);
    free(written);
    return 0;
}
