/* A stream of ctl messages: heads and bodies as they would come off the socket.  Whatever parses is written
 * again and must be the very bytes that were read: one text, one meaning. */
#include "base/check.h"
#include "base/ctl_wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t scratch[CTL_MESSAGE_MAX];

#define PARSE_AND_WRITE(name)                                                                                \
    do {                                                                                                     \
        struct ctl_##name m;                                                                                 \
        if (!ctl_##name##_parse(body, &m))                                                                   \
            return;                                                                                          \
        ctl_write_##name(&w, h->shard, h->epoch, &m);                                                        \
    } while (0)

static void check_message(const struct ctl_head *h, struct span message)
{
    struct writer w = writer_of(scratch, sizeof scratch);
    struct span body = span_from(message, CTL_HEAD_LEN);

    switch ((enum ctl_type)h->type) {
    case CTL_HELLO:
        PARSE_AND_WRITE(hello);
        break;
    case CTL_REFUSE:
        PARSE_AND_WRITE(refuse);
        break;
    case CTL_BEGIN:
        PARSE_AND_WRITE(begin);
        break;
    case CTL_KEY:
        PARSE_AND_WRITE(key);
        break;
    case CTL_KEY_VERSION:
        PARSE_AND_WRITE(key_version);
        break;
    case CTL_KEY_GONE:
        PARSE_AND_WRITE(key_gone);
        break;
    case CTL_ISSUER:
        PARSE_AND_WRITE(issuer);
        break;
    case CTL_JWK:
        PARSE_AND_WRITE(jwk);
        break;
    case CTL_AUDIENCE:
        PARSE_AND_WRITE(audience);
        break;
    case CTL_CERTIFICATE:
        PARSE_AND_WRITE(certificate);
        break;
    case CTL_END:
        PARSE_AND_WRITE(end);
        break;
    case CTL_ACK:
    case CTL_PONG:
    case CTL_PING:
        ctl_write_bare(&w, (enum ctl_type)h->type, h->shard, h->epoch);
        break;
    default:
        CHECK(false); /* a head of unknown type was let through */
    }
    CHECK(writer_ok(&w));
    CHECK(span_equal(writer_span(&w), message));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct ctl_head h;

    while (ctl_head_parse(in, &h) == CTL_HEAD_OK && h.len <= in.len) {
        /* A copy of exactly this size, so that the sanitizer sees a read beyond the body. */
        uint8_t *exact = malloc(h.len);
        CHECK(exact != NULL);
        memcpy(exact, in.ptr, h.len);
        check_message(&h, span_of(exact, h.len));
        free(exact);
        in = span_from(in, h.len);
    }
    return 0;
}
