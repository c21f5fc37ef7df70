/* PKCS#11 (OASIS, version 2.40): an AES key of a token wraps the secret.
 *
 * AES_KEY_WRAP: the secret is made an object of the session and wrapped by C_WrapKey (RFC 3394).  AES_GCM: it
 * is data, with a nonce of ours and the slot's parameters as additional data; blob = nonce 12, ciphertext,
 * tag 16. */
#include "base/check.h"
#include "base/secret.h"
#include "drivers/crypto/mbedtls/mbed.h"
#include "drivers/seal/child/device.h"
#include "drivers/seal/secret_file.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define PIN_MAX      256
#define SLOTS_MAX    64
#define LABEL_LEN    32
#define GCM_NONCE    12
#define GCM_TAG_BITS 128

struct token {
    const struct device_pkcs11 *p;
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
    struct answer *a;
};

/* Bytes of the request as a text to print. */
#define TEXT(s) (int)(s).len, (const char *)(s).ptr

static bool of_root_alone(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_uid == 0 && (st.st_mode & 022) == 0;
}

/* The path comes from the store.  Whoever can write that must not be able to have code of his own run here.
 * */
static enum device_status check_module(const char *path, char real[PATH_MAX], struct answer *a)
{
    char folder[PATH_MAX];

    if (realpath(path, real) == NULL)
        return answer_fail(a, DEVICE_NO_DEVICE,
                           "no PKCS#11 module at %s: install it, or add the slot with its path", path);
    snprintf(folder, sizeof folder, "%s", real);
    if (!of_root_alone(real) || !of_root_alone(dirname(folder)))
        return answer_fail(
            a, DEVICE_NO_DEVICE,
            "the PKCS#11 module %s is not loaded: it and its folder must belong to root and be "
            "writable by nobody else",
            real);
    return DEVICE_OK;
}

static enum device_status load_module(struct token *t)
{
    char path[256], real[PATH_MAX];
    CK_C_GetFunctionList get_list;

    snprintf(path, sizeof path, "%.*s", TEXT(t->p->module));
    enum device_status status = check_module(path, real, t->a);
    if (status != DEVICE_OK)
        return status;
    void *module = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL)
        return answer_fail(t->a, DEVICE_NO_DEVICE, "the PKCS#11 module %s does not load: %s", real,
                           dlerror());
    void *symbol = dlsym(module, "C_GetFunctionList");
    memcpy(&get_list, &symbol, sizeof get_list);
    if (symbol == NULL || get_list(&t->f) != CKR_OK)
        return answer_fail(t->a, DEVICE_NO_DEVICE, "%s is no PKCS#11 module", real);
    CK_RV rv = t->f->C_Initialize(NULL);
    if (rv != CKR_OK)
        return answer_fail(t->a, DEVICE_NO_DEVICE, "the PKCS#11 module %s does not start (0x%lx)", real, rv);
    return DEVICE_OK;
}

static bool label_is(const unsigned char label[LABEL_LEN], struct span want)
{
    for (size_t i = 0; i < LABEL_LEN; i++) {
        if (label[i] != (i < want.len ? want.ptr[i] : ' '))
            return false;
    }
    return true;
}

static enum device_status open_session(struct token *t)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;

    CK_RV rv = t->f->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK)
        return answer_fail(t->a, DEVICE_NO_DEVICE, "the PKCS#11 module lists no slots (0x%lx)", rv);
    for (CK_ULONG i = 0; i < count; i++) {
        if (t->f->C_GetTokenInfo(slots[i], &info) != CKR_OK || !label_is(info.label, t->p->token))
            continue;
        rv = t->f->C_OpenSession(slots[i], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &t->session);
        if (rv != CKR_OK)
            return answer_fail(t->a, DEVICE_NO_DEVICE, "the token \"%.*s\" opens no session (0x%lx)",
                               TEXT(t->p->token), rv);
        return DEVICE_OK;
    }
    return answer_fail(t->a, DEVICE_NO_DEVICE,
                       "the PKCS#11 module has no token \"%.*s\": is it plugged in and initialised?",
                       TEXT(t->p->token));
}

static enum device_status pin_refused(struct token *t, CK_RV rv)
{
    switch (rv) {
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
        return answer_fail(
            t->a, DEVICE_BAD_PIN,
            "wrong PIN for the token \"%.*s\", from %.*s: put the right one there before the token locks",
            TEXT(t->p->token), TEXT(t->p->pin));
    case CKR_PIN_LOCKED:
    case CKR_PIN_EXPIRED:
        return answer_fail(
            t->a, DEVICE_BAD_PIN,
            "the PIN of the token \"%.*s\" is locked or expired: the token's security officer sets a new one",
            TEXT(t->p->token));
    default:
        return answer_fail(t->a, DEVICE_FAILED, "the token \"%.*s\" refuses the login (0x%lx)",
                           TEXT(t->p->token), rv);
    }
}

