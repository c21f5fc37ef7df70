/* The small door between the generator and what carries its bytes: kernel sockets (kernel.c), or our own stack over a
 * DPDK port.  Single-threaded; nothing blocks but wait.
 *
 * A stream is opened towards the one target that the transport was made for, and is the caller's until close.  Each
 * stream carries the caller's `user`.  wait calls ready(user) for every stream on which something happened: it is
 * connected, bytes came, there is room again, it ended. */
#ifndef BENCH_LOAD_TRANSPORT_H
#define BENCH_LOAD_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport;
struct stream;

enum {
    STREAM_AGAIN = -1, /* nothing now: ready comes when there is */
    STREAM_FAILED = -2 /* reset, refused, timed out */
};

struct transport_ops {
    /* NULL when no stream can be had (no port, no memory). */
    struct stream *(*open)(struct transport *t, void *user);
    /* Bytes received: > 0; 0 = the peer has said goodbye; else STREAM_. */
    long (*recv)(struct stream *s, void *out, size_t cap);
    /* Bytes taken: > 0, else STREAM_. */
    long (*send)(struct stream *s, const void *data, size_t len);
    /* abort: RST, for a stream that failed or a run that ends. */
    void (*close)(struct stream *s, bool abort);
    void (*wait)(struct transport *t, uint64_t us_max, void (*ready)(void *user));
    void (*free)(struct transport *t);
    /* So far: segments sent again, and what our end lost by itself; NULL where the kernel knows. */
    void (*losses)(struct transport *t, uint64_t *again, uint64_t *dropped);
};

/* The first member of every transport. */
struct transport {
    const struct transport_ops *ops;
    uint64_t
        blind_us; /* in the last wait: the longest time between two looks that found nothing; 0 where the kernel looks */
};

#define TRANSPORT_SOURCES_MAX 256

struct transport_config { /* the target, and where we come from */
    const char *address;  /* IPv4 or IPv6 */
    uint16_t port;
    const char *sources[TRANSPORT_SOURCES_MAX]; /* used in turn: each gives some 64 000 ports */
    size_t source_count;                        /* 0 = the kernel chooses */
    uint32_t streams_max;
};
/* NULL with a line on stderr. */
struct transport *kernel_transport_new(const struct transport_config *c);

/* device: as in drivers/nic/dpdk/dpdk.h; sources are addresses of ours on the target's link, at least one. */
struct transport *stack_transport_new(const char *device, const struct transport_config *c);

#endif
