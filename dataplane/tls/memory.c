/* The record buffers of OpenSSL: with SSL_MODE_RELEASE_BUFFERS it takes one of 17 KB for each request and one of 4 KB for each reply, and
 * gives them back at once.  libc's way to such sizes is long, and with SSL_OP_CLEANSE_PLAINTEXT OpenSSL would wipe all 17 KB where a
 * record has one or two.  So blocks of these two sizes are kept in lists of the thread's, the last one used first; and what was read into
 * one is wiped when it comes back.
 *
 * How much that is says the BIO (conn.c): it hands in one record at a time, so that a buffer comes back during the very read in which
 * its last record ended.  In any other case the whole block is wiped. */
#include "base/secret.h"
#include "dataplane/tls/tls_priv.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#define READ_MIN   16384 /* a buffer for reading takes more than the longest plaintext of a record */
#define READ_LEN   18432
#define WRITE_MIN  (TLS_RECORD_PLAINTEXT_MAX - 1)
#define WRITE_LEN  (TLS_RECORD_PLAINTEXT_MAX + 512)
#define SLACK      64 /* more than libc rounds up by */
#define LISTED_MAX 32

struct list {
    void *head; /* each block begins with the next one's address */
    unsigned count;
};

static _Thread_local struct list reading, writing;
static _Thread_local const uint8_t *received_end;
static _Thread_local enum { UNTOLD, OPEN, CLOSED } lists; /* CLOSED: the thread ends */
static pthread_key_t at_end;
static bool ours;

static void list_free(struct list *l)
{
    while (l->head != NULL) {
        void *block = l->head;
        memcpy(&l->head, block, sizeof l->head);
        free(block);
    }
    l->count = 0;
}

static void lists_close(void *unused)
{
    (void)unused;
    lists = CLOSED;
    list_free(&reading);
    list_free(&writing);
}

static void *list_take(struct list *l, size_t len)
{
    void *block = l->head;

    if (block == NULL)
        return malloc(len);
    memcpy(&l->head, block, sizeof l->head);
    l->count--;
    return block;
}

static void list_give(struct list *l, void *block)
{
    if (lists == UNTOLD)
        lists = pthread_setspecific(at_end, &lists) == 0 ? OPEN : CLOSED;
    if (lists == CLOSED || l->count == LISTED_MAX) {
        free(block);
        return;
    }
    memcpy(block, &l->head, sizeof l->head);
    l->head = block;
    l->count++;
}

static void read_buffer_wipe(uint8_t *block)
{
    bool told = received_end > block && received_end <= block + READ_LEN;

    secret_wipe(block, told ? (size_t)(received_end - block) : READ_LEN);
}

static void *take(size_t len, const char *file, int line)
{
    (void)file, (void)line;
    if (len > READ_MIN && len <= READ_LEN)
        return list_take(&reading, READ_LEN);
    if (len > WRITE_MIN && len <= WRITE_LEN)
        return list_take(&writing, WRITE_LEN);
    return malloc(len);
}

/* A block of another origin that is as long serves as well. */
static void give(void *block, const char *file, int line)
{
    size_t len = malloc_usable_size(block);
    (void)file, (void)line;

    if (len >= READ_LEN && len < READ_LEN + SLACK) {
        read_buffer_wipe(block);
        list_give(&reading, block);
    } else if (len >= WRITE_LEN && len < WRITE_LEN + SLACK) {
        list_give(&writing, block);
    } else {
        free(block);
    }
}

static void *resize(void *block, size_t len, const char *file, int line)
{
    (void)file, (void)line;
    return realloc(block, len);
}

/* OpenSSL takes an allocator as long as it has not allocated anything. */
__attribute__((constructor)) static void install(void)
{
    ours = pthread_key_create(&at_end, lists_close) == 0 && CRYPTO_set_mem_functions(take, resize, give) == 1;
}

bool tls_memory_is_ours(void)
{
    return ours;
}

void tls_memory_received(const uint8_t *end)
{
    received_end = end;
}
