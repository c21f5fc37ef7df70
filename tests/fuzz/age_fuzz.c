/* The header of an age file.  What is accepted lies within the bytes, ends with a line, and is refused with
 * any byte of it missing. */
#include "base/check.h"
#include "drivers/seal/age.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct age_header h, cut;

    if (age_header_parse(span_of(data, size), &h) != AGE_OK)
        return 0;
    CHECK(h.len <= size && h.len <= AGE_HEADER_MAX && data[h.len - 1] == '\n');
    CHECK(h.covered.ptr == data && h.covered.len < h.len);
    CHECK(memcmp(data + h.covered.len - 4, "\n---", 4) == 0);
    CHECK(h.stanza_count >= 1 && h.stanza_count <= AGE_STANZAS_MAX && h.x25519_count <= h.stanza_count);
    CHECK(age_header_parse(span_of(data, h.len), &cut) == AGE_OK && cut.len == h.len);
    CHECK(age_header_parse(span_of(data, h.len - 1), &cut) == AGE_MORE);
    return 0;
}
