/* TPM 2.0 (TCG library specification, revision 1.59) through tpm2-tss's ESYS.
 *
 * The secret is a sealed object under a storage key of the owner hierarchy, which the TPM makes again from
 * one template each time.  With PCRs named, the object's policy is their values at sealing, and nothing else
 * opens it; without, whoever may talk to this TPM does.  Sessions are salted with the storage key, and the
 * secret crosses the bus encrypted.  Blob = TPM2B_PUBLIC, TPM2B_PRIVATE as the TPM marshals them. */
#include "base/secret.h"
#include "drivers/seal/child/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

struct tpm {
    struct device_tpm2 p;
    struct answer *a;
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR primary, session, object;
};

/* Which TCTIs a slot may name: the loader opens libtss2-tcti-NAME.so, or any path given to it. */
static bool tcti_allowed(const char *name)
{
    static const char *const allowed[] = {"device:", "tabrmd:", "swtpm:"};

    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (strncmp(name, allowed[i], strlen(allowed[i])) == 0)
            return true;
    }
    return false;
}

static enum device_status fail(struct tpm *t, enum device_status status, const char *what, TSS2_RC rc)
{
    return answer_fail(t->a, status, "%s (%s, 0x%x)", what, Tss2_RC_Decode(rc), rc);
}

static enum device_status connect_tpm(struct tpm *t)
{
    char name[256];

    snprintf(name, sizeof name, "%.*s", (int)t->p.tcti.len, (const char *)t->p.tcti.ptr);
    if (!tcti_allowed(name))
        return answer_fail(t->a, DEVICE_BAD_REQUEST,
                           "\"%s\": a TPM is named as device:, tabrmd: or swtpm:", name);
    TSS2_RC rc = Tss2_TctiLdr_Initialize(name, &t->tcti);
    if (rc == TSS2_RC_SUCCESS)
        rc = Esys_Initialize(&t->esys, t->tcti, NULL);
    if (rc != TSS2_RC_SUCCESS)
        return answer_fail(t->a, DEVICE_NO_DEVICE,
                           "no TPM at %s: %s: is this user in the group of the device?", name,
                           Tss2_RC_Decode(rc));
    return DEVICE_OK;
}

/* ECC P-256, AES-128 in CFB, SHA-256: what every TPM 2.0 has. */
static const TPM2B_PUBLIC storage_key = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT | TPMA_OBJECT_NODA,
            .parameters.eccDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB},
                    .scheme.scheme = TPM2_ALG_NULL,
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf.scheme = TPM2_ALG_NULL,
                },
        },
};

static enum device_status make_storage_key(struct tpm *t)
{
    TPM2B_SENSITIVE_CREATE sensitive = {0};
    TPM2B_DATA outside = {0};
    TPML_PCR_SELECTION none = {0};

    TSS2_RC rc =
        Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                           &sensitive, &storage_key, &outside, &none, &t->primary, NULL, NULL, NULL, NULL);
    if (rc == TSS2_RC_SUCCESS)
        return DEVICE_OK;
    return fail(t, DEVICE_FAILED, "the TPM makes no storage key: is a password set on its owner hierarchy?",
                rc);
}

static enum device_status start_session(struct tpm *t, TPM2_SE kind, TPMA_SESSION crypt)
{
    TPMT_SYM_DEF aes = {.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};

    TSS2_RC rc = Esys_StartAuthSession(t->esys, t->primary, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                       ESYS_TR_NONE, NULL, kind, &aes, TPM2_ALG_SHA256, &t->session);
    if (rc == TSS2_RC_SUCCESS)
        rc = Esys_TRSess_SetAttributes(t->esys, t->session, crypt | TPMA_SESSION_CONTINUESESSION, 0xff);
    return rc == TSS2_RC_SUCCESS ? DEVICE_OK : fail(t, DEVICE_FAILED, "the TPM starts no session", rc);
}

static void end_session(struct tpm *t)
{
    if (t->session != ESYS_TR_NONE)
        Esys_FlushContext(t->esys, t->session);
    t->session = ESYS_TR_NONE;
}

