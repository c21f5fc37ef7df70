#include "drivers/seal/device/wire.h"
#include "tests/unit/test.h"

#include <sys/socket.h>
#include <unistd.h>

static uint8_t message[DEVICE_MESSAGE_MAX];

static const struct device_request request = {DEVICE_SEAL,
                                              4,
                                              {(const uint8_t *)"params", 6},
                                              {(const uint8_t *)"a secret with thirty-two bytes..", 32}};

static struct span body_of_request(void)
{
    size_t len = device_request_write(&request, message);

    return span_of(message + 4, len - 4);
}

static void a_request_comes_back(void **state)
{
    struct device_request again;

    (void)state;
    assert_true(device_request_parse(body_of_request(), &again));
    assert_int_equal(again.operation, DEVICE_SEAL);
    assert_int_equal(again.kind, 4);
    assert_true(span_is(again.params, "params"));
    assert_true(span_is(again.payload, "a secret with thirty-two bytes.."));
}

static void a_reply_comes_back(void **state)
{
    struct device_reply reply = {DEVICE_BAD_PIN, span_str("blob"), span_str("wrong PIN")}, again;

    (void)state;
    size_t len = device_reply_write(&reply, message);
    assert_true(device_reply_parse(span_of(message + 4, len - 4), &again));
    assert_int_equal(again.status, DEVICE_BAD_PIN);
    assert_true(span_is(again.payload, "blob"));
    assert_true(span_is(again.text, "wrong PIN"));
}

static void a_byte_missing_or_left_over_is_refused(void **state)
{
    struct device_request r;
    struct device_reply reply = {DEVICE_OK, span_str("blob"), span_str("")}, again;
    struct span body = body_of_request();

    (void)state;
    for (size_t len = 0; len < body.len; len++)
        assert_false(device_request_parse(span_of(body.ptr, len), &r));
    assert_false(device_request_parse(span_of(body.ptr, body.len + 1), &r));
    size_t len = device_reply_write(&reply, message) - 4;
    for (size_t cut = 0; cut < len; cut++)
        assert_false(device_reply_parse(span_of(message + 4, cut), &again));
    assert_false(device_reply_parse(span_of(message + 4, len + 1), &again));
}

static void another_version_operation_or_status_is_refused(void **state)
{
    struct device_request r;
    struct device_reply reply = {DEVICE_STATUS_COUNT, span_str(""), span_str("")}, again;
    struct span body = body_of_request();

    (void)state;
    message[4] = 2;
    assert_false(device_request_parse(body, &r));
    body = body_of_request();
    message[5] = 3;
    assert_false(device_request_parse(body, &r));
    size_t len = device_reply_write(&reply, message);
    assert_false(device_reply_parse(span_of(message + 4, len - 4), &again));
}

static void only_a_secret_of_32_bytes_is_sealed(void **state)
{
    struct device_request r = request, again;

    (void)state;
    r.payload.len = 31;
    size_t len = device_request_write(&r, message);
    assert_false(device_request_parse(span_of(message + 4, len - 4), &again));
}

static struct span pkcs11(struct writer *w, const char *module, const char *token, const char *key,
                          const char *pin)
{
    struct device_pkcs11 p = {DEVICE_AES_GCM, span_str(module), span_str(token), span_str(key),
                              span_str(pin)};

    w->len = 0;
    device_pkcs11_write(w, &p);
    return writer_span(w);
}

static void parameters_of_pkcs11_out_of_range_are_refused(void **state)
{
    uint8_t bytes[DEVICE_PARAMS_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct device_pkcs11 p;

    (void)state;
    assert_true(device_pkcs11_parse(pkcs11(&w, "/m", "t", "k", "p"), &p));
    assert_false(device_pkcs11_parse(pkcs11(&w, "m", "t", "k", "p"), &p));
    assert_false(device_pkcs11_parse(pkcs11(&w, "", "t", "k", "p"), &p));
    assert_false(device_pkcs11_parse(pkcs11(&w, "/m", "", "k", "p"), &p));
    assert_false(device_pkcs11_parse(pkcs11(&w, "/m", "t", "", "p"), &p));
    assert_false(device_pkcs11_parse(pkcs11(&w, "/m", "t", "k", ""), &p));
    struct span params = pkcs11(&w, "/m", "t", "k", "p");
    bytes[0] = 3;
    assert_false(device_pkcs11_parse(params, &p));
    params = pkcs11(&w, "/m", "t", "k", "p");
    bytes[3] = 0; /* within the module's name */
    assert_false(device_pkcs11_parse(params, &p));
}

static void parameters_of_tpm2_out_of_range_are_refused(void **state)
{
    uint8_t bytes[DEVICE_PARAMS_MAX];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct device_tpm2 t = {1u << 23 | 1, span_str("device:/dev/tpmrm0")}, again;

    (void)state;
    device_tpm2_write(&w, &t);
    assert_true(device_tpm2_parse(writer_span(&w), &again));
    assert_int_equal(again.pcrs, t.pcrs);
    assert_true(span_equal(again.tcti, t.tcti));
    bytes[0] = 1; /* PCR 24 */
    assert_false(device_tpm2_parse(writer_span(&w), &again));
}

static void the_file_of_a_sealed_key_comes_back_and_no_other_does(void **state)
{
    static const uint8_t params[] = {0, 0, 8, 0x80, 7, 'd', 'e', 'v', 'i', 'c', 'e', ':'};
    uint8_t bytes[DEVICE_SEALED_MAX + 1];
    struct writer w = writer_of(bytes, sizeof bytes);
    struct device_sealed sealed = {span_of(params, sizeof params), span_str("object")}, again;

    (void)state;
    device_sealed_write(&w, &sealed);
    assert_true(device_sealed_parse(writer_span(&w), &again));
    assert_true(span_equal(again.params, sealed.params) && span_is(again.blob, "object"));
    for (size_t len = 0; len < w.len; len++)
        assert_false(device_sealed_parse(span_of(bytes, len), &again));
    assert_false(device_sealed_parse(span_of(bytes, w.len + 1), &again));
    for (size_t at = 0; at < 4; at++) { /* version, kind, zero, zero */
        bytes[at] ^= 8;
        assert_false(device_sealed_parse(writer_span(&w), &again));
        bytes[at] ^= 8;
    }
}

static void a_length_that_lies_is_not_waited_for(void **state)
{
    struct span body;
    int fds[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_true(device_send(fds[1], span_of("\xff\xff\xff\xff", 4)));
    assert_false(device_receive(fds[0], message, &body));
    size_t len = device_request_write(&request, message);
    assert_true(device_send(fds[1], span_of(message, len - 1)));
    close(fds[1]);
    assert_false(device_receive(fds[0], message, &body));
    close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back),
        cmocka_unit_test(a_reply_comes_back),
        cmocka_unit_test(a_byte_missing_or_left_over_is_refused),
        cmocka_unit_test(another_version_operation_or_status_is_refused),
        cmocka_unit_test(only_a_secret_of_32_bytes_is_sealed),
        cmocka_unit_test(parameters_of_pkcs11_out_of_range_are_refused),
        cmocka_unit_test(parameters_of_tpm2_out_of_range_are_refused),
        cmocka_unit_test(the_file_of_a_sealed_key_comes_back_and_no_other_does),
        cmocka_unit_test(a_length_that_lies_is_not_waited_for),
    };

    return RUN_TESTS("seal device wire", tests);
}