/* Without its line end.  What cannot be a PIN is not tried: a token counts the tries. */
static enum device_status read_pin(struct token *t, uint8_t pin[PIN_MAX], size_t *len)
{
    static const struct secret_file file = {"PIN", "the slot's pin"};
    char name[256], path[1024];

    snprintf(name, sizeof name, "%.*s", TEXT(t->p->pin));
    if (!secret_file_read(name, &file, pin, PIN_MAX, len, path, sizeof path, t->a->text, sizeof t->a->text))
        return DEVICE_NO_PIN; /* the text is there already */
    if (*len == PIN_MAX)
        return answer_fail(t->a, DEVICE_NO_PIN, "the PIN file %s is too long: 1..%d bytes", path,
                           PIN_MAX - 1);
    while (*len > 0 && (pin[*len - 1] == '\n' || pin[*len - 1] == '\r'))
        *len -= 1;
    return *len != 0 ? DEVICE_OK : answer_fail(t->a, DEVICE_NO_PIN, "the PIN file %s is empty", path);
}

static enum device_status log_in(struct token *t)
{
    uint8_t *pin = secret_pages_alloc(PIN_MAX);
    size_t len;

    if (pin == NULL)
        return answer_fail(t->a, DEVICE_FAILED, "no locked memory for the PIN: raise LimitMEMLOCK");
    enum device_status status = read_pin(t, pin, &len);
    if (status == DEVICE_OK) {
        CK_RV rv = t->f->C_Login(t->session, CKU_USER, pin, len);
        status = rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN ? DEVICE_OK : pin_refused(t, rv);
    }
    secret_pages_free(pin, PIN_MAX);
    return status;
}

static enum device_status find_key(struct token *t)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_ATTRIBUTE want[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_LABEL, (void *)(uintptr_t)t->p->key.ptr, t->p->key.len},
    };
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;

    CK_RV rv = t->f->C_FindObjectsInit(t->session, want, 3);
    if (rv == CKR_OK) {
        rv = t->f->C_FindObjects(t->session, found, 2, &count);
        t->f->C_FindObjectsFinal(t->session);
    }
    if (rv != CKR_OK)
        return answer_fail(t->a, DEVICE_FAILED, "the token does not look for its keys (0x%lx)", rv);
    if (count != 1)
        return answer_fail(t->a, DEVICE_NO_KEY, "the token \"%.*s\" has %s AES key \"%.*s\"",
                           TEXT(t->p->token), count == 0 ? "no" : "more than one", TEXT(t->p->key));
    t->key = found[0];
    return DEVICE_OK;
}

/* What the device will not do; altered bytes and another key look the same to it. */
static enum device_status crypt_refused(struct token *t, const char *what, CK_RV rv)
{
    switch (rv) {
    case CKR_MECHANISM_INVALID:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_NOT_WRAPPABLE:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_TEMPLATE_INCONSISTENT:
        return answer_fail(
            t->a, DEVICE_FAILED,
            "the key \"%.*s\" of the token may not %s with this mechanism (0x%lx): add the slot "
            "with the other one, or allow it for the key",
            TEXT(t->p->key), what, rv);
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_REMOVED:
    case CKR_DEVICE_MEMORY:
    case CKR_HOST_MEMORY:
    case CKR_TOKEN_NOT_PRESENT:
        return answer_fail(t->a, DEVICE_FAILED, "the token failed at %s (0x%lx)", what, rv);
    default:
        return answer_fail(
            t->a, DEVICE_REFUSED,
            "the key \"%.*s\" of the token \"%.*s\" does not %s this slot (0x%lx): it is another key than "
            "the slot was made with",
            TEXT(t->p->key), TEXT(t->p->token), what, rv);
    }
}

static CK_MECHANISM key_wrap = {CKM_AES_KEY_WRAP, NULL, 0};

static enum device_status wrap_seal(struct token *t, struct span secret)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE object[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},
        {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_EXTRACTABLE, &yes, sizeof yes},
        {CKA_SENSITIVE, &no, sizeof no},
        {CKA_VALUE, (void *)(uintptr_t)secret.ptr, secret.len},
    };
    CK_OBJECT_HANDLE handle;
    CK_ULONG len = t->a->payload.cap;

    CK_RV rv = t->f->C_CreateObject(t->session, object, sizeof object / sizeof object[0], &handle);
    if (rv == CKR_OK)
        rv = t->f->C_WrapKey(t->session, &key_wrap, t->key, handle, t->a->payload.ptr, &len);
    if (rv != CKR_OK)
        return crypt_refused(t, "seal", rv);
    t->a->payload.len = len;
    return DEVICE_OK;
}

