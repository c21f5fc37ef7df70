/* Base64 in, and bytes in.  What is decoded encodes to the very text, once that is in the standard alphabet
 * and padded: each byte string has one text.  What is encoded decodes to the very bytes. */
#include "base/check.h"
#include "proto/base64.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same text in the standard alphabet, padded. */
static size_t standard_form(const uint8_t *text, size_t len, uint8_t *out)
{
    while (len != 0 && text[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++)
        out[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    while (len % 4 != 0)
        out[len++] = '=';
    return len;
}

static void check_text(const uint8_t *data, size_t size)
{
    size_t cap = BASE64_DECODED_MAX(size), len, url_len, place_len;
    uint8_t *out = malloc(cap + 1), *text = malloc(size + 4), *form = malloc(size + 4),
            *place = malloc(size + 1);

    CHECK(out != NULL && text != NULL && form != NULL && place != NULL);
    memcpy(place, data, size);
    bool ok = base64_decode(span_of(data, size), out, &len);
    CHECK(base64_decode(span_of(place, size), place, &place_len) == ok);
    if (ok) {
        CHECK(len <= cap && BASE64_ENCODED_LEN(len) <= size + 3);
        CHECK(span_equal(span_of(place, place_len), span_of(out, len)));
        size_t text_len = base64_encode(span_of(out, len), text);
        CHECK(span_equal(span_of(text, text_len), span_of(form, standard_form(data, size, form))));
    }
    if (base64url_decode(span_of(data, size), out, &url_len))
        CHECK(ok && url_len == len && memchr(data, '=', size) == NULL);
    free(out);
    free(text);
    free(form);
    free(place);
}

static void check_bytes(const uint8_t *data, size_t size)
{
    uint8_t *text = malloc(BASE64_ENCODED_LEN(size) + 1), *out = malloc(size + 4);
    size_t len;

    CHECK(text != NULL && out != NULL);
    size_t text_len = base64_encode(span_of(data, size), text);
    CHECK(text_len == BASE64_ENCODED_LEN(size));
    CHECK(base64_decode(span_of(text, text_len), out, &len));
    CHECK(span_equal(span_of(out, len), span_of(data, size)));
    free(text);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    check_text(data, size);
    check_bytes(data, size);
    return 0;
}