static TSS2_RC apply_policy(struct tpm *t)
{
    TPM2B_DIGEST now = {0}; /* empty: the TPM takes its own values */
    TPML_PCR_SELECTION pcrs = {.count = 1, .pcrSelections = {{.hash = TPM2_ALG_SHA256, .sizeofSelect = 3}}};

    for (unsigned i = 0; i < 3; i++)
        pcrs.pcrSelections[0].pcrSelect[i] = (BYTE)(t->p.pcrs >> 8 * i);
    return Esys_PolicyPCR(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &now, &pcrs);
}

static enum device_status policy_digest(struct tpm *t, TPM2B_DIGEST *out)
{
    TPM2B_DIGEST *digest = NULL;

    out->size = 0;
    if (t->p.pcrs == 0)
        return DEVICE_OK;
    enum device_status status = start_session(t, TPM2_SE_TRIAL, 0);
    if (status != DEVICE_OK)
        return status;
    TSS2_RC rc = apply_policy(t);
    if (rc == TSS2_RC_SUCCESS)
        rc = Esys_PolicyGetDigest(t->esys, t->session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &digest);
    end_session(t);
    if (rc != TSS2_RC_SUCCESS)
        return fail(t, DEVICE_FAILED, "the TPM makes no policy of these PCRs", rc);
    *out = *digest;
    Esys_Free(digest);
    return DEVICE_OK;
}

static enum device_status give_blob(struct tpm *t, const TPM2B_PUBLIC *public, const TPM2B_PRIVATE *private)
{
    size_t at = 0;

    TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Marshal(public, t->a->payload.ptr, t->a->payload.cap, &at);
    if (rc == TSS2_RC_SUCCESS)
        rc = Tss2_MU_TPM2B_PRIVATE_Marshal(private, t->a->payload.ptr, t->a->payload.cap, &at);
    if (rc != TSS2_RC_SUCCESS)
        return fail(t, DEVICE_FAILED, "the TPM's object is too long for a slot", rc);
    t->a->payload.len = at;
    return DEVICE_OK;
}

static enum device_status create_object(struct tpm *t, struct span secret, const TPM2B_DIGEST *policy)
{
    TPMA_OBJECT open_by = t->p.pcrs == 0 ? TPMA_OBJECT_USERWITHAUTH : 0;
    TPM2B_PUBLIC template = {
        .publicArea = {
            .type = TPM2_ALG_KEYEDHASH,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA | open_by,
            .authPolicy = *policy,
            .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
        }};
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = DEVICE_SECRET_LEN};
    TPM2B_DATA outside = {0};
    TPML_PCR_SELECTION none = {0};
    TPM2B_PUBLIC *public = NULL;
    TPM2B_PRIVATE *private = NULL;

    memcpy(sensitive.sensitive.data.buffer, secret.ptr, DEVICE_SECRET_LEN);
    TSS2_RC rc = Esys_Create(t->esys, t->primary, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                             &template, &outside, &none, &private, &public, NULL, NULL, NULL);
    secret_wipe(&sensitive, sizeof sensitive);
    if (rc != TSS2_RC_SUCCESS)
        return fail(t, DEVICE_FAILED, "the TPM does not seal", rc);
    enum device_status status = give_blob(t, public, private);
    Esys_Free(public);
    Esys_Free(private);
    return status;
}

static enum device_status seal(struct tpm *t, struct span secret)
{
    TPM2B_DIGEST policy;
    enum device_status status = policy_digest(t, &policy);

    if (status == DEVICE_OK)
        status = start_session(t, TPM2_SE_HMAC, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT);
    return status == DEVICE_OK ? create_object(t, secret, &policy) : status;
}

