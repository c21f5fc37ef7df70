/* The text of a paper share.  What is read prints to a text that reads to the very same share. */
#include "base/check.h"
#include "drivers/seal/shamir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shamir_share share, again;
    char text[SHAMIR_TEXT_LEN + 1];

    if (shamir_parse(span_of(data, size), &share) != SHAMIR_OK)
        return 0;
    CHECK(share.threshold >= 2 && share.threshold <= share.count && share.count <= SHAMIR_SHARES_MAX);
    CHECK(share.index >= 1 && share.index <= share.count);
    shamir_print(&share, text);
    CHECK(shamir_parse(span_str(text), &again) == SHAMIR_OK);
    CHECK(memcmp(&share, &again, sizeof share) == 0);
    return 0;
}
