/* What ww-seal and those who ask it read: a request, a reply, parameters, and the file of a sealed warm key.  What is read prints
 * to bytes that read the same. */
#include "base/check.h"
#include "drivers/seal/device/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t message[DEVICE_MESSAGE_MAX];

static void try_parameters(struct span s)
{
    uint8_t bytes[2 * DEVICE_PARAMS_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct device_pkcs11 p;
    struct device_tpm2 t;

    if (device_pkcs11_parse(s, &p)) {
        device_pkcs11_write(&w, &p);
        CHECK(span_equal(writer_span(&w), s));
    }
    w = writer_of(bytes, sizeof bytes);
    if (device_tpm2_parse(s, &t)) {
        device_tpm2_write(&w, &t);
        CHECK(span_equal(writer_span(&w), s));
    }
}

static void try_sealed(struct span s)
{
    uint8_t bytes[DEVICE_SEALED_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct device_sealed sealed;

    if (!device_sealed_parse(s, &sealed))
        return;
    device_sealed_write(&w, &sealed);
    CHECK(writer_ok(&w) && span_equal(writer_span(&w), s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span s = span_of(data, size);
    struct device_request r;
    struct device_reply reply;

    if (device_request_parse(s, &r) && r.params.len <= DEVICE_PARAMS_MAX && r.payload.len <= DEVICE_BLOB_MAX)
        CHECK(device_request_write(&r, message) == size + 4 && memcmp(message + 4, data, size) == 0);
    if (device_reply_parse(s, &reply))
        CHECK(device_reply_write(&reply, message) == size + 4 && memcmp(message + 4, data, size) == 0);
    try_parameters(s);
    try_sealed(s);
    return 0;
}
