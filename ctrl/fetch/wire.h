/* What ww-ctrl asks of ww-fetch, over a SOCK_SEQPACKET pair: one message is one request or one reply, in turn.
 *
 *     request   version u8 = 1 | operation u8 | kind u8 | 0 u8 | patience u32 (s) | 7 texts, each length u16 + n
 *     reply     version u8 = 1 | status u8 | size u64 | SHA-256 32 | text u16 + n
 *
 * Big-endian.  With a PUT travels (SCM_RIGHTS) a descriptor to read the object from, with GET and LIST one to write it,
 * or the names, one per line, to.  Size and SHA-256 are of the object as it was read back from the sink (PUT) or as it
 * came (GET).  What passes here is ciphertext and the names of files that hold credentials, never a credential. */
#ifndef CTRL_FETCH_WIRE_H
#define CTRL_FETCH_WIRE_H

#include "base/cursor.h"

#define FETCH_FD          3
#define FETCH_TEXT_CAP    512 /* with its NUL */
#define FETCH_MESSAGE_MAX 4096
#define FETCH_SHA_LEN     32

enum fetch_operation { FETCH_PUT = 1, FETCH_GET = 2, FETCH_LIST = 3, FETCH_DELETE = 4 };
enum fetch_kind { FETCH_DIRECTORY = 1, FETCH_S3 = 2, FETCH_SFTP = 3 };

enum fetch_status {
    FETCH_OK,
    FETCH_BAD_REQUEST,
    FETCH_NOT_FOUND,
    FETCH_DENIED,
    FETCH_UNREACHABLE, /* nobody answers, or not in time */
    FETCH_NO_SPACE,
    FETCH_DIFFERENT, /* what was read back is not what was put */
    FETCH_FAILED,
    FETCH_STATUS_COUNT,
};

struct fetch_request {
    uint8_t operation, kind;
    uint32_t patience_s;         /* without a byte moving */
    char name[FETCH_TEXT_CAP];   /* of the object; LIST: empty */
    char place[FETCH_TEXT_CAP];  /* directory; https://host[:port]; sftp://user@host[:port]/dir */
    char region[FETCH_TEXT_CAP]; /* s3 */
    char bucket[FETCH_TEXT_CAP]; /* s3 */
    char prefix[FETCH_TEXT_CAP]; /* s3: before each name */
    char credentials
        [FETCH_TEXT_CAP];       /* s3: file with access key id and secret, a line each; sftp: private key */
    char trust[FETCH_TEXT_CAP]; /* s3: CA file, empty: the system's; sftp: known_hosts */
};

struct fetch_reply {
    uint8_t status; /* enum fetch_status */
    uint64_t size;
    uint8_t sha256[FETCH_SHA_LEN];
    char text[FETCH_TEXT_CAP]; /* for a person, unless FETCH_OK */
};

/* out: FETCH_MESSAGE_MAX bytes; the length. */
size_t fetch_request_write(const struct fetch_request *r, uint8_t *out);
size_t fetch_reply_write(const struct fetch_reply *r, uint8_t *out);
bool MUST_USE fetch_request_parse(struct span message, struct fetch_request *out);
bool MUST_USE fetch_reply_parse(struct span message, struct fetch_reply *out);

/* fd: -1 = none travels.  false: errno. */
bool MUST_USE fetch_send(int socket, struct span message, int fd);
/* *len = 0: the other side is gone.  *fd: the caller's from now on; -1 = none came.  false: errno. */
bool MUST_USE fetch_receive(int socket, uint8_t out[FETCH_MESSAGE_MAX], size_t *len, int *fd);

#endif
