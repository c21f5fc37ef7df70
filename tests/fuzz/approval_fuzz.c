/* The text of an approval request: what is read back out of it lies within it, and the request is an object. */
#include "base/check.h"
#include "ctrl/operators/approval.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct approval p;
    char *text = malloc(size + 1);

    CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (approval_parse(text, &p)) {
        CHECK(json_is_object(p.change));
        CHECK(strcmp(p.statement, text) == 0);
        CHECK(strlen(p.id) == 2 * APPROVAL_ID_LEN && strstr(text, p.id) != NULL);
        CHECK(strstr(text, p.asked_by) != NULL && p.expires_unix_s >= 0);
        approval_free_parts(&p);
    }
    free(text);
    return 0;
}
