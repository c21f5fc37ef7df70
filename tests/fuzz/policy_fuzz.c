/* A policy file.  What is taken keeps within its limits and comes back from its store row as it was; what is refused
 * says where. */
#include "base/check.h"
#include "ctrl/keys/policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(const struct policy *p)
{
    static uint8_t body[STORE_BODY_MAX];
    const uint8_t id[KEY_ID_LEN] = {1};
    struct store_row row = {.kind = STORE_POLICY, .body = span_of(body, record_policy_encode(p, body))};
    struct key_record *r = record_new(id, "k");

    CHECK(record_policy_decode(&row, r));
    CHECK(r->policy.deny_status == p->deny_status && r->policy.reasons == p->reasons);
    CHECK(r->policy.caller_count == p->caller_count);
    for (uint8_t i = 0; i < p->caller_count; i++)
        CHECK(strcmp(r->policy.callers[i], p->callers[i]) == 0);
    record_unref(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct policy p;
    struct refusal why = {{0}, {0}, {0}};

    if (!policy_parse(span_of(data, size), &p, &why)) {
        CHECK(strncmp(why.text, "line ", 5) == 0 || size > POLICY_FILE_MAX);
        return 0;
    }
    CHECK(p.caller_count <= EKM_CALLERS_PER_KEY && (p.deny_status == 403 || p.deny_status == 400));
    for (uint8_t i = 0; i < p.caller_count; i++)
        CHECK(strlen(p.callers[i]) >= 3 && strlen(p.callers[i]) <= EKM_CALLER_MAX);
    check_row(&p);
    policy_free(&p);
    return 0;
}
