/* ww-seal: seals or opens one 32-byte secret with a device, as ww-ctrl or ww-dataplane asks on descriptor 3, and ends.
 * By hand: `ww-seal warm-key FILE`.
 *
 * PKCS#11 modules and TPM libraries are code of others that drags whole stacks along: here it meets one
 * slot's key for the length of one request, and neither ctrl's memory nor the root key.  No capabilities, no
 * new privileges, no core, no debugger of the same user; it goes when its parent goes, and after LIFETIME_S in any
 * case. */
#include "base/secret.h"
#include "drivers/seal/child/device.h"
#include "drivers/seal/seal.h"

#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIFETIME_S 60

enum exit_code { EXIT_ANSWERED = 0, EXIT_USAGE = 2, EXIT_BROKEN = 3 };

enum device_status answer_fail(struct answer *a, enum device_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(a->text, sizeof a->text, format, args);
    va_end(args);
    return status;
}

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    for (unsigned long c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++) {
        /* Who may not drop it from the bounding set has none to drop. */
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) != 0)
            break;
    }
    return syscall(SYS_capset, &head, none) == 0;
}

static bool shed_powers(void)
{
    secret_process_harden();
    alarm(LIFETIME_S);
    if (close_range(DEVICE_FD + 1, ~0U, 0) != 0)
        return false;
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           drop_capabilities();
}

static enum device_status answer(struct span body, struct answer *a)
{
    struct device_request r;

    if (!device_request_parse(body, &r))
        return answer_fail(a, DEVICE_BAD_REQUEST,
                           "ww-seal does not understand the request: is it of another version?");
    switch (r.kind) {
    case SEAL_KIND_PKCS11:
        return pkcs11_answer(&r, a);
    case SEAL_KIND_TPM2:
        return tpm2_answer(&r, a);
    default:
        return answer_fail(a, DEVICE_BAD_REQUEST, "ww-seal knows no device of kind %u", r.kind);
    }
}

static enum exit_code serve(uint8_t *message, uint8_t *payload)
{
    struct answer a = {.payload = {payload, 0, DEVICE_BLOB_MAX}};
    struct span body;

    if (!device_receive(DEVICE_FD, message, &body))
        return EXIT_BROKEN;
    enum device_status status = answer(body, &a);
    if (status != DEVICE_OK)
        a.payload.len = 0;
    struct device_reply reply = {(uint8_t)status, buf_span(&a.payload), span_str(a.text)};
    size_t len = device_reply_write(&reply, message);
    return device_send(DEVICE_FD, span_of(message, len)) ? EXIT_ANSWERED : EXIT_BROKEN;
}

int main(int argc, char **argv)
{
    if (!shed_powers()) {
        fprintf(stderr, "ww-seal cannot give up its powers\n");
        return EXIT_BROKEN;
    }
    if (argc != 1)
        return warm_key_make(argc, argv);
    uint8_t *message = secret_pages_alloc(DEVICE_MESSAGE_MAX);
    uint8_t *payload = secret_pages_alloc(DEVICE_BLOB_MAX);
    enum exit_code code = EXIT_BROKEN;
    if (message != NULL && payload != NULL)
        code = serve(message, payload);
    secret_pages_free(message, DEVICE_MESSAGE_MAX);
    secret_pages_free(payload, DEVICE_BLOB_MAX);
    /* Not exit(): what modules leave to be run at the end is not waited for. */
    _exit((int)code);
}