static enum device_status wrap_open(struct token *t, struct span blob)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE object[] = {
        {CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},         {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_EXTRACTABLE, &yes, sizeof yes}, {CKA_SENSITIVE, &no, sizeof no},
    };
    CK_ATTRIBUTE value = {CKA_VALUE, t->a->payload.ptr, t->a->payload.cap};
    CK_OBJECT_HANDLE handle;

    CK_RV rv = t->f->C_UnwrapKey(t->session, &key_wrap, t->key, (CK_BYTE_PTR)(uintptr_t)blob.ptr, blob.len,
                                 object, sizeof object / sizeof object[0], &handle);
    if (rv == CKR_OK)
        rv = t->f->C_GetAttributeValue(t->session, handle, &value, 1);
    if (rv != CKR_OK)
        return crypt_refused(t, "open", rv);
    t->a->payload.len = value.ulValueLen;
    return DEVICE_OK;
}

static CK_GCM_PARAMS gcm_params(uint8_t nonce[GCM_NONCE], struct span aad)
{
    return (CK_GCM_PARAMS){.pIv = nonce,
                           .ulIvLen = GCM_NONCE,
                           .ulIvBits = GCM_NONCE * 8,
                           .pAAD = (CK_BYTE_PTR)(uintptr_t)aad.ptr,
                           .ulAADLen = aad.len,
                           .ulTagBits = GCM_TAG_BITS};
}

static enum device_status gcm_seal(struct token *t, struct span aad, struct span secret)
{
    struct mbed_rng *rng = mbed_rng_new();
    CK_GCM_PARAMS params = gcm_params(t->a->payload.ptr, aad);
    CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof params};
    CK_ULONG len = t->a->payload.cap - GCM_NONCE;

    if (rng == NULL)
        return answer_fail(t->a, DEVICE_FAILED, "no randomness");
    mbed_random(rng, t->a->payload.ptr, GCM_NONCE);
    mbed_rng_free(rng);
    CK_RV rv = t->f->C_EncryptInit(t->session, &gcm, t->key);
    if (rv == CKR_OK)
        rv = t->f->C_Encrypt(t->session, (CK_BYTE_PTR)(uintptr_t)secret.ptr, secret.len,
                             t->a->payload.ptr + GCM_NONCE, &len);
    if (rv != CKR_OK)
        return crypt_refused(t, "seal", rv);
    t->a->payload.len = GCM_NONCE + len;
    return DEVICE_OK;
}

static enum device_status gcm_open(struct token *t, struct span aad, struct span blob)
{
    uint8_t nonce[GCM_NONCE];
    CK_GCM_PARAMS params = gcm_params(nonce, aad);
    CK_MECHANISM gcm = {CKM_AES_GCM, &params, sizeof params};
    CK_ULONG len = t->a->payload.cap;

    if (blob.len != GCM_NONCE + DEVICE_SECRET_LEN + GCM_TAG_BITS / 8)
        return answer_fail(t->a, DEVICE_BAD_REQUEST, "the slot holds nothing that AES-GCM has made");
    memcpy(nonce, blob.ptr, GCM_NONCE);
    CK_RV rv = t->f->C_DecryptInit(t->session, &gcm, t->key);
    if (rv == CKR_OK)
        rv = t->f->C_Decrypt(t->session, (CK_BYTE_PTR)(uintptr_t)blob.ptr + GCM_NONCE, blob.len - GCM_NONCE,
                             t->a->payload.ptr, &len);
    if (rv != CKR_OK)
        return crypt_refused(t, "open", rv);
    t->a->payload.len = len;
    return DEVICE_OK;
}

static enum device_status use_key(struct token *t, const struct device_request *r)
{
    bool wrap = t->p->mechanism == DEVICE_AES_KEY_WRAP;

    if (r->operation == DEVICE_SEAL)
        return wrap ? wrap_seal(t, r->payload) : gcm_seal(t, r->params, r->payload);
    enum device_status status = wrap ? wrap_open(t, r->payload) : gcm_open(t, r->params, r->payload);
    if (status == DEVICE_OK && t->a->payload.len != DEVICE_SECRET_LEN)
        return answer_fail(t->a, DEVICE_REFUSED, "the token opens this slot to %zu bytes instead of 32",
                           t->a->payload.len);
    return status;
}

enum device_status pkcs11_answer(const struct device_request *r, struct answer *a)
{
    struct device_pkcs11 p;
    struct token t = {.p = &p, .a = a};
    enum device_status status;

    if (!device_pkcs11_parse(r->params, &p))
        return answer_fail(a, DEVICE_BAD_REQUEST, "the parameters of the PKCS#11 slot do not parse");
    if ((status = load_module(&t)) != DEVICE_OK || (status = open_session(&t)) != DEVICE_OK ||
        (status = log_in(&t)) != DEVICE_OK || (status = find_key(&t)) != DEVICE_OK)
        return status;
    status = use_key(&t, r);
    t.f->C_CloseSession(t.session);
    t.f->C_Finalize(NULL);
    return status;
}
