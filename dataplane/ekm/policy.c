/* May they: what a key's record says about a caller, an access reason, and itself. */
#include "dataplane/ekm/ekm_priv.h"

#define FIELD_REASON "additionalContext.accessReasonContext.reason"

static enum ekm_answer denial_of(const struct key *k)
{
    return key_deny_status(k) == 400 ? ANSWER_DENIED_MILDLY : ANSWER_DENIED;
}

struct ekm_decision ekm_policy_caller(const struct key *k, struct span caller)
{
    if (!key_allows_caller(k, caller))
        return decide(denial_of(k), REASON_EKM_CALLER_DENIED);
    return decide(ANSWER_OK, REASON_EKM_WRAP_OK);
}

/* An absent reason and an unknown one are bits of their own: allowed only where the key's list says so. */
struct ekm_decision ekm_policy_reason(const struct key *k, uint32_t reason_bit)
{
    struct ekm_decision d = decide(denial_of(k), REASON_EKM_REASON_DENIED);

    if (key_allows_reason(k, reason_bit))
        return decide(ANSWER_OK, REASON_EKM_WRAP_OK);
    d.bad = (struct field_violation){FIELD_REASON, "not allowed on this key"};
    return d;
}

struct ekm_decision ekm_policy_state(const struct key *k)
{
    switch (key_lifecycle(k)) {
    case KEY_STATE_ENABLED:
        return decide(ANSWER_OK, REASON_EKM_WRAP_OK);
    case KEY_STATE_PENDING_DURABLE:
    case KEY_STATE_DISABLED:
        return decide(ANSWER_DISABLED, REASON_EKM_KEY_DISABLED);
    case KEY_STATE_DESTROY_SCHEDULED:
    case KEY_STATE_DESTROYED:
        break;
    }
    return decide(ANSWER_NOT_FOUND, REASON_EKM_KEY_GONE);
}