static enum device_status load_object(struct tpm *t, struct span blob)
{
    TPM2B_PUBLIC public = {0};
    TPM2B_PRIVATE private = {0};
    size_t at = 0;

    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob.ptr, blob.len, &at, &public) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob.ptr, blob.len, &at, &private) != TSS2_RC_SUCCESS ||
        at != blob.len)
        return answer_fail(t->a, DEVICE_REFUSED, "the slot holds no object of a TPM");
    TSS2_RC rc = Esys_Load(t->esys, t->primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &private,
                           &public, &t->object);
    if (rc == TSS2_RC_SUCCESS)
        return DEVICE_OK;
    return fail(t, DEVICE_REFUSED, "this TPM did not make this slot, or was cleared since: open another slot",
                rc);
}

/* TPM 2.0 part 2, 6.6.3: what is left without the number of the session it speaks of. */
static bool is_policy_failure(TSS2_RC rc)
{
    TSS2_RC code = rc & (TPM2_RC_FMT1 | 0x3f);

    return rc == TPM2_RC_PCR_CHANGED || ((rc & TPM2_RC_FMT1) != 0 && code == TPM2_RC_POLICY_FAIL);
}

static enum device_status unseal(struct tpm *t)
{
    TPM2B_SENSITIVE_DATA *data = NULL;
    enum device_status status =
        start_session(t, t->p.pcrs == 0 ? TPM2_SE_HMAC : TPM2_SE_POLICY, TPMA_SESSION_ENCRYPT);

    if (status != DEVICE_OK)
        return status;
    TSS2_RC rc = t->p.pcrs == 0 ? TSS2_RC_SUCCESS : apply_policy(t);
    if (rc == TSS2_RC_SUCCESS)
        rc = Esys_Unseal(t->esys, t->object, t->session, ESYS_TR_NONE, ESYS_TR_NONE, &data);
    if (is_policy_failure(rc))
        return answer_fail(
            t->a, DEVICE_POLICY,
            "the TPM's PCRs 0x%06x are not what they were when the slot was made: after a change that was "
            "meant, open another slot and add this one anew",
            t->p.pcrs);
    if (rc != TSS2_RC_SUCCESS)
        return fail(t, DEVICE_FAILED, "the TPM does not open the slot", rc);
    bool fits = data->size == DEVICE_SECRET_LEN && buf_put(&t->a->payload, span_of(data->buffer, data->size));
    secret_wipe(data, sizeof *data);
    Esys_Free(data);
    return fits
               ? DEVICE_OK
               : answer_fail(t->a, DEVICE_REFUSED, "the TPM opens this slot to another length than 32 bytes");
}

static enum device_status use_tpm(struct tpm *t, const struct device_request *r)
{
    enum device_status status = connect_tpm(t);

    if (status == DEVICE_OK)
        status = make_storage_key(t);
    if (status != DEVICE_OK)
        return status;
    if (r->operation == DEVICE_SEAL)
        return seal(t, r->payload);
    status = load_object(t, r->payload);
    return status == DEVICE_OK ? unseal(t) : status;
}

/* Nothing of ours stays in the TPM: its room for objects and sessions is small. */
static void leave(struct tpm *t)
{
    end_session(t);
    if (t->object != ESYS_TR_NONE)
        Esys_FlushContext(t->esys, t->object);
    if (t->primary != ESYS_TR_NONE)
        Esys_FlushContext(t->esys, t->primary);
    if (t->esys != NULL)
        Esys_Finalize(&t->esys);
    if (t->tcti != NULL)
        Tss2_TctiLdr_Finalize(&t->tcti);
}

enum device_status tpm2_answer(const struct device_request *r, struct answer *a)
{
    struct tpm t = {.a = a, .primary = ESYS_TR_NONE, .session = ESYS_TR_NONE, .object = ESYS_TR_NONE};

    if (!device_tpm2_parse(r->params, &t.p))
        return answer_fail(a, DEVICE_BAD_REQUEST, "the parameters of the TPM slot do not parse");
    /* Its own messages would go to ctrl's log. */
    setenv("TSS2_LOG", "all+NONE", 1);
    enum device_status status = use_tpm(&t, r);
    leave(&t);
    return status;
}
